"""Dose influence of photon beamlets, by pyRadPlan's SVD pencil beam (Bortfeld, Schlegel & Rhein 1993) at 6 MV."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from dosewright.core import Grid, InputError, PatientCase
from dosewright.core.types import Triple
from dosewright.fluence.pyradplan import MissingExtraError as MissingExtraError
from dosewright.fluence.pyradplan import ct_and_structures, import_pyradplan, quiet

DOSE_SPACING_MIN_MM = 5.0


@dataclass(frozen=True)
class PhotonInfluence:
    """Dose influence of photon beamlets on the voxels of a dose grid.

    Args:
        matrix: Voxels of `grid` (raveled z, y, x) × beamlets, Gy per unit fluence.
        grid: The dose grid.
    """

    matrix: sparse.csc_array
    grid: Grid


def photon_influence(
    case: PatientCase,
    *,
    beamlet_mm: float = 10.0,
    dose_spacing_mm: float | None = None,
    lateral_cutoff_mm: float = 50.0,
) -> PhotonInfluence:
    """Return the dose influence matrix of a case's photon beams, by pyRadPlan's SVD pencil beam at 6 MV.

    Raises:
        InputError: If a length is not positive, or the case has no photon beams.
        MissingExtraError: If pyRadPlan is not installed.
    """
    lengths = {"beamlet_mm": beamlet_mm, "lateral_cutoff_mm": lateral_cutoff_mm, "dose_spacing_mm": dose_spacing_mm}
    for name, value in lengths.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError("must be a positive length in mm", argument=name, value=value)
    modalities = {beam.modality for beam in case.beams}
    if modalities != {"photon"}:
        raise InputError("must hold photon beams only, at least one", argument="beams", value=case.beams)
    if dose_spacing_mm is None:
        x, y, z = (max(d, DOSE_SPACING_MIN_MM) for d in case.grid.spacing_xyz_mm)
    else:
        x = y = z = dose_spacing_mm
    rad = import_pyradplan()
    with quiet(rad):
        return _pyradplan_influence(case, beamlet_mm, (x, y, z), lateral_cutoff_mm)


def _pyradplan_influence(
    case: PatientCase, beamlet_mm: float, spacing_xyz_mm: Triple, lateral_cutoff_mm: float
) -> PhotonInfluence:
    from pyRadPlan.dose.engines import get_engine
    from pyRadPlan.plan import PhotonPlan
    from pyRadPlan.stf import get_generator, validate_stf

    ct, structures = ct_and_structures(case)
    dose_grid = ct.grid.resample(dict(zip("xyz", spacing_xyz_mm)))
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {
        "generator": "photonIMRT",
        "gantry_angles": [beam.gantry_angle_deg for beam in case.beams],
        "couch_angles": [beam.couch_angle_deg for beam in case.beams],
        "bixel_width": beamlet_mm,
    }
    if case.isocenter_xyz_mm is not None:
        plan.prop_stf["iso_center"] = np.tile(case.isocenter_xyz_mm, (len(case.beams), 1))
    plan.prop_dose_calc = {"engine": "SVDPB", "dose_grid": dose_grid, "geometric_lateral_cutoff": lateral_cutoff_mm}
    generator, engine = get_generator(plan), get_engine(plan)
    generator.console_progress = engine.console_progress = False
    dij = engine.calc_dose_influence(ct, structures, validate_stf(generator.generate(ct, structures)))
    nx, ny, nz = (int(n) for n in dose_grid.dimensions)
    dx, dy, dz = (float(dose_grid.resolution[axis]) for axis in "xyz")
    x, y, z = (float(v) for v in dose_grid.origin)
    return PhotonInfluence(sparse.csc_array(dij.physical_dose.flat[0]), Grid((nz, ny, nx), (dx, dy, dz), (x, y, z)))
