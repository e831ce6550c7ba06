"""What other objects need to know of a CT series to reference it."""

from dataclasses import dataclass
from itertools import pairwise

from pydicom.uid import CTImageStorage

from dosewright.core import InputError

SAME_PLANE_MM = 0.01


@dataclass(frozen=True)
class ImageSeries:
    """An axial image series.

    Args:
        series_uid: Series instance UID.
        instances: UID of each slice and the z of its centre in LPS mm, ascending in z.
        sop_class: SOP class UID of the slices.

    Raises:
        InputError: If there is no slice, or they do not ascend.
    """

    series_uid: str
    instances: tuple[tuple[str, float], ...]
    sop_class: str = str(CTImageStorage)

    def __post_init__(self) -> None:
        at = [z_mm for _, z_mm in self.instances]
        if not at or any(high <= low for low, high in pairwise(at)):
            raise InputError("must be at least one and ascend in z", argument="instances", value=at)

    def at(self, z_mm: float) -> str | None:
        """Return the UID of the slice at `z_mm`, or None where there is none within 0.01 mm."""
        uid, nearest = min(self.instances, key=lambda one: abs(one[1] - z_mm))
        return uid if abs(nearest - z_mm) <= SAME_PLANE_MM else None
