"""Time to read one plan of the GDP-HMM challenge's size, against `np.load(allow_pickle=True)`.

    python benchmarks/gdp_hmm_read.py [--file PLAN.npz] [--repeats 3] [--clock wall]

Without a file a plan is made: 128 × 200 × 250 voxels of 2 × 2.5 × 2.5 mm and 45 structures, some 400 MB unpacked, as
the published ones. All give the same arrays; the peer runs whatever the file says and checks nothing. `--clock cpu`
counts processor time, for machines with other work. Aim: a plan as a case within 1000 ms.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from dosewright.core import Beam, Grid, PatientCase
from dosewright.io.gdp_hmm import GdpHmmReader, GdpHmmWriter
from dosewright.io.gdp_hmm.npz import read_object
from harness.timing import machine, print_table

SHAPE = (128, 200, 250)
AIM_MS = 1000.0


def made_plan(structures: int = 45) -> PatientCase:
    """A cylinder of a patient with ellipsoids in it, noise in the CT and in the dose."""
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    body = np.broadcast_to(((y - 100) / 85) ** 2 + ((x - 125) / 110) ** 2 < 1, SHAPE).copy()
    masks = {}
    for number in range(structures):
        center, radius = rng.uniform(0.3, 0.7, 3) * SHAPE, rng.uniform(5, 25, 3)
        inside = sum(((axis - c) / r) ** 2 for axis, c, r in zip((z, y, x), center, radius)) < 1
        masks["PTV_High" if number == 0 else f"Organ_{number}"] = inside
    distance_2 = (z - 64) ** 2 + (y - 100) ** 2 + (x - 125) ** 2
    dose = 70 * np.exp(-distance_2 / 4000) * rng.uniform(0.97, 1.03, SHAPE) * body + 0.5 * body
    return PatientCase(
        case_id="P001+9Ag+MADE",
        grid=Grid(SHAPE, (2.5, 2.5, 2.0), (-311.25, -248.75, -127.0)),
        ct_hu=np.where(body, rng.normal(30, 20, SHAPE), -1000).astype(np.int16),
        body=body,
        structures=masks,
        prescription_gy={"PTV_High": 70.0},
        beams=tuple(Beam(float(angle)) for angle in range(0, 360, 40)),
        dose_gy=dose.astype(np.float32),
    )


def load_plainly(path: Path) -> dict[str, object]:
    """The challenge's own way."""
    with np.load(path, allow_pickle=True) as stored:
        return stored["arr_0"].item()


def check(path: Path) -> int:
    """Compare both ways key by key; return the bytes of the arrays."""
    ours, theirs = read_object(path), load_plainly(path)
    arrays = {key: value for key, value in theirs.items() if isinstance(value, np.ndarray)}
    if list(ours) != list(theirs) or not all(np.array_equal(ours[key], value) for key, value in arrays.items()):
        raise SystemExit("the readers disagree")
    return sum(array.nbytes for array in arrays.values())


def times_ms(works: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return the median time of each work, after one call that is not counted; they take turns."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            start = clock()
            work()
            if turn:
                found[name].append((clock() - start) * 1e3)
    return {name: median(times) for name, times in found.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--file", type=Path, help="a plan of the challenge; its tables are beside it")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or GdpHmmWriter(helpers=False).write(made_plan(), Path(folder))[0]
        reader = GdpHmmReader(path.parent, split=None)
        unpacked = check(path)
        works: dict[str, Callable[[], object]] = {
            "np.load(allow_pickle=True), unchecked": lambda: load_plainly(path),
            "read_object, nothing run": lambda: read_object(path),
            "GdpHmmReader, a checked case": lambda: reader.read(path.stem),
        }
        clock = time.process_time if options.clock == "cpu" else time.perf_counter
        found = times_ms(works, options.repeats, clock)
        print(machine())
        packed = path.stat().st_size / 1e6
        told = f"{unpacked / 1e6:.0f} MB in {packed:.0f} MB; median of {options.repeats}, {options.clock} time"
        print(f"{path.name}: {told}\n")
    peer = next(iter(found.values()))
    rows = [
        (name, f"{ms:.0f}", f"{peer / ms:.2f}", f"≤ {AIM_MS:.0f}" if at == 2 else "", _met(at, ms))
        for at, (name, ms) in enumerate(found.items())
    ]
    print_table(("reader", "ms", "times faster", "aim, ms", "met"), rows)


def _met(at: int, ms: float) -> str:
    return "" if at != 2 else "yes" if ms <= AIM_MS else "no"


if __name__ == "__main__":
    main()
