"""Products with a dose influence matrix: how near they come to the speed of memory, alone and for many plans.

    python benchmarks/matvec.py [--root DIR] [--case pt_201] [--cache DIR] [--plans 8 32 64] [--repeats 15]

The matrix has nine beams, beamlets and dose grid as `--beamlet-mm` and `--dose-spacing-mm` say. Its peer is scipy's
product with the same matrix. The bandwidth of a product is what it must read, the matrix once, over its time; that of
a copy counts what it reads and writes. DIR holds OpenKBP's `provided-data`; without it a phantom is planned.
"""

from collections.abc import Callable

import numpy as np
import torch

from dosewright.fluence.dense_influence import DenseInfluence
from dosewright.fluence.dose_influence import DoseInfluence
from harness.influences import case_and_influence, influence_parser
from harness.patients import source_of
from harness.timing import machine, medians_ms, print_table

BYTES_PER_ENTRY = 8
SPARSE, DENSE = "DoseInfluence", "DenseInfluence (bf16)"


def main() -> None:
    arguments = influence_parser(__doc__ or "", repeats=15)
    arguments.add_argument("--plans", type=int, nargs="*", default=[2, 8, 32, 64], help="numbers of plans at once")
    options = arguments.parse_args()
    case, influence = case_and_influence(options)
    n, b = influence.shape
    print(machine("scipy"))
    print(
        f"{source_of(options.root)}, {case.case_id}: {n} voxels × {b} beamlets, {influence.nnz / 1e6:.1f} M entries, "
        f"{influence.nnz * BYTES_PER_ENTRY / 1e9:.2f} GB an orientation; medians of {options.repeats}\n"
    )
    single(influence, options.repeats)
    print()
    batched(influence, options.plans, options.repeats)


def single(influence: DoseInfluence, repeats: int) -> None:
    """Print one product forward and back, against scipy's and against a copy of as many bytes."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(size, generator=generator) for size in influence.shape[::-1])
    size_gb = influence.nnz * BYTES_PER_ENTRY / 1e9
    source = torch.ones(influence.nnz * BYTES_PER_ENTRY // 4)
    target = torch.empty_like(source)
    works: dict[str, Callable[[], object]] = {
        "copy of the matrix": lambda: target.copy_(source),
        "forward, scipy": lambda: influence.csr @ x.numpy(),
        f"forward, {SPARSE}": lambda: influence.forward(x),
        "adjoint, scipy": lambda: influence.csc.T @ y.numpy(),
        f"adjoint, {SPARSE}": lambda: influence.adjoint(y),
    }
    np.testing.assert_allclose(influence.forward(x).numpy(), influence.csr @ x.numpy(), rtol=1e-4)
    np.testing.assert_allclose(influence.adjoint(y).numpy(), influence.csc.T @ y.numpy(), rtol=1e-4)
    times = dict(zip(works, medians_ms(list(works.values()), repeats), strict=True))
    speed = {name: size_gb * (2 if name.startswith("copy") else 1) / ms * 1e3 for name, ms in times.items()}
    copy, rows = speed["copy of the matrix"], []
    for name, ms in times.items():
        peer = times.get(f"{name.split(',')[0]}, scipy")
        faster = f"{peer / ms:.1f}" if peer else ""
        rows.append((name, f"{ms:.1f}", f"{speed[name]:.1f}", f"{speed[name] / copy:.2f}", faster))
    print_table(("", "ms", "GB/s", "of copying", "times faster"), rows)


def batched(influence: DoseInfluence, plans: list[int], repeats: int) -> None:
    """Print the time of a product forward and back, per plan, for batches."""
    generator = torch.Generator().manual_seed(0)
    dense = DenseInfluence(influence)
    n, b = influence.shape
    rows, alone = [], 0.0
    for count in [1, *plans]:
        x, y = torch.rand(count, b, generator=generator), torch.rand(count, n, generator=generator)
        error = float((dense.forward(x) - influence.forward(x)).norm() / influence.forward(x).norm())
        if not error < 0.01:
            raise SystemExit(f"the dense product is off by {error:.1%}")

        def pair(operator: DoseInfluence | DenseInfluence, x: torch.Tensor = x, y: torch.Tensor = y) -> None:
            operator.forward(x)
            operator.adjoint(y)

        times = medians_ms([lambda: pair(influence), lambda: pair(dense)], repeats)
        alone = alone or times[0]
        for name, ms in zip((SPARSE, DENSE), times, strict=True):
            rows.append((f"{name}, {count} plans", f"{ms:.1f}", f"{ms / count:.2f}", f"{alone * count / ms:.1f}"))
    print_table(("forward and adjoint", "ms", "ms a plan", "times faster than one by one"), rows)


if __name__ == "__main__":
    main()
