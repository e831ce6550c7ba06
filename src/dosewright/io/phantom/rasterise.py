"""Putting a sampled anatomy on a grid: masks by voxel centres, CT with partial volumes and noise."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dosewright.core import Beam, Grid, InputError, PatientCase
from dosewright.core.types import Mask, Shape, Triple, Volume
from dosewright.io.phantom.anatomy import Anatomy
from dosewright.io.phantom.shapes import AbstractShape

OUTSIDE_HU = -1000.0
EXTENT_MIN_MM = 240.0  # less would cut targets off
SPACING_MAX_MM = 12.0  # more would lose the spinal cord


def phantom_grid(shape_zyx: Shape, spacing_xyz_mm: Triple) -> Grid:
    """Return the grid centred on (0, 0, 0) mm.

    Raises:
        InputError: If the grid is smaller than 240 mm along an axis, or a spacing is above 12 mm.
    """
    grid = Grid(shape_zyx, spacing_xyz_mm)
    if max(grid.spacing_xyz_mm) > SPACING_MAX_MM:
        raise InputError(f"must be at most {SPACING_MAX_MM:g} mm", argument="spacing_xyz_mm", value=grid.spacing_xyz_mm)
    extent = tuple(n * d for n, d in zip(grid.shape_zyx, grid.spacing_zyx_mm))
    if min(extent) < EXTENT_MIN_MM:
        raise InputError(
            f"must span at least {EXTENT_MIN_MM:g} mm along each axis at spacing {grid.spacing_xyz_mm}",
            argument="shape_zyx",
            value=grid.shape_zyx,
        )
    x, y, z = grid.center_xyz_mm
    return Grid(grid.shape_zyx, grid.spacing_xyz_mm, (-x, -y, -z))


def rasterise(anatomy: Anatomy, grid: Grid, case_id: str, rng: np.random.Generator) -> PatientCase:
    """Return the case without dose; organs with no voxel on the grid are left out.

    Args:
        anatomy: What to draw.
        grid: Where; see `phantom_grid`.
        case_id: Identifier of the case.
        rng: Draws the noise of single voxels, nothing else.

    Raises:
        CaseError: If a target has no voxel on the grid.
    """
    canvas = Canvas.over(anatomy, grid)
    body = canvas.mask(anatomy.body)
    structures: dict[str, Mask] = {}
    taken = ~body
    for target in anatomy.targets:
        structures[target.name] = canvas.mask(target.shape) & ~taken
        taken |= structures[target.name]
    for name, shape in anatomy.organs:
        mask = canvas.mask(shape) & body
        if mask.any():
            structures[name] = mask
    return PatientCase(
        case_id=case_id,
        grid=grid,
        ct_hu=_ct_hu(anatomy, canvas, rng),
        body=body,
        structures=structures,
        prescription_gy={t.name: t.prescription_gy for t in anatomy.targets},
        beams=tuple(Beam(angle) for angle in anatomy.gantry_angles_deg),
        isocenter_xyz_mm=_centroid_xyz_mm(taken & body, grid),
        site=anatomy.site,
        fractions=anatomy.fractions,
    )


@dataclass(frozen=True)
class Canvas:
    """Voxel centres of a grid in an anatomy's reference frame, and how far shapes stick out of their boxes there."""

    x: Float[np.ndarray, "z y x"]
    y: Float[np.ndarray, "z y x"]
    z: Float[np.ndarray, "z y x"]
    flat_mm: tuple[Float[np.ndarray, " x"], Float[np.ndarray, " y"], Float[np.ndarray, " z"]]
    reach_mm: float
    blur_mm: float

    @classmethod
    def over(cls, anatomy: Anatomy, grid: Grid) -> "Canvas":
        """Return the canvas of a grid: p_reference = p / scale + centre + displacement(p / scale)."""
        warp = anatomy.warp
        places = zip("xyz", warp.scale_xyz, anatomy.center_xyz_mm)
        flat_x, flat_y, flat_z = ((grid.axis_mm(a) / s + c).astype(np.float32) for a, s, c in places)
        x, y, z = flat_x[None, None, :], flat_y[None, :, None], flat_z[:, None, None]
        shifts = [np.float32(warp.amplitude_mm) * wave.values(x, y, z) for wave in warp.waves_xyz]
        blur = float(np.mean(grid.spacing_xyz_mm))
        return cls(x + shifts[0], y + shifts[1], z + shifts[2], (flat_x, flat_y, flat_z), warp.reach_mm + blur, blur)

    def box(self, shape: AbstractShape) -> tuple[slice, slice, slice]:
        """Return the index box that surely holds a shape and its blurred edge."""
        pieces = []
        for axis, low, high in zip(self.flat_mm, *shape.bounds):
            first, last = np.searchsorted(axis, [low - self.reach_mm, high + self.reach_mm])
            pieces.append(slice(int(first), int(last)))
        return (pieces[2], pieces[1], pieces[0])

    def level_mm(self, shape: AbstractShape, box: tuple[slice, slice, slice]) -> Float[np.ndarray, "z y x"]:
        """Return a shape's level at the voxel centres of a box."""
        return shape.level_mm(self.x[box], self.y[box], self.z[box])

    def mask(self, shape: AbstractShape) -> Mask:
        """Return the voxels whose centre is in a shape."""
        mask = np.zeros(self.x.shape, bool)
        box = self.box(shape)
        if mask[box].size:
            mask[box] = self.level_mm(shape, box) <= 0
        return mask


def _ct_hu(anatomy: Anatomy, canvas: Canvas, rng: np.random.Generator) -> Volume:
    """Paint tissues in order, each blended over about a voxel at its edge, then add texture and noise."""
    hu = np.full(canvas.x.shape, OUTSIDE_HU, np.float32)
    texture = np.zeros_like(hu)
    for tissue in anatomy.tissues:
        box = canvas.box(tissue.shape)
        if not hu[box].size:
            continue
        share = np.clip(0.5 - canvas.level_mm(tissue.shape, box) / canvas.blur_mm, 0, 1).astype(np.float32)
        hu[box] += share * (np.float32(tissue.hu) - hu[box])
        texture[box] += share * (np.float32(tissue.texture_hu) - texture[box])
    x, y, z = canvas.flat_mm
    hu += texture * anatomy.texture.values(x[None, None, :], y[None, :, None], z[:, None, None])
    hu += np.float32(anatomy.noise_hu) * rng.standard_normal(hu.shape, np.float32)
    return np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)


def _centroid_xyz_mm(mask: Mask, grid: Grid) -> Triple:
    index = np.argwhere(mask).mean(0) if mask.any() else np.zeros(3)
    x, y, z = grid.position_xyz_mm(index).tolist()
    return (x, y, z)
