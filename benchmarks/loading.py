"""Whether data loading holds up training: each way to a training sample against one training step.

    python benchmarks/loading.py [--root DIR] [--cases 4] [--experiment openkbp_direct]

The experiment's own configuration builds the module and the data. A step is what the trainer does with one batch:
forward and backward pass under bf16 autocast, clipped gradients, optimiser. A patient's sample is built once from the
prepared cache and kept; every later epoch only turns it into a batch. DIR holds OpenKBP's `provided-data`; without it
phantoms are measured.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from dosewright.datasets.augmentation import Draw, apply
from dosewright.datasets.dataset import DoseDataset
from dosewright.datasets.sample import collate, make_sample, to_item
from dosewright.jobs.cli import conf_dir
from dosewright.jobs.hydra_task import register_resolvers
from dosewright.jobs.train import build_data, build_module
from dosewright.training.module import DoseModule
from harness.patients import openkbp_root, parser, source_of
from harness.timing import machine, print_table

STEP = "training step"
READ, BUILD, KEPT, FLIP, AFFINE = (
    "prepared case",
    "case → sample (first epoch)",
    "kept sample → batch",
    "kept sample → batch, flipped",
    "kept sample → batch, rotated and shifted",
)
MOVE = Draw(rotation_zyx_deg=(10.0, 2.0, 2.0), translation_zyx_mm=(5.0, 5.0, 5.0))
Times = dict[str, list[float]]
Result = TypeVar("Result")


def composed(experiment: str, root: Path, cache: Path) -> DictConfig:
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", [f"experiment={experiment}", f"data.root={root}", f"paths.cache_dir={cache}"])


def timed(times: Times, name: str, work: Callable[[], Result]) -> Result:
    start = time.perf_counter()
    result = work()
    times.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
    return result


def stepper(module: DoseModule, cfg: DictConfig) -> Callable[[dict[str, object]], None]:
    """Return what the trainer does with one batch."""
    optimizer = instantiate(cfg.optimizer)(module.net.parameters())

    def step(batch: dict[str, object]) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=cfg.trainer.precision == "bf16-mixed"):
            loss = module.training_step(batch, 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.net.parameters(), cfg.trainer.gradient_clip_val)
        optimizer.step()

    return step


def measure(dataset: DoseDataset, step: Callable[[dict[str, object]], None], cases: int, repeats: int) -> Times:
    """Return the times in ms of everything, over the first cases; each case's first round is not counted."""
    times: Times = {}
    channels, reader = dataset.channels, dataset.reader

    def batch_of(draw: Draw) -> dict[str, object]:
        return collate([to_item(apply(sample, draw, channels), dataset.multiple)])

    for case_id in reader.case_ids[:cases]:
        make_sample(reader.read(case_id), channels)
        for round_ in range(repeats + 1):
            found = times if round_ else {}
            case = timed(found, READ, lambda case_id=case_id: reader.read(case_id))  # type: ignore[misc]
            sample = timed(found, BUILD, lambda case=case: make_sample(case, channels))  # type: ignore[misc]
            for name, draw in ((KEPT, Draw()), (FLIP, Draw(flip=True)), (AFFINE, MOVE)):
                batch = timed(found, name, lambda draw=draw: batch_of(draw))  # type: ignore[misc]
            timed(found, STEP, lambda batch=batch: step(batch))  # type: ignore[misc]
    return times


def main() -> None:
    arguments = parser(__doc__ or "", repeats=3)
    arguments.add_argument("--cases", type=int, default=4, help="training patients measured")
    arguments.add_argument("--experiment", default="openkbp_direct", help="a file of conf/experiment on OpenKBP")
    options = arguments.parse_args()
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", message="You are trying to `self.log")
    with openkbp_root(options.root, options.cases) as root, tempfile.TemporaryDirectory() as cache:
        cfg = composed(options.experiment, root, Path(cache))
        module = build_module(cfg).train()
        dataset = build_data(cfg, module).dataset("train")
        count = min(options.cases, len(dataset))
        times = measure(dataset, stepper(module, cfg), count, options.repeats)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(machine("monai", "torchio"))
    print(f"{options.experiment}, {source_of(options.root)}: {count}, each {options.repeats} times; medians\n")
    print_table(
        ("", "ms", "share of a step"),
        [(name, f"{ms:.1f}", f"{ms / median[STEP]:.1%}") for name, ms in median.items()],
    )
    print()
    for name in ("flips", "affine"):
        print(f"augmentation={name}: loading takes {share(name, median, cfg.trainer.max_epochs):.1%} of all epochs")


def share(augmentation: str, median: dict[str, float], epochs: int) -> float:
    """Return the part of a training that loading takes, with the probabilities of a file of conf/augmentation."""
    chances = OmegaConf.load(conf_dir() / "augmentation" / f"{augmentation}.yaml")
    usual = median[KEPT] + chances.flip_probability * (median[FLIP] - median[KEPT])
    each = usual + chances.affine_probability * (median[AFFINE] - median[KEPT])
    loading = median[READ] + median[BUILD] + epochs * each
    return loading / (loading + epochs * median[STEP])


if __name__ == "__main__":
    main()
