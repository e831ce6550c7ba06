"""Memory of loading prepared cases: streamed, for few and for many, and kept.

    python benchmarks/streaming.py [--few 10] [--many 2000] [--kept 100] [--repeats 1]

One phantom of 64³ voxels is prepared and linked under many names. Each row runs in a process of its own, which reads
every case once as Stage I does (channels=dose_only, flips), and reports what it held at the end and at most, above what
it held before the first case. Peer: the same loader, keeping its samples in memory. Aim: from few to many, each further
case adds at most a hundredth of what a kept one adds (a loader that held every case would add as much as the peer).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dosewright.core import PatientCase
from dosewright.datasets.augmentation import Augmentation
from dosewright.io.phantom import PhantomAnatomyReader
from dosewright.io.prepared import read_case, write_case
from dosewright.io.reader import AbstractReader
from dosewright.jobs.cli import conf_dir
from dosewright.training.data import DoseDataModule
from harness.patients import plausible_dose_gy
from harness.timing import machine, print_table


class Found(NamedTuple):
    """One measurement: MB above the start at the end and at most, and milliseconds per case."""

    end_mb: float
    most_mb: float
    case_ms: float


class LinkedReader(AbstractReader):
    """Prepared files of one case under many names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._case_ids = sorted(path.stem for path in folder.glob("*.case"))

    @property
    def case_ids(self) -> Sequence[str]:
        """The names of the files."""
        return self._case_ids

    def read(self, case_id: str) -> PatientCase:
        """Return the case, which calls itself by its first name."""
        return read_case(self.folder / f"{case_id}.case")


def prepare(folder: Path, count: int) -> None:
    """Write one phantom, and link it under as many names."""
    (case,) = PhantomAnatomyReader(count=1)
    first = folder / "case_0.case"
    write_case(first, case.with_dose(plausible_dose_gy(case)))
    for number in range(1, count):
        os.link(first, folder / f"case_{number}.case")


def load(folder: Path, count: int, memory_gb: float) -> Found:
    """Load so many cases once."""
    torch.set_num_threads(1)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        channels = instantiate(compose("train", overrides=["channels=dose_only"]).channels, _convert_="all")
    data = DoseDataModule(
        lambda split: LinkedReader(folder),
        cache_dir=None,
        channels=channels,
        multiple=4,
        augmentation=Augmentation(),
        memory_gb=memory_gb,
        limit_train=count,
    )
    loader, before_mb, start = data.train_dataloader(), resident_mb(), time.perf_counter()
    held_mb = [resident_mb() - before_mb for _ in loader]
    case_ms = (time.perf_counter() - start) * 1e3 / count
    return Found(resident_mb() - before_mb, max(held_mb), case_ms)


def resident_mb() -> float:
    """Return the memory this process holds now, in MB (10⁶ bytes)."""
    return psutil.Process().memory_info().rss / 1e6


def measured(folder: Path, count: int, memory_gb: float, repeats: int) -> Found:
    """Return the most of each number over runs in processes of their own."""
    command = [sys.executable, __file__, "--work", str(folder), "--count", str(count), "--memory-gb", str(memory_gb)]
    runs = []
    for _ in range(repeats):
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        runs.append([float(value) for value in output.rpartition("found ")[2].split()])
    return Found(*(max(values) for values in zip(*runs)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--few", type=int, default=10, help="cases of the short run")
    arguments.add_argument("--many", type=int, default=2000, help="cases of the long run")
    arguments.add_argument("--kept", type=int, default=100, help="cases of the run that keeps them in memory")
    arguments.add_argument("--repeats", type=int, default=1, help="runs of each")
    arguments.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--count", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--memory-gb", type=float, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.work:
        print("found", *load(options.work, options.count, options.memory_gb))
        return
    runs = {"streamed, few": (options.few, 0.0), "streamed, many": (options.many, 0.0)}
    runs |= {"kept, few": (options.few, 1e3), "kept, more": (options.kept, 1e3)}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), max(count for count, _ in runs.values()))
        found = {name: measured(Path(folder), *run, options.repeats) for name, run in runs.items()}
    _print(runs, found, options)


def _print(runs: dict[str, tuple[int, float]], found: dict[str, Found], options: argparse.Namespace) -> None:
    print(machine())
    print(f"most of {options.repeats} run(s) each, above the start\n")
    rows = [(name, f"{runs[name][0]}", *(f"{value:.1f}" for value in row)) for name, row in found.items()]
    print_table(("", "cases", "at the end, MB", "at most, MB", "ms per case"), rows)
    kept_mb = (found["kept, more"].most_mb - found["kept, few"].most_mb) / (options.kept - options.few)
    streamed_mb = (found["streamed, many"].most_mb - found["streamed, few"].most_mb) / (options.many - options.few)
    print(f"\neach further case adds, at most: kept {kept_mb:.3f} MB, streamed {streamed_mb:.3f} MB")
    share = streamed_mb / kept_mb
    print(f"streamed, of its peer's: {100 * share:.1f} % (aim ≤ 1 %: {'yes' if share <= 0.01 else 'no'})")


if __name__ == "__main__":
    main()
