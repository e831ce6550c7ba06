"""Time to read one patient as published, and from the prepared cache, against a plain reader.

    python benchmarks/reading.py [--root DIR] [--case pt_1]

The plain reader takes the same files line by line with the csv module and checks nothing. All give the same volumes,
the cache's dose within 1 mGy. Files are in the page cache. DIR holds OpenKBP's `provided-data`; without it a phantom is
measured. Aims: a published patient within 1500 ms, a prepared one within 50 ms.
"""

import tempfile
from pathlib import Path

import numpy as np

from dosewright.core import PatientCase
from dosewright.io.openkbp import OARS, TARGETS, OpenKBPReader
from dosewright.io.prepared import CachedReader, read_case
from harness.patients import openkbp_root, parser, source_of
from harness.plain_reader import read_plainly
from harness.timing import machine, medians_ms, print_table

AIM_MS = {"csv module, line by line": None, "OpenKBPReader": 1500.0, "prepared case": 50.0, "CachedReader": 50.0}


def check(case: PatientCase, plain: dict[str, np.ndarray], dose_tolerance_gy: float) -> None:
    names = {theirs: ours for theirs, (ours, _) in TARGETS.items()} | dict(OARS)
    masks = {names[stem]: mask for stem, mask in plain.items() if stem in names}
    same = masks.keys() == case.structures.keys() and all(
        np.array_equal(m, case.structures[n]) for n, m in masks.items()
    )
    same &= np.array_equal(plain["possible_dose_mask"], case.scored_mask)
    same &= np.array_equal(np.round(np.clip(plain["ct"], 0, 4095) - 1000), case.ct_hu)
    if case.dose_gy is None or not same or np.abs(case.dose_gy - plain["dose"]).max() > dose_tolerance_gy:
        raise SystemExit("the readers disagree")


def main() -> None:
    arguments = parser(__doc__ or "", repeats=7)
    arguments.add_argument("--case", default="pt_1", help="a training patient")
    options = arguments.parse_args()
    with openkbp_root(options.root) as root, tempfile.TemporaryDirectory() as cache:
        folder = root / "provided-data" / "train-pats" / options.case
        reader = OpenKBPReader(root)
        cached = CachedReader(reader, cache)
        cached.prepare(options.case)
        prepared = Path(cache) / f"{options.case}.case"
        plain = read_plainly(folder)
        check(reader.read(options.case), plain, 0.0)
        check(read_case(prepared), plain, 1e-3)
        source_kb = sum(path.stat().st_size for path in folder.glob("*.csv")) / 1e3
        work = (
            lambda: read_plainly(folder),
            lambda: reader.read(options.case),
            lambda: read_case(prepared),
            lambda: cached.read(options.case),
        )
        found = medians_ms(work, options.repeats)
        print(machine("blosc2"))
        print(f"{source_of(options.root)}: {options.case}, {source_kb:.0f} kB of CSV; ", end="")
        print(f"{prepared.stat().st_size / 1e3:.0f} kB prepared; median of {options.repeats}\n")
    table = [
        (name, f"{ms:.1f}", f"{found[0] / ms:.1f}", "" if aim is None else f"≤ {aim:.0f}", _met(ms, aim))
        for (name, aim), ms in zip(AIM_MS.items(), found, strict=True)
    ]
    print_table(("reader", "ms", "times faster", "aim, ms", "met"), table)
    print("\nCachedReader also compares the source's fingerprint before it trusts the prepared case")


def _met(ms: float, aim: float | None) -> str:
    return "" if aim is None else "yes" if ms <= aim else "no"


if __name__ == "__main__":
    main()
