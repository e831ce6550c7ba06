"""The dose influence operator against dense products, and its views and grids against closed forms."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse

from cases import make_case
from dosewright.core import Beam, Grid, GridMismatchError, InputError, PatientCase
from dosewright.fluence import dose_influence
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_grid import dose_on_case_grid, volume_on_grid
from dosewright.fluence.dose_influence import DoseInfluence

GRID = Grid((5, 6, 8), (5.0, 5.0, 5.0), (-20.0, -15.0, 5.0))
BEAMS = (Beam(0.0), Beam(120.0), Beam(240.0))
VOXELS = np.arange(20, 220)


def beamlets(*sizes: int) -> Beamlets:
    rng = np.random.default_rng(1)
    beam = np.repeat(np.arange(len(sizes)), sizes)
    return Beamlets(beam, rng.normal(0, 20, len(beam)), rng.normal(0, 20, len(beam)), 5.0)


def dense(seed: int = 0, columns: int = 18) -> np.ndarray:
    """200 voxels × 18 beamlets, a third filled, the last column and some rows empty."""
    rng = np.random.default_rng(seed)
    matrix = rng.uniform(0, 1, (200, columns)) * (rng.uniform(size=(200, columns)) < 0.3)
    matrix[:, -1] = 0
    matrix[5:9] = 0
    return matrix.astype(np.float32)


def influence(kind: type = sparse.csc_array, **options: object) -> DoseInfluence:
    return DoseInfluence(kind(dense()), BEAMS, beamlets(6, 7, 5), GRID, VOXELS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [sparse.csc_array, sparse.csr_array, sparse.coo_array])
@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3)])
def test_products_are_those_of_the_dense_matrix(kind: type, batch: tuple[int, ...]) -> None:
    operator, matrix = influence(kind), dense()
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(*batch, 18, generator=generator), torch.rand(*batch, 200, generator=generator)
    assert operator.shape == (200, 18)
    assert operator.nnz == np.count_nonzero(matrix)
    assert operator.forward(x).shape == (*batch, 200)
    assert operator.forward(x).numpy() == pytest.approx(x.numpy() @ matrix.T, rel=1e-5, abs=1e-6)
    assert operator.adjoint(y).numpy() == pytest.approx(y.numpy() @ matrix, rel=1e-5, abs=1e-6)


def test_adjoint_identity() -> None:
    operator = influence()
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.rand(18, generator=generator), torch.randn(200, generator=generator)
        left = float(operator.forward(x).double() @ y.double())
        assert left == pytest.approx(float(x.double() @ operator.adjoint(y).double()), rel=1e-5)


def test_products_differentiate() -> None:
    operator = influence(dtype=torch.float64)
    x = torch.rand(3, 18, dtype=torch.float64, requires_grad=True)
    y = torch.rand(200, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(operator.forward, (x,), fast_mode=True)
    assert torch.autograd.gradcheck(operator.adjoint, (y,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: operator.forward(x) ** 2, (x,), fast_mode=True)


def test_gradient_comes_back_in_the_precision_of_the_fluence() -> None:
    x = torch.rand(18, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(influence().forward(x).sum(), x)
    assert gradient.dtype == torch.float64
    assert gradient.numpy() == pytest.approx(dense().sum(0), rel=1e-5)


def test_lean_matrices_are_not_copied() -> None:
    matrix = sparse.csc_array(dense())
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    operator = DoseInfluence(matrix, BEAMS, beamlets(6, 7, 5), GRID, VOXELS)
    assert np.shares_memory(operator.csc.data, matrix.data)
    assert np.shares_memory(operator.csc.indices, matrix.indices)


def test_wide_indices_and_doubles_become_lean() -> None:
    wide = sparse.csr_array(dense().astype(np.float64))
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    operator = DoseInfluence(wide, BEAMS, beamlets(6, 7, 5), GRID, VOXELS)
    for matrix in (operator.csr, operator.csc):
        assert (matrix.data.dtype, matrix.indices.dtype, matrix.indptr.dtype) == (np.float32, np.int32, np.int32)


def test_precision_can_be_raised_without_another_matrix() -> None:
    operator = influence()
    double = operator.to(dtype=torch.float64)
    assert np.shares_memory(double.csc.data, operator.csc.data)
    x = torch.rand(18, dtype=torch.float64)
    assert double.forward(x).dtype == torch.float64
    assert double.forward(x).numpy() == pytest.approx(dense().astype(float) @ x.numpy(), rel=1e-12)
    assert operator.forward(x).dtype == torch.float32


def test_column_norms() -> None:
    assert influence().column_norms.numpy() == pytest.approx(np.linalg.norm(dense(), axis=0), rel=1e-6)


def test_column_norms_of_many_columns() -> None:
    matrix = dense(columns=1100)
    matrix[:, [0, 511, 512, 600]] = 0
    operator = DoseInfluence(sparse.csc_array(matrix), BEAMS, beamlets(1000, 50, 50), GRID, VOXELS)
    assert operator.column_norms.numpy() == pytest.approx(np.linalg.norm(matrix, axis=0), rel=1e-6)


def test_some_beams() -> None:
    operator, x = influence(), torch.rand(18)
    part = operator.of_beams([2, 0])
    assert part.shape == (200, 11)
    assert part.beams == (BEAMS[2], BEAMS[0])
    assert part.beamlets.beam.tolist() == [0] * 5 + [1] * 6
    assert part.beamlets.u_mm.tolist() == operator.beamlets.u_mm[[*range(13, 18), *range(6)]].tolist()
    both = dense()[:, [*range(13, 18), *range(6)]]
    assert part.forward(x[:11]).numpy() == pytest.approx(both @ x[:11].numpy(), rel=1e-5, abs=1e-6)
    whole = sum(operator.of_beams([i]).forward(x[operator.beamlets.beam == i]) for i in range(3))
    assert whole.numpy() == pytest.approx(operator.forward(x).numpy(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("indices", [[], [3], [-1], [1, 1]])
def test_beams_that_are_not_there(indices: list[int]) -> None:
    with pytest.raises(InputError, match="beams must be distinct indices of the 3 beams"):
        influence().of_beams(indices)


def test_some_rows() -> None:
    operator, x = influence(), torch.rand(18)
    mask = torch.zeros(200, dtype=torch.bool)
    mask[[3, 7, 150]] = True
    for rows in (mask, torch.tensor([3, 7, 150])):
        part = operator.of_rows(rows)
        assert part.voxels.tolist() == [23, 27, 170]
        assert part.forward(x).numpy() == pytest.approx(operator.forward(x)[mask].numpy(), rel=1e-6)
        y = torch.rand(3)
        assert part.adjoint(y).numpy() == pytest.approx(y.numpy() @ dense()[[3, 7, 150]], rel=1e-5, abs=1e-6)


def test_rows_must_fit() -> None:
    with pytest.raises(InputError, match=r"rows must have one entry for each of 200 rows; got \(7,\)"):
        influence().of_rows(torch.ones(7, dtype=torch.bool))
    with pytest.raises(InputError, match="voxels must ascend"):
        influence().of_rows(torch.tensor([4, 2]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matrix": sparse.csc_array(dense()[:-1])}, r"matrix must have a row for each of 200 voxels"),
        ({"beamlets": beamlets(6, 7, 4)}, r"matrix must have .* a column for each of 17 beamlets; got \(200, 18\)"),
        ({"voxels": VOXELS[::-1]}, "voxels must ascend within the dose grid's 240 voxels"),
        ({"voxels": VOXELS + 21}, "voxels must ascend within the dose grid's 240 voxels"),
        ({"voxels": VOXELS - 21}, "voxels must ascend within the dose grid's 240 voxels"),
        ({"beams": BEAMS[:2]}, "beamlets must be of one of 2 beams; got 'beam 2'"),
    ],
)
def test_sizes_must_fit(changes: dict, message: str) -> None:
    given = {"matrix": sparse.csc_array(dense()), "beams": BEAMS, "beamlets": beamlets(6, 7, 5)}
    with pytest.raises(InputError, match=message):
        DoseInfluence(**({"grid": GRID, "voxels": VOXELS} | given | changes))


def test_too_many_entries_are_refused() -> None:
    with pytest.raises(
        InputError, match="matrix must have fewer than 2³¹ entries: take a coarser grid; got 2147483648"
    ):
        dose_influence.lean(SimpleNamespace(nnz=2**31))


def on(grid: Grid) -> np.ndarray:
    """A dose that is linear in position, which interpolation keeps."""
    z, y, x = np.meshgrid(grid.axis_mm("z"), grid.axis_mm("y"), grid.axis_mm("x"), indexing="ij")
    return (30 + 0.2 * x - 0.1 * y + 0.3 * z).astype(np.float32)


def of_case(case: PatientCase, spacing: float = 5.0) -> DoseInfluence:
    """One beamlet on all voxels of a grid inside the case's."""
    grid = Grid((5, 9, 13), (spacing,) * 3, (-34.0, -24.0, 10.0))
    count = int(np.prod(grid.shape_zyx))
    matrix = sparse.csc_array(np.ones((count, 1)))
    return DoseInfluence(matrix, (Beam(0.0),), beamlets(1), grid, np.arange(count))


