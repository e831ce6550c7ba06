"""Train, predict and score the nets of the results table, each for the same time, and gather them into one table.

python experiments/openkbp/results_table.py DIR --minutes 18
python experiments/openkbp/results_table.py DIR --minutes 300 --trainer gpu --seeds 0 1 2 --variants c3d two_stage

Stage I has a time of its own. Then short probes measure a step of every net, before the first long training, so that a
learning rate ends with its net's time and all are measured alike. Started again, it goes on where it stopped.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DOSEWRIGHT = [sys.executable, "-m", "dosewright.jobs.cli"]
PROBED_CASES = 8
#: Variant → what it overrides in `dosewright train`.
VARIANTS: dict[str, list[str]] = {
    "c3d": ["experiment=openkbp_direct", "model=c3d", "loss=c3d"],
    "c3d_half": ["experiment=openkbp_direct", "model=c3d_half", "loss=c3d"],
    "mednext_b": ["experiment=openkbp_direct", "model=mednext_b"],
    "mednext_half": ["experiment=openkbp_direct", "model=mednext_half"],
    "unet_half": ["experiment=openkbp_direct"],
    "two_stage_without_stage1": ["experiment=two_stage_neutral", "module.stage1=null"],
    "two_stage": ["experiment=two_stage_neutral", "module.stage1={stage1}"],
    "two_stage_sliders": ["experiment=two_stage_openkbp", "module.stage1={stage1}"],
}
ON_CPU = ("c3d_half", "mednext_half", "unet_half", "two_stage_without_stage1", "two_stage")
STAGE1 = ["experiment=stage1_openkbp"]


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that holds provided-data/")
    parser.add_argument("--out", type=Path, default=Path("outputs/results_table"))
    parser.add_argument("--minutes", type=float, default=40.0, help="training time of each net")
    parser.add_argument("--stage1-minutes", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--trainer", default="cpu")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(ON_CPU))
    parser.add_argument("--train-overrides", nargs="*", default=[], help="for all trainings, e.g. datamodule.workers=8")
    given = parser.parse_args()
    codecs = [codec_of(given, seed) for seed in given.seeds] if _wants_codec(given.variants) else []
    nets = [net_of(given, name, seed) for seed in given.seeds for name in given.variants]
    for job in codecs:
        plan(job)
        train(job)
    for job in nets:
        plan(job)
    for job in nets:
        train(job)
        score(job.run, given.root)
    call("summarize", f"runs=[{','.join(str(job.run) for job in nets)}]", f"out={given.out / 'table'}")


@dataclass(frozen=True)
class Job:
    """A training: where it goes, what it overrides, and the minutes it has."""

    run: Path
    overrides: list[str]
    minutes: float


def codec_of(given: argparse.Namespace, seed: int) -> Job:
    """Return the training of Stage I with a seed."""
    return Job(_stage1(given, seed), [*STAGE1, *_common(given, seed)], given.stage1_minutes)


def net_of(given: argparse.Namespace, name: str, seed: int) -> Job:
    """Return the training of a variant with a seed."""
    own = [override.format(stage1=_stage1(given, seed) / "model.safetensors") for override in VARIANTS[name]]
    return Job(given.out / f"{name}_seed{seed}", [*own, *_common(given, seed)], given.minutes)


def _wants_codec(names: list[str]) -> bool:
    return any("{stage1}" in override for name in names for override in VARIANTS[name])


def _stage1(given: argparse.Namespace, seed: int) -> Path:
    return given.out / f"stage1_seed{seed}"


def _common(given: argparse.Namespace, seed: int) -> list[str]:
    return [f"data.root={given.root}", f"trainer={given.trainer}", *given.train_overrides, f"seed={seed}"]


def plan(job: Job) -> None:
    """Measure how many steps fit into a training's minutes, unless that is known."""
    known = job.run / "steps.json"
    if known.exists() or (job.run / "model.safetensors").exists():
        return
    seconds = seconds_per_step(job.run / "probe", job.overrides)
    steps = max(1, round(60.0 * job.minutes / seconds))
    known.write_text(json.dumps({"seconds_per_step": seconds, "steps": steps}, indent=1))


def train(job: Job) -> None:
    """Train for the steps that were planned, unless weights are there."""
    if (job.run / "model.safetensors").exists():
        return
    steps = json.loads((job.run / "steps.json").read_text())["steps"]
    length = [f"trainer.max_steps={steps}", "trainer.max_epochs=-1", "trainer.check_val_every_n_epoch=100000"]
    call("train", *job.overrides, *length, f"name={job.run.name}", f"out={job.run}")


def seconds_per_step(run: Path, overrides: list[str]) -> float:
    """Return the time of a step on samples that are in memory: that of the last of three short epochs."""
    short = [f"datamodule.limit_train={PROBED_CASES}", "datamodule.limit_validation=1", "trainer.max_epochs=3"]
    never = ["trainer.limit_val_batches=0", "callbacks.pictures=null"]
    call("train", *overrides, *short, *never, f"name={run.name}", f"out={run}")
    marks = json.loads((run / "timing.json").read_text())["marks"]
    return (marks[-1]["seconds"] - marks[-2]["seconds"]) / (marks[-1]["step"] - marks[-2]["step"])


def score(run: Path, root: Path) -> None:
    """Predict and score the validation patients with a run's weights, unless that was done."""
    if (run / "scores" / "metrics.json").exists():
        return
    data = ["data=openkbp", f"data.root={root}", "data.split=validation"]
    call("predict", *data, f"checkpoint={run / 'model.safetensors'}", f"out={run / 'predictions'}")
    call("evaluate", *data, f"predictions={run / 'predictions'}", f"out={run / 'scores'}")


def call(*arguments: str) -> None:
    """Run one job; stop when it fails."""
    print("dosewright", *arguments, flush=True)
    subprocess.run([*DOSEWRIGHT, *arguments], check=True)


if __name__ == "__main__":
    main()
