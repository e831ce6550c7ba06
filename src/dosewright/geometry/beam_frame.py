"""A beam's own frame: where its source stands and which way its axes point.

Conventions (IEC 61217, patient supine and head first, all vectors in DICOM LPS, mm):
  gantry     0 has the source anterior (-y), 90 at the patient's left (+x), 180 posterior (+y)
  couch      positive turns the couch counter-clockwise seen from above: at couch 90, gantry 90 shines from the feet
  u, v       the collimator's X and Y at 0°: at gantry and couch 0, u points to the patient's left and v cranially
  axis       from the source to the isocentre; u × v points from the isocentre to the source
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dosewright.core import Beam
from dosewright.core.errors import InputError
from dosewright.core.types import Triple

SAD_MM = 1000.0


@dataclass(frozen=True, eq=False)
class BeamFrame:
    """Isocentre, source and unit axes of one beam.

    Args:
        isocenter_xyz_mm: LPS mm.
        u_xyz: Unit vector of the collimator's X.
        v_xyz: Unit vector of the collimator's Y.
        axis_xyz: Unit vector from the source to the isocentre.
        sad_mm: Distance from the source to the isocentre.
    """

    isocenter_xyz_mm: Float[np.ndarray, " 3"]
    u_xyz: Float[np.ndarray, " 3"]
    v_xyz: Float[np.ndarray, " 3"]
    axis_xyz: Float[np.ndarray, " 3"]
    sad_mm: float = SAD_MM

    @property
    def source_xyz_mm(self) -> Float[np.ndarray, " 3"]:
        """Position of the source, LPS mm."""
        return self.isocenter_xyz_mm - self.sad_mm * self.axis_xyz


def beam_frame(isocenter_xyz_mm: Triple, beam: Beam, sad_mm: float = SAD_MM) -> BeamFrame:
    """Return a beam's frame.

    Raises:
        InputError: If the isocentre is not finite or the source distance not positive.

    >>> beam_frame((0.0, 0.0, 0.0), Beam(90.0)).source_xyz_mm.round(6) + 0.0
    array([1000.,    0.,    0.])
    """
    if not all(math.isfinite(v) for v in isocenter_xyz_mm):
        raise InputError("must be finite", argument="isocenter_xyz_mm", value=isocenter_xyz_mm)
    if not (math.isfinite(sad_mm) and sad_mm > 0):
        raise InputError("must be a positive length in mm", argument="sad_mm", value=sad_mm)
    gantry, couch = math.radians(beam.gantry_angle_deg), math.radians(beam.couch_angle_deg)
    sin_g, cos_g, sin_c, cos_c = math.sin(gantry), math.cos(gantry), math.sin(couch), math.cos(couch)
    return BeamFrame(
        isocenter_xyz_mm=np.array(isocenter_xyz_mm, float),
        u_xyz=np.array([cos_c * cos_g, sin_g, -sin_c * cos_g]),
        v_xyz=np.array([sin_c, 0.0, cos_c]),
        axis_xyz=np.array([-cos_c * sin_g, cos_g, sin_c * sin_g]),
        sad_mm=float(sad_mm),
    )