def test_structures_on_the_dose_grid(case: PatientCase) -> None:
    same = DoseInfluence(
        sparse.csc_array(np.ones((int(case.body.sum()), 1))),
        (Beam(0.0),),
        beamlets(1),
        case.grid,
        np.flatnonzero(case.body),
    )
    masks = same.masks(case)
    assert list(masks) == list(case.structures)
    for name, mask in masks.items():
        assert np.array_equal(mask.numpy(), case.structures[name][case.body])
    coarse = of_case(case)
    target = case.structures["PTV_High"]
    inside = coarse.mask(target, case.grid).numpy()
    at = np.stack(np.meshgrid(*(coarse.grid.axis_mm(a) for a in "zyx"), indexing="ij"), -1).reshape(-1, 3)
    k, j, i = np.argwhere(target).T
    # linear interpolation between voxel centres exceeds a half up to half a voxel beyond the outermost centres
    edges = [(case.grid.axis_mm(a)[v.min()], case.grid.axis_mm(a)[v.max()]) for a, v in zip("zyx", (k, j, i))]
    half = np.array(case.grid.spacing_zyx_mm) / 2
    well_in = np.all([(a >= lo) & (a <= hi) for a, (lo, hi) in zip(at.T, edges)], axis=0)
    out = np.any([(a < lo - h) | (a > hi + h) for a, (lo, hi), h in zip(at.T, edges, half)], axis=0)
    assert inside[well_in].all()
    assert not inside[out].any()
    few, many = (sum(int(m.sum()) for m in coarse.masks(case, share).values()) for share in (0.5, 0.1))
    assert many > few


