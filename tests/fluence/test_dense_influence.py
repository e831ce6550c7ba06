"""The dense half-precision operator against the sparse one."""

import numpy as np
import pytest
import torch
from scipy import sparse

from dosewright.core import Beam, Grid
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dense_influence import DenseInfluence
from dosewright.fluence.dose_influence import DoseInfluence


def influence() -> DoseInfluence:
    rng = np.random.default_rng(0)
    matrix = sparse.random_array((300, 1100), density=0.2, rng=rng, format="csc", dtype=np.float32)
    beamlets = Beamlets(np.zeros(1100, int), rng.normal(size=1100), rng.normal(size=1100), 5.0)
    return DoseInfluence(matrix, (Beam(0.0),), beamlets, Grid((10, 10, 10), (5.0, 5.0, 5.0)), np.arange(300))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_products_are_those_of_the_sparse_operator(
    dtype: torch.dtype, tolerance: float, batch: tuple[int, ...]
) -> None:
    exact = influence()
    dense = DenseInfluence(exact, dtype)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(*batch, 1100, generator=generator), torch.rand(*batch, 300, generator=generator)
    for found, expected in ((dense.forward(x), exact.forward(x)), (dense.adjoint(y), exact.adjoint(y))):
        assert found.dtype == torch.float32
        assert found.numpy() == pytest.approx(expected.numpy(), rel=tolerance, abs=0.01 * tolerance)


def test_what_solvers_ask_for() -> None:
    exact = influence()
    dense = DenseInfluence(exact)
    assert dense.shape == (300, 1100)
    assert dense.beamlets is exact.beamlets
    assert torch.equal(dense.column_norms, exact.column_norms)
