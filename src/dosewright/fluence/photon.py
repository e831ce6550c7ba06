"""Photon plans with real physics: pyRadPlan's pencil-beam dose influence, and a small fluence optimisation on it.

The dose per beamlet is pyRadPlan's SVD pencil beam (Bortfeld, Schlegel & Rhein 1993). The optimisation is penalties per
voxel under x >= 0, solved by L-BFGS-B; it makes plausible plans quickly and is no treatment planning system.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage, optimize, sparse

from dosewright.core import Grid, InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.fluence.dose_grid import dose_on_case_grid, mask_on_grid
from dosewright.fluence.dose_influence import lean, torch_csr
from dosewright.fluence.photon_influence import PhotonInfluence, photon_influence

PLAN_VERSION = 1  # raise when the same case gives another dose; caches are keyed by it


@dataclass(frozen=True)
class OarGoal:
    """What an organ should be spared.

    Args:
        ceiling_gy: Dose above it is penalised quadratically, total Gy.
        ceiling_weight: Of that penalty.
        square_weight: Of the mean squared dose, which pulls the whole organ down.
    """

    ceiling_gy: float
    ceiling_weight: float
    square_weight: float


# Ceilings below the usual limits (QUANTEC, Marks et al. 2010), so that optimised plans meet them.
OAR_GOALS: dict[str, OarGoal] = {
    "SpinalCord": OarGoal(38.0, 3.0, 0.01),
    "Brainstem": OarGoal(46.0, 3.0, 0.01),
    "Brain": OarGoal(50.0, 0.5, 0.005),
    "Bone_Mandible": OarGoal(64.0, 0.5, 0.01),
    "Larynx": OarGoal(42.0, 0.4, 0.03),
    "Esophagus": OarGoal(40.0, 0.4, 0.03),
    "Parotid_L": OarGoal(26.0, 0.2, 0.08),
    "Parotid_R": OarGoal(26.0, 0.2, 0.08),
    "Glnd_Submand_L": OarGoal(39.0, 0.1, 0.03),
    "Glnd_Submand_R": OarGoal(39.0, 0.1, 0.03),
    "Lung_L": OarGoal(20.0, 0.4, 0.06),
    "Lung_R": OarGoal(20.0, 0.4, 0.06),
    "Heart": OarGoal(30.0, 0.3, 0.05),
}
OTHER_GOAL = OarGoal(45.0, 0.2, 0.02)
TARGET_WEIGHT, BODY_WEIGHT = 10.0, 6.0
HOT_FRACTION = 1.02  # targets may be this much above prescription
TARGET_SHARE = 0.1  # coarse voxels this much in a target count as target, so that its edge is covered


@dataclass(frozen=True)
class VoxelPenalties:
    """Weights and dose levels per voxel: Σ under (lower - d)₊² + over (d - upper)₊² + square d², all (voxels,)."""

    lower_gy: Float[np.ndarray, " voxels"]
    under: Float[np.ndarray, " voxels"]
    upper_gy: Float[np.ndarray, " voxels"]
    over: Float[np.ndarray, " voxels"]
    square: Float[np.ndarray, " voxels"]

    def value_and_gradient(self, dose_gy: Float[np.ndarray, " voxels"]) -> tuple[float, Float[np.ndarray, " voxels"]]:
        """Return the penalty and its gradient with respect to dose."""
        short = np.maximum(self.lower_gy - dose_gy, 0)
        excess = np.maximum(dose_gy - self.upper_gy, 0)
        value = self.under @ short**2 + self.over @ excess**2 + self.square @ dose_gy**2
        return float(value), 2 * (self.over * excess - self.under * short + self.square * dose_gy)


def optimise_photon_dose(
    case: PatientCase,
    *,
    beamlet_mm: float = 10.0,
    dose_spacing_mm: float | None = None,
    lateral_cutoff_mm: float = 50.0,
    iterations: int = 60,
    rng: np.random.Generator | None = None,
) -> FloatVolume:
    """Return the total dose in Gy (float32, on the case's grid) of an optimised photon plan for the case's beams.

    The fluence meets the prescriptions, spares the organs at risk and falls off around the targets; the dose is scaled
    so that D95 of the highest target is its prescription, and is zero outside the body.

    Args:
        case: Patient with photon beams.
        beamlet_mm: Edge of a beamlet at the isocentre.
        dose_spacing_mm: Voxel size of the dose grid; None takes the case's own where that is 5 mm or more, else 5 mm.
        lateral_cutoff_mm: Beamlets give dose up to this far from their axis.
        iterations: Of the optimiser.
        rng: Varies how much each organ is spared, as planners do; None spares all by the table.

    Raises:
        InputError: If an argument is out of range, the case has no photon beams, or a target falls between the dose
            grid's voxels or out of the beams' reach.
        MissingExtraError: If pyRadPlan is not installed.
    """
    if int(iterations) != iterations or iterations < 1:
        raise InputError("must be a positive integer", argument="iterations", value=iterations)
    influence = photon_influence(
        case, beamlet_mm=beamlet_mm, dose_spacing_mm=dose_spacing_mm, lateral_cutoff_mm=lateral_cutoff_mm
    )
    body = mask_on_grid(case.body, case.grid, influence.grid)
    rows = np.flatnonzero(body)
    _check_targets(case, influence, body)
    dose = np.zeros(influence.grid.shape_zyx)
    dose.flat[rows] = _optimise(
        influence.matrix[rows], voxel_penalties(case, influence.grid, rows, rng), int(iterations)
    )
    return _scaled(case, dose_on_case_grid(dose, body, influence.grid, case))


def voxel_penalties(
    case: PatientCase, grid: Grid, rows: np.ndarray, rng: np.random.Generator | None = None
) -> VoxelPenalties:
    """Return the penalties on the voxels `rows` of a dose grid; each structure counts by its weight, not its size.

    Where targets overlap the higher prescription rules; outside targets the allowed dose falls with distance, by e
    every 25 mm towards a third of the prescription.
    """
    size = int(np.prod(grid.shape_zyx))
    lower, under, over, square = (np.zeros(size) for _ in range(4))
    upper = np.zeros(size)
    for name in reversed(case.targets):
        mask = mask_on_grid(case.structures[name], case.grid, grid, share=TARGET_SHARE)
        dose = case.prescription_gy[name]
        distance = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_zyx_mm).ravel()
        allowed = dose * (0.33 + 0.65 * np.exp(-np.maximum(distance - 2, 0) / 25))
        upper = np.maximum(upper, allowed)
        inside = mask.ravel()
        lower[inside] = dose
        upper[inside] = dose * HOT_FRACTION
        under[inside] = over[inside] = TARGET_WEIGHT / max(inside.sum(), 1)
    outside = np.isin(np.arange(size), rows) & (lower == 0)
    over[outside] = BODY_WEIGHT / max(outside.sum(), 1)
    for name in case.oars:
        goal = _varied(OAR_GOALS.get(name, OTHER_GOAL), rng)
        organ = mask_on_grid(case.structures[name], case.grid, grid).ravel() & (lower == 0)
        if organ.any():
            upper[organ] = np.minimum(upper[organ], goal.ceiling_gy)
            over[organ] += goal.ceiling_weight / organ.sum()
            square[organ] += goal.square_weight / organ.sum()
    return VoxelPenalties(lower[rows], under[rows], upper[rows], over[rows], square[rows])


def _varied(goal: OarGoal, rng: np.random.Generator | None) -> OarGoal:
    if rng is None:
        return goal
    factor = float(np.exp(rng.normal(0, 0.5)))
    return replace(goal, ceiling_weight=goal.ceiling_weight * factor, square_weight=goal.square_weight * factor)


def _optimise(matrix: sparse.csc_array, penalties: VoxelPenalties, iterations: int) -> Float[np.ndarray, " voxels"]:
    """Return the dose of the best non-negative fluence found, started from equal fluence at the targets' mean dose."""
    forward, back = (
        torch_csr(lean(sparse.csr_array(one)), torch.device("cpu"), torch.float32) for one in (matrix, matrix.T)
    )

    def product(operator: torch.Tensor, vector: np.ndarray) -> np.ndarray:
        return (operator @ torch.from_numpy(vector.astype(np.float32))).numpy().astype(np.float64)

    flat = product(forward, np.ones(matrix.shape[1]))
    goal = penalties.lower_gy > 0
    unit = float(penalties.lower_gy[goal].mean() / flat[goal].mean())

    def value_and_gradient(fluence: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = penalties.value_and_gradient(unit * product(forward, fluence))
        return value, unit * product(back, slope)

    found = optimize.minimize(
        value_and_gradient,
        np.ones(matrix.shape[1]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * matrix.shape[1],
        options={"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 10},
    )
    return unit * product(forward, found.x)


def _check_targets(case: PatientCase, influence: PhotonInfluence, body: Bool[np.ndarray, "k j i"]) -> None:
    open_field = influence.matrix @ np.ones(influence.matrix.shape[1])
    for name in case.targets:
        mask = mask_on_grid(case.structures[name], case.grid, influence.grid, share=TARGET_SHARE) & body
        if not mask.any():
            spacing = influence.grid.spacing_xyz_mm
            raise InputError("must not fall between the voxels of the dose grid", argument=name, value=spacing)
        reached = float(open_field[mask.ravel()].mean())
        if not reached > 0:
            raise InputError("cannot be reached by the beams: all fluence gives it", argument=name, value=reached)


def _scaled(case: PatientCase, dose_gy: FloatVolume) -> FloatVolume:
    """Return the dose scaled so that D95 of the highest target is its prescription."""
    top = case.targets[0]
    d95 = float(np.quantile(dose_gy[case.structures[top]], 0.05))
    if not d95 > 0:
        raise InputError("cannot be reached by the beams: D95 must be positive", argument=top, value=d95)
    return (dose_gy * (case.prescription_gy[top] / d95)).astype(np.float32)
