"""The dense half-precision operator against the sparse one."""

import numpy as np
import pytest
import torch
from scipy import sparse

from dosewright.core import Beam, Grid, InputError
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


def test_some_rows_in_any_order() -> None:
    exact, rows = influence(), torch.tensor([7, 2, 299])
    dense = DenseInfluence(exact, torch.float32, rows)
    assert dense.shape == (3, 1100)
    x, y = torch.rand(4, 1100), torch.rand(4, 3)
    torch.testing.assert_close(dense.forward(x), exact.forward(x)[:, rows])
    spread = torch.zeros(4, 300)
    spread[:, rows] = y
    torch.testing.assert_close(dense.adjoint(y), exact.adjoint(spread))
    expected = np.linalg.norm(exact.csr[rows.numpy()].toarray(), axis=0)
    np.testing.assert_allclose(dense.column_norms, expected, rtol=1e-5)


def test_rows_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"rows must be in \[0, 300\); got \(5, 300\)"):
        DenseInfluence(influence(), rows=torch.tensor([300, 5]))
