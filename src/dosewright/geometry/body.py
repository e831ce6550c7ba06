"""The patient's outline from a CT."""

import numpy as np
from scipy import ndimage

from dosewright.core.errors import CaseError
from dosewright.core.types import Mask, Triple, Volume
from dosewright.geometry.surface import bounding_box

THRESHOLD_HU = -300.0
OPENING_MM = 3.0


def body_mask(
    ct_hu: Volume,
    spacing_zyx_mm: Triple,
    threshold_hu: float = THRESHOLD_HU,
    opening_mm: float = OPENING_MM,
) -> Mask:
    """Return the voxels of the patient: dense, thick, connected, and filled slice by slice.

    Voxels above the threshold are opened in the axial plane by a square, which takes away couch tops and immobilisation
    masks, thin shells, but for the strip that touches the skin; a patient's parts that are as thin go too. The largest
    component (face neighbours) stays, and its holes (airways, lungs) are filled where a slice encloses them.

    Args:
        ct_hu: CT numbers in HU.
        spacing_zyx_mm: Voxel edge lengths in array order (`grid.spacing_zyx_mm`).
        threshold_hu: Least CT number of tissue.
        opening_mm: Half the square's edge, cut off to whole voxels; 0 leaves the opening out.

    Raises:
        CaseError: If nothing thick enough lies above the threshold.
    """
    dense = ct_hu > threshold_hu
    if not dense.any():
        raise CaseError(
            f"must hold voxels above {threshold_hu:g} HU, or there is no patient in it",
            argument="ct_hu",
            value=f"at most {float(ct_hu.max()):g} HU",
        )
    reach_y, reach_x = (int(opening_mm / s) for s in spacing_zyx_mm[1:])
    box = bounding_box(dense, (0, reach_y, reach_x))
    thick = _opened(dense[box], (1, 2 * reach_y + 1, 2 * reach_x + 1))
    if not thick.any():
        raise CaseError(
            f"must hold tissue thicker than {2 * opening_mm:g} mm above {threshold_hu:g} HU",
            argument="ct_hu",
            value=f"{np.count_nonzero(dense)} thin voxels",
        )
    labels, _ = ndimage.label(thick)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    largest = labels == np.argmax(counts)
    body = np.zeros(dense.shape, bool)
    body[box] = np.stack([ndimage.binary_fill_holes(plane) for plane in largest])
    return body


def _opened(mask: Mask, size: tuple[int, int, int]) -> Mask:
    """Return the mask opened by a box; outside the array counts as inside, so that cut-off patients keep their edge."""
    eroded = ndimage.minimum_filter(mask.view(np.uint8), size, mode="constant", cval=1)
    return ndimage.maximum_filter(eroded, size, mode="constant", cval=0).view(bool) & mask
