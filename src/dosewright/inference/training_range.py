"""Cases unlike those that the weights which ship saw in training: a net does not know that voxel sizes differ."""

from dosewright.core import Grid
from dosewright.inference.weights import Model, shipped

#: The 169 training patients of OpenKBP at hand: smallest and largest voxel sizes in mm along x and y, and along z.
IN_PLANE_MM, ALONG_Z_MM = (2.73, 5.08), (1.5, 3.3)


def unlike_training(model: Model, grid: Grid) -> str:
    """Return what of a case's grid no training case of the weights that ship had; "" if nothing, or for other weights.

    Args:
        model: The net.
        grid: Of the case.
    """
    if not shipped(model.path):
        return ""
    spacing = grid.spacing_xyz_mm
    ranges = (IN_PLANE_MM, IN_PLANE_MM, ALONG_Z_MM)
    if all(low - 0.01 <= mm <= high + 0.01 for mm, (low, high) in zip(spacing, ranges, strict=True)):
        return ""
    seen = f"{IN_PLANE_MM[0]:g} to {IN_PLANE_MM[1]:g} mm in plane and {ALONG_Z_MM[0]:g} to {ALONG_Z_MM[1]:g} mm along z"
    return (
        f"voxels of {spacing} mm (x, y, z); {model.path.stem} was trained on {seen}, and its doses are not to be "
        "trusted on others; bring the case to such voxels first (data=dicom: data.spacing_xyz_mm=[3.9,3.9,2.5])"
    )
