"""Small dose influences made by hand, for tests that need a plan but no physics."""

import numpy as np
from scipy import sparse

from dosewright.core import Beam, PatientCase
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_influence import DoseInfluence

BEAMLET_MM = 4.0
PENUMBRA_MM = 2.0


def make_influence(case: PatientCase, angles_deg: tuple[int, ...] = (0, 90, 180, 270)) -> DoseInfluence:
    """Parallel beams in the axial plane on the case's own grid: a Gaussian across, nothing lost along.

    A beam at 0 shines along y and has its u along x; one at 90 shines along x and has its u along y. v runs along z.
    Beamlets cover the targets with a margin.
    """
    voxels = np.flatnonzero(case.body)
    index = np.stack(np.unravel_index(voxels, case.grid.shape_zyx), axis=1).astype(float)
    position = case.grid.position_xyz_mm(index)
    targets = np.logical_or.reduce([case.structures[name] for name in case.targets])
    aim = case.grid.position_xyz_mm(np.argwhere(targets).astype(float))
    center = aim.mean(axis=0)
    columns, beam, u_mm, v_mm = [], [], [], []
    for number, angle in enumerate(angles_deg):
        axis = 0 if angle % 180 == 0 else 1
        across, along_z = aim[:, axis] - center[axis], aim[:, 2] - center[2]
        for v in _places(along_z):
            for u in _places(across):
                du = position[:, axis] - center[axis] - u
                dv = position[:, 2] - center[2] - v
                columns.append(np.exp(-(du**2 + dv**2) / (2 * PENUMBRA_MM**2)))
                beam.append(number)
                u_mm.append(u)
                v_mm.append(v)
    beamlets = Beamlets(np.array(beam), np.array(u_mm), np.array(v_mm), BEAMLET_MM)
    matrix = sparse.csc_array(np.stack(columns, axis=1).astype(np.float32))
    return DoseInfluence(matrix, tuple(Beam(angle) for angle in angles_deg), beamlets, case.grid, voxels)


def _places(extent_mm: np.ndarray) -> np.ndarray:
    """Beamlet centres that cover an extent and one beamlet more on each side."""
    most = int(np.ceil(np.abs(extent_mm).max() / BEAMLET_MM)) + 1
    return BEAMLET_MM * np.arange(-most, most + 1)
