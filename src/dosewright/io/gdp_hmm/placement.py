"""Where a GDP-HMM volume lies: its grid and isocentre, and what is assumed where the file does not say."""

import numpy as np

from dosewright.core import CaseError, Grid
from dosewright.core.types import Triple
from dosewright.io.gdp_hmm.content import PlanContent

SPACING_XYZ_MM: Triple = (2.5, 2.5, 2.0)  # of every published file
_AXES = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_TOLERANCE = 1e-3


def grid_of(content: PlanContent) -> Grid:
    """Return the grid; what it assumes is noted in the content.

    Without `spacing` the published one counts, without `origin` the first voxel lies at (0, 0, 0), without `direction`
    the axes are the patient's.

    Raises:
        CaseError: If the axes are not those of the patient, or a length is not positive.
    """
    given = content.geometry
    missing = [key for key in ("origin", "spacing", "direction") if key not in given]
    if missing:
        told = f"origin (0, 0, 0), spacing {SPACING_XYZ_MM} mm (x, y, z) and axes of the patient"
        content.notes.append(f"no {', '.join(missing)}: of {told}, those are assumed")
    direction = given.get("direction", _AXES)
    if max(abs(a - b) for a, b in zip(direction, _AXES, strict=True)) > _TOLERANCE:
        rule = "must be the patient's axes (head first, supine), as nothing else tells left from right here"
        raise CaseError(rule, argument="direction", value=direction)
    shape = content.ct_hu.shape
    size = given.get("size", shape)
    if tuple(size) not in (tuple(shape), tuple(shape[::-1])):
        content.notes.append(f"size is {tuple(map(int, size))}, the volumes {shape}: origin may be another crop's")
    dx, dy, dz = given.get("spacing", SPACING_XYZ_MM)
    if max(abs(a - b) for a, b in zip((dx, dy, dz), SPACING_XYZ_MM, strict=True)) > _TOLERANCE:
        content.notes.append(f"spacing is {(dx, dy, dz)} mm (x, y, z), the challenge's is {SPACING_XYZ_MM}")
    left, back, up = given.get("origin", (0.0, 0.0, 0.0))
    nz, ny, nx = shape
    return Grid((nz, ny, nx), (dx, dy, dz), (left, back, up))


def isocenter_of_file(content: PlanContent, grid: Grid) -> Triple | None:
    """Return the isocentre in LPS mm; None, for the targets' centroid, where the file has none inside its volume."""
    index = content.isocenter_zyx
    if index is None:
        content.notes.append("no isocenter: the centroid of the targets is taken")
        return None
    if not all(-0.5 <= i < n - 0.5 for i, n in zip(index, grid.shape_zyx, strict=True)):
        content.notes.append(f"isocenter {index} lies outside the volume: the centroid of the targets is taken")
        return None
    x, y, z = grid.position_xyz_mm(np.array(index))
    return (float(x), float(y), float(z))
