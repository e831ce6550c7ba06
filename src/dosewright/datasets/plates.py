"""Beam plates of a case, as channels: which target, isocentre and beams go into them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float16

from dosewright.core import PatientCase
from dosewright.geometry.angle_plate import angle_plate_volume
from dosewright.geometry.beam_plate import beam_plate
from dosewright.geometry.isocenter import isocenter_of
from dosewright.geometry.rays import primary_fluence_plate


def ray_plates_of(case: PatientCase, targets: Sequence[str]) -> Float16[np.ndarray, "t z y x"]:
    """Return one attenuated primary-fluence plate per target, divided by the number of beams; absent ones are zero."""
    plates = np.zeros((len(targets), *case.grid.shape_zyx), np.float16)
    if not case.beams:
        return plates
    isocenter = isocenter_of(case)
    for channel, name in enumerate(targets):
        if name in case.structures:
            plate = primary_fluence_plate(
                case.structures[name], case.grid, isocenter, case.beams, body=case.body, ct_hu=case.ct_hu
            )
            plates[channel] = plate / np.float32(len(case.beams))
    return plates


def plate_of(case: PatientCase, kind: str) -> Float16[np.ndarray, "z y x"]:
    """Return GDP-HMM's "angle" plate or its beam plate ("gdphmm") over all targets, the latter divided by the beams."""
    if not case.beams:
        return np.zeros(case.grid.shape_zyx, np.float16)
    isocenter, angles = isocenter_of(case), [beam.gantry_angle_deg for beam in case.beams]
    if kind == "angle":
        return angle_plate_volume(case.grid, isocenter, angles).astype(np.float16)
    union = np.logical_or.reduce([case.structures[name] for name in case.targets])
    plate = beam_plate(union, case.grid, isocenter, angles, every_second=case.technique == "VMAT")
    return (plate / np.float32(len(angles))).astype(np.float16)