def test_sampling_keeps_a_linear_dose(case: PatientCase) -> None:
    coarse = of_case(case)
    sampled = coarse.sample(on(case.grid), case.grid)
    assert sampled.dtype == torch.float32
    assert sampled.numpy() == pytest.approx(on(coarse.grid).ravel(), abs=1e-3)


def test_sampling_within_the_body_takes_no_zeros_from_outside(case: PatientCase) -> None:
    coarse, dose = of_case(case), np.where(case.body, 40.0, 0.0)
    share = coarse.sample(case.body.astype(float), case.grid).numpy()
    plain = coarse.sample(dose, case.grid).numpy()
    assert plain == pytest.approx(40 * share, abs=1e-3)
    within = coarse.sample(dose, case.grid, inside=case.body).numpy()
    assert within[share > 0.05] == pytest.approx(40.0, abs=1e-3)


def test_a_volume_of_another_grid_is_refused(case: PatientCase) -> None:
    with pytest.raises(GridMismatchError, match=r"volume must have its grid's shape \(16, 20, 24\)"):
        of_case(case).sample(np.zeros((4, 4, 4)), case.grid)
    with pytest.raises(GridMismatchError, match=r"inside must have its grid's shape"):
        of_case(case).sample(on(case.grid), case.grid, inside=np.ones((4, 4, 4), bool))


