"""What a unit of fluence is in monitor units.

A machine is calibrated so that 100 MU give 1 Gy at 10 cm depth in water, in the isocentre, by a field of 10 × 10 cm.
The same field computed by the same dose engine gives so many Gy per unit fluence; that times 100 is the monitor units
of a unit of fluence. Output factors of small fields and scatter in the head are the engine's business: it has none.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from dosewright.core import Beam, Grid, InputError, PatientCase
from dosewright.fluence.apertures import Aperture, aperture_fluence
from dosewright.fluence.compute_influence import compute_influence
from dosewright.fluence.influence_settings import InfluenceSettings

MU_PER_FLUENCE = 82.0  # pyRadPlan's generic machine: 81.96 with 5 mm beamlets and voxels, 81.58 to 81.68 with 10 mm
MU_PER_GY = 100.0
FIELD_MM, DEPTH_MM = 100.0, 100.0
FINEST_MM = 2.5  # a finer grid costs memory and changes nothing: 81.96, 82.01 and 81.88 with 5, 3 and 2.5 mm
_HALF_WIDTH_MM, _BEHIND_MM = 130.0, 100.0  # of the water; no beamlet's dose reaches further into the isocentre


def mu_per_fluence(fractions: int, total: float = MU_PER_FLUENCE) -> float:
    """Return the monitor units of one fraction per unit of fluence, for fluence that gives the total dose.

    Args:
        fractions: Number of fractions.
        total: Monitor units of a unit of fluence.

    Raises:
        InputError: If a number is not positive.

    >>> mu_per_fluence(35, total=70.0)
    2.0
    """
    if not (fractions >= 1 and total > 0):
        raise InputError("must be positive", argument="fractions, total", value=(fractions, total))
    return total / fractions


def measure_mu_per_fluence(settings: InfluenceSettings | None = None) -> float:
    """Return the monitor units of a unit of photon fluence, by a dose calculation in water that takes seconds.

    Raises:
        MissingExtraError: If pyRadPlan is not installed.
    """
    settings = settings or InfluenceSettings()
    settings = replace(settings, dose_spacing_mm=max(settings.dose_spacing_mm, FINEST_MM))
    case = _water(float(settings.dose_spacing_mm))
    influence = compute_influence(case, settings)
    half = np.full((2, 1), FIELD_MM / 2)
    field = Aperture(0, np.array([-FIELD_MM / 2, FIELD_MM / 2]), -half, half, (-FIELD_MM / 2, FIELD_MM / 2), 1.0)
    fluence = torch.from_numpy(aperture_fluence([field], influence.beamlets)).float()
    dose = influence.volume(influence.forward(fluence))
    at = influence.grid.index_zyx(np.zeros(3))[:, None]
    return MU_PER_GY * float(ndimage.map_coordinates(dose, at, order=1)[0])


def _water(spacing_mm: float) -> PatientCase:
    """Return a block of water in air whose front is 10 cm before the isocentre, which a target of 10 cm surrounds."""
    across, margin = int(_HALF_WIDTH_MM // spacing_mm), 2
    along = margin + round((DEPTH_MM + _BEHIND_MM) / spacing_mm)
    shape = (2 * across + 1, along, 2 * across + 1)
    first_y = -DEPTH_MM + (0.5 - margin) * spacing_mm  # the front is a border of voxels, whatever their size
    grid = Grid(shape, (spacing_mm,) * 3, (-across * spacing_mm, first_y, -across * spacing_mm))
    z, y, x = np.meshgrid(*(grid.axis_mm(axis) for axis in "zyx"), indexing="ij")
    body = y > -DEPTH_MM
    target = (np.maximum(np.maximum(abs(x), abs(z)), abs(y)) <= FIELD_MM / 2 + spacing_mm) & body
    return PatientCase(
        case_id="water",
        grid=grid,
        ct_hu=np.where(body, 0, -1000).astype(np.int16),
        body=body,
        structures={"PTV_High": target},
        prescription_gy={"PTV_High": 1.0},
        beams=(Beam(0.0),),
        isocenter_xyz_mm=(0.0, 0.0, 0.0),
    )
