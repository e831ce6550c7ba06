"""A case whose structures and doses are easy to count by hand."""

import numpy as np

from dosewright.core import Grid, PatientCase

SHAPE = (12, 30, 40)


def box(z: slice, y: slice, x: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[z, y, x] = True
    return mask


def counted_case(
    structures: dict[str, np.ndarray] | None = None,
    prescription_gy: dict[str, float] | None = None,
    dose_gy: np.ndarray | None = None,
) -> PatientCase:
    """1 mm × 2 mm × 2 mm (x, y, z) voxels, body from 1 to 29 in y; PTV_High beside PTV_Low in x, five organs."""
    every = slice(2, 10)
    given = {
        "PTV_High": box(every, slice(10, 16), slice(8, 14)),
        "PTV_Low": box(every, slice(10, 16), slice(14, 30)),
        "Parotid_L": box(every, slice(15, 19), slice(20, 30)),  # a row of four in PTV_Low
        "Parotid_R": box(every, slice(20, 24), slice(2, 7)),
        "SpinalCord": box(slice(0, 12), slice(25, 28), slice(10, 13)),
        "Larynx": box(slice(4, 8), slice(11, 15), slice(9, 13)),  # all of it in PTV_High
        "Cochlea_L": box(slice(4, 5), slice(5, 6), slice(30, 34)),  # 16 mm³
    }
    given |= structures or {}
    body = box(slice(None), slice(1, 29), slice(1, 39))
    prescription = {"PTV_High": 70.0, "PTV_Low": 56.0} if prescription_gy is None else prescription_gy
    return PatientCase(
        case_id="counted",
        grid=Grid(SHAPE, (1.0, 2.0, 2.0)),
        ct_hu=np.where(body, 0, -1000).astype(np.int16),
        body=body,
        structures=given,
        prescription_gy=prescription,
        dose_gy=np.where(body, 20.0, 0.0).astype(np.float32) if dose_gy is None else dose_gy,
    )