def test_dose_goes_back_to_the_cases_grid(case: PatientCase) -> None:
    coarse = of_case(case)
    linear = torch.from_numpy(on(coarse.grid).ravel())
    assert coarse.volume(linear) == pytest.approx(on(coarse.grid), abs=1e-5)
    dose = coarse.on_case_grid(linear, case)
    assert dose.dtype == np.float32
    assert (dose[~case.body] == 0).all()
    low, high = (np.array(coarse.grid.position_xyz_mm(np.array(v, float))) for v in ((0, 0, 0), (4, 8, 12)))
    z, y, x = np.meshgrid(*(case.grid.axis_mm(a) for a in "zyx"), indexing="ij")
    covered = case.body & np.all([(p >= lo) & (p <= hi) for p, lo, hi in zip((x, y, z), low, high)], axis=0)
    assert covered.sum() > 500
    assert dose[covered] == pytest.approx(on(case.grid)[covered], abs=1e-3)


def test_a_dose_keeps_its_shape_on_the_way_there_and_back() -> None:
    """A hot spot of 8 mm, which linear interpolation flattens both ways."""
    case = make_case()
    middle = [float(np.mean(case.grid.axis_mm(a))) for a in "zyx"]
    z, y, x = np.meshgrid(*(case.grid.axis_mm(a) for a in "zyx"), indexing="ij")
    squares = sum((p - m) ** 2 for p, m in zip((z, y, x), middle))
    hot = (60.0 * np.exp(-squares / (2 * 8.0**2))).astype(np.float32)
    coarse = of_case(case)
    low, high = (coarse.grid.position_xyz_mm(np.array(v, float)) for v in ((0, 0, 0), (4, 8, 12)))
    inside = case.body & np.all([(p >= a) & (p <= b) for p, a, b in zip((x, y, z), low, high)], axis=0)
    again = coarse.on_case_grid(coarse.sample(hot, case.grid), case)
    linear = dose_on_case_grid(
        volume_on_grid(hot, case.grid, coarse.grid), np.ones(coarse.grid.shape_zyx, bool), coarse.grid, case
    )
    error, linear_error = (float(np.abs(dose - hot)[inside].mean()) for dose in (again, linear))
    assert error < 0.3 * linear_error
    assert float(again[inside].max()) == pytest.approx(float(hot[inside].max()), rel=0.03)


def test_dose_beyond_the_rows_does_not_pull_it_down() -> None:
    case = make_case()
    coarse = of_case(case)
    kept = torch.from_numpy(np.arange(coarse.shape[0]) % 13 < 9)  # the patient's right part only
    part = coarse.of_rows(kept)
    dose = part.on_case_grid(torch.full((int(kept.sum()),), 25.0), case)
    reached = (dose > 0) & case.body
    assert dose[reached].max() == pytest.approx(25.0, rel=1e-5)
    x = case.grid.axis_mm("x")
    assert dose[:, :, x <= part.grid.axis_mm("x")[8]][case.body[:, :, x <= part.grid.axis_mm("x")[8]]] == pytest.approx(
        25.0, rel=1e-5
    )


def test_beamlets_are_checked() -> None:
    good = beamlets(2, 2)
    for changes, message in (
        ({"u_mm": np.zeros(3)}, "u_mm must have one entry a beamlet"),
        ({"energy_mev": np.zeros(3)}, "energy_mev must have one entry a beamlet"),
        ({"v_mm": np.full(4, np.nan)}, "v_mm must be finite"),
        ({"beam": np.array([0, 1, 0, 1])}, "beam must ascend from 0 on"),
        ({"beam": np.array([-1, 0, 0, 1])}, "beam must ascend from 0 on"),
        ({"size_mm": 0.0}, "size_mm must be a positive length"),
    ):
        with pytest.raises(InputError, match=message):
            replace(good, **changes)
    assert len(good) == 4


def test_energies_follow_their_beams() -> None:
    energies = replace(beamlets(1, 2), energy_mev=np.array([80.0, 90.0, 100.0]))
    assert energies.of_beams([1, 0]).energy_mev.tolist() == [90.0, 100.0, 80.0]
    assert len(energies.of_beams([])) == 0
