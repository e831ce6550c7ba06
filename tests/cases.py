"""Cases built by hand."""

import numpy as np

from dosewright.core import Beam, Grid, PatientCase


def make_case(case_id: str = "case_1", *, seed: int = 0, shape: tuple[int, int, int] = (16, 20, 24)) -> PatientCase:
    """A small water box with two targets, a left and a right gland and a random smooth-less dose."""
    rng = np.random.default_rng(seed)
    body = np.zeros(shape, bool)
    body[1:-1, 2:-2, 2:-2] = True

    def box(z: slice, y: slice, x: slice) -> np.ndarray:
        mask = np.zeros(shape, bool)
        mask[z, y, x] = True
        return mask

    structures = {
        "PTV_High": box(slice(5, 9), slice(8, 12), slice(9, 13)),
        "PTV_Low": box(slice(9, 12), slice(8, 12), slice(9, 13)),
        "Parotid_L": box(slice(5, 9), slice(8, 12), slice(17, 20)),
        "Parotid_R": box(slice(5, 9), slice(8, 12), slice(4, 7)),
        "SpinalCord": box(slice(1, 15), slice(14, 16), slice(11, 13)),
    }
    ct = np.where(body, 0, -1000).astype(np.int16)
    dose = np.where(body, rng.uniform(0, 70, shape), 0).astype(np.float32)
    return PatientCase(
        case_id=case_id,
        grid=Grid(shape, (3.0, 3.0, 4.0), (-40.0, -30.0, 5.0)),
        ct_hu=ct,
        body=body,
        structures=structures,
        prescription_gy={"PTV_High": 70.0, "PTV_Low": 56.0},
        beams=tuple(Beam(a) for a in range(0, 360, 40)),
        dose_gy=dose,
    )
