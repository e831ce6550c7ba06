"""Beam plates of a case, as channels: which target, isocentre and beams go into them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float16

from dosewright.core import PatientCase
from dosewright.geometry.angle_plate import angle_plate_volume
from dosewright.geometry.beam_plate import beam_plate
from dosewright.geometry.isocenter import isocenter_of
from dosewright.geometry.rays import primary_fluence_plates


def ray_plates_of(case: PatientCase, targets: Sequence[str]) -> Float16[np.ndarray, "t z y x"]:
    """Return one attenuated primary-fluence plate per target, divided by the number of beams; absent ones are zero."""
    volume = np.zeros((len(targets), *case.grid.shape_zyx), np.float16)
    present = {name: case.structures[name] for name in targets if name in case.structures}
    if not case.beams or not present:
        return volume
    plates = primary_fluence_plates(
        present, case.grid, isocenter_of(case), case.beams, body=case.body, ct_hu=case.ct_hu
    )
    for name, plate in plates.items():
        volume[targets.index(name)] = plate / np.float32(len(case.beams))
    return volume


def plate_of(case: PatientCase, kind: str) -> Float16[np.ndarray, "z y x"]:
    """Return GDP-HMM's "angle" plate or its beam plate ("gdphmm") over all targets, the latter divided by the beams."""
    if not case.beams:
        return np.zeros(case.grid.shape_zyx, np.float16)
    isocenter, angles = isocenter_of(case), [beam.gantry_angle_deg for beam in case.beams]
    if kind == "angle":
        return angle_plate_volume(case.grid, isocenter, angles).astype(np.float16)
    union = np.logical_or.reduce([case.structures[name] for name in case.targets])
    every_second = case.technique == "VMAT"
    plate = beam_plate(union, case.grid, isocenter, angles, every_second=every_second)
    return (plate / len(angles[:: 2 if every_second else 1])).astype(np.float16)
