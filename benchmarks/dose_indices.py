"""Time all DVHs and indices of the structures of one patient against a naive numpy twin.

    python benchmarks/dose_indices.py [--root DIR]

DIR holds OpenKBP's `provided-data`; without it a phantom is measured. The twin masks the volume anew for every index
and counts every DVH bin by itself. Both give the same numbers, which is checked before they are timed.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dosewright.core import PatientCase
from dosewright.dose import CaseDose, DoseIndex, IndexKind, default_indices, dvh_curves, index_table
from dosewright.io.openkbp import OpenKBPReader
from harness.patients import openkbp_root, parser

BIN_GY = 0.1
Result = dict[tuple[str, str], float | np.ndarray]

TOLERANCE = 1e-9  # Gy, percent or cc


def ours(case: PatientCase) -> Result:
    doses = CaseDose.of(case)
    table: Result = {(row.structure, row.name): row.value for row in index_table(doses)}
    return table | {(name, "DVH"): curve for name, curve in dvh_curves(doses).volume_percent.items()}


def naive(case: PatientCase) -> Result:
    if case.dose_gy is None:
        raise SystemExit(f"{case.case_id} has no dose")
    dose = case.dose_gy.astype(np.float64)
    found: Result = {}
    for name, indices in default_indices(case).items():
        for text in indices:
            found[name, text] = _naive_index(case, dose, name, DoseIndex.parse(text))
    greatest = max(float(dose[mask].max()) for mask in case.structures.values())
    bins = np.arange(int(greatest / BIN_GY) + 2) * BIN_GY
    for name, mask in case.structures.items():
        voxels = dose[mask]
        found[name, "DVH"] = np.array([np.count_nonzero(voxels >= b) / voxels.size * 100 for b in bins])
    return found


def _naive_index(case: PatientCase, dose: np.ndarray, name: str, index: DoseIndex) -> float:
    mask = case.structures[name]
    voxels, value = dose[mask], index.value or 0.0
    match index.kind:
        case IndexKind.MEAN:
            return float(voxels.mean())
        case IndexKind.MAX:
            return float(voxels.max())
        case IndexKind.DOSE_AT_PERCENT:
            return float(np.percentile(voxels, 100 - value))
        case IndexKind.DOSE_AT_CC:
            hottest_first = np.sort(voxels)[::-1]  # voxel number k from the top bounds the hottest k voxels
            count = value / case.grid.voxel_volume_cc
            return float(np.interp(count, np.arange(1, voxels.size + 1), hottest_first))
        case IndexKind.VOLUME_AT_PERCENT:
            return float((voxels >= value * case.prescription_gy[name] / 100).mean() * 100)
        case IndexKind.HOMOGENEITY:
            d2, d50, d98 = (np.percentile(voxels, 100 - v) for v in (2, 50, 98))
            return float((d2 - d98) / d50)
        case IndexKind.CONFORMITY:
            enclosed = (dose >= case.prescription_gy[name]) & (case.body | mask)
            covered = np.count_nonzero(enclosed & mask)
            return covered**2 / (np.count_nonzero(mask) * np.count_nonzero(enclosed))
    raise NotImplementedError(index.kind)


def fullest_case(root: Path, split: str) -> PatientCase:
    """Return the first patient with the most structures."""
    reader = OpenKBPReader(root, split)
    folders = {case_id: root / "provided-data" / f"{split}-pats" / case_id for case_id in reader.case_ids}
    return reader.read(max(folders, key=lambda case_id: len(list(folders[case_id].glob("*.csv")))))


def best_and_median_ms(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times), float(np.median(times))


def main() -> None:
    arguments = parser(__doc__ or "", repeats=20)
    arguments.add_argument("--split", default="train")
    args = arguments.parse_args()
    with openkbp_root(args.root) as root:
        case = fullest_case(root, args.split)
    mine, twin = ours(case), naive(case)
    if mine.keys() != twin.keys():
        raise SystemExit(f"the two disagree on what to compute: {mine.keys() ^ twin.keys()}")
    worst = max(float(np.max(np.abs(np.subtract(mine[key], twin[key])))) for key in mine)
    if worst > TOLERANCE:
        raise SystemExit(f"the two must agree within {TOLERANCE:g}; they differ by {worst:.2e}")
    indices = sum(key[1] != "DVH" for key in mine)
    print(f"patient {case.case_id}: {len(case.structures)} structures, {indices} indices, {len(case.structures)} DVHs")
    print(f"torch threads {torch.get_num_threads()}; largest difference between the two {worst:.2e}\n")
    best, median = best_and_median_ms(lambda: ours(case), args.repeats)
    naive_best, naive_median = best_and_median_ms(lambda: naive(case), max(3, args.repeats // 5))
    print(f"{'':24}{'best ms':>10}{'median ms':>11}{'ratio':>8}")
    print(f"{'dosewright.dose':24}{best:>10.1f}{median:>11.1f}{1.0:>8.1f}")
    print(f"{'naive numpy twin':24}{naive_best:>10.1f}{naive_median:>11.1f}{naive_median / median:>8.1f}")


if __name__ == "__main__":
    main()
