"""Train, predict and score the nets of the results table, each for the same time, and gather them into one table.

python experiments/openkbp/results_table.py DIR --minutes 40                      # two CPU cores: some four hours
python experiments/openkbp/results_table.py DIR --minutes 300 --trainer gpu --seeds 0 1 2

A short probe measures a net's step, so that its learning rate ends with its time. Stage I comes first and has a time of
its own. Started again, it goes on where it stopped.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

DOSEWRIGHT = [sys.executable, "-m", "dosewright.jobs.cli"]
PROBED_CASES = 8
#: Variant → what it overrides in `dosewright train`.
VARIANTS: dict[str, list[str]] = {
    "c3d": ["experiment=openkbp_direct", "model=c3d", "loss=c3d"],
    "mednext_s": ["experiment=openkbp_direct", "model=mednext_s"],
    "unet_half": ["experiment=openkbp_direct"],
    "two_stage_without_stage1": ["experiment=two_stage_neutral", "module.stage1=null"],
    "two_stage": ["experiment=two_stage_neutral", "module.stage1={stage1}"],
    "two_stage_sliders": ["experiment=two_stage_openkbp", "module.stage1={stage1}"],
}
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
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--train-overrides", nargs="*", default=[], help="for all trainings, e.g. datamodule.workers=8")
    given = parser.parse_args()
    common = [f"data.root={given.root}", f"trainer={given.trainer}", *given.train_overrides]
    runs = []
    for seed in given.seeds:
        stage1 = given.out / f"stage1_seed{seed}"
        if any("{stage1}" in override for name in given.variants for override in VARIANTS[name]):
            train(stage1, [*STAGE1, *common, f"seed={seed}"], given.stage1_minutes)
        for name in given.variants:
            overrides = [o.format(stage1=stage1 / "model.safetensors") for o in VARIANTS[name]]
            run = given.out / f"{name}_seed{seed}"
            train(run, [*overrides, *common, f"seed={seed}"], given.minutes)
            score(run, given.root)
            runs.append(str(run))
    call("summarize", f"runs=[{','.join(runs)}]", f"out={given.out / 'table'}")


def train(run: Path, overrides: list[str], minutes: float) -> None:
    """Train for as many steps as fit into `minutes`, unless weights are there."""
    if (run / "model.safetensors").exists():
        return
    plan = run / "steps.json"
    if not plan.exists():
        seconds = seconds_per_step(run / "probe", overrides)
        steps = max(1, round(60.0 * minutes / seconds))
        plan.write_text(json.dumps({"seconds_per_step": seconds, "steps": steps}, indent=1))
    steps = json.loads(plan.read_text())["steps"]
    length = [f"trainer.max_steps={steps}", "trainer.max_epochs=-1", "trainer.check_val_every_n_epoch=100000"]
    call("train", *overrides, *length, f"name={run.name}", f"out={run}")


def seconds_per_step(run: Path, overrides: list[str]) -> float:
    """Return the time of a step on samples that are in memory: that of the last of three short epochs."""
    short = [f"datamodule.limit_train={PROBED_CASES}", "datamodule.limit_validation=1", "trainer.max_epochs=3"]
    never = ["trainer.limit_val_batches=0", "callbacks.pictures=null"]
    call("train", *overrides, *short, *never, f"name={run.name}", f"out={run}")
    marks = json.loads((run / "timing.json").read_text())["marks"]
    return (marks[-1]["seconds"] - marks[-2]["seconds"]) / (marks[-1]["step"] - marks[-2]["step"])


def score(run: Path, root: Path) -> None:
    """Predict and score the validation patients with a run's weights."""
    data = ["data=openkbp", f"data.root={root}", "data.split=validation"]
    call("predict", *data, f"checkpoint={run / 'model.safetensors'}", f"out={run / 'predictions'}")
    call("evaluate", *data, f"predictions={run / 'predictions'}", f"out={run / 'scores'}")


def call(*arguments: str) -> None:
    """Run one job; stop when it fails."""
    print("dosewright", *arguments, flush=True)
    subprocess.run([*DOSEWRIGHT, *arguments], check=True)


if __name__ == "__main__":
    main()
