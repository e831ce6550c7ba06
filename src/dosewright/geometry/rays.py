"""Ray geometry in millimetres: beam's-eye view, open beams, and a primary fluence plate as a physical prior.

Conventions: volumes (z, y, x) on an LPS grid; beams and their axes u, v as in `beam_frame`. A voxel is represented by
its centre, except where the target casts its silhouette: there the whole voxel does.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from dosewright.core import Beam, Grid
from dosewright.core.errors import GridMismatchError, InputError
from dosewright.core.types import FloatVolume, Mask, Triple, Volume
from dosewright.geometry.beam_frame import SAD_MM, BeamFrame, beam_frame
from dosewright.geometry.isocenter import isocenter_voxel
from dosewright.geometry.radiological_depth import radiological_depth_mm, relative_electron_density
from dosewright.geometry.silhouette import FloatField, Silhouette, cast_silhouette
from dosewright.geometry.surface import bounding_box, surface_voxels

# Attenuation of a 6 MV beam's primary photons in water; pyRadPlan's generic machine has 0.0051 per mm.
MU_6MV_PER_MM = 0.0051


def beam_eye_view(
    grid: Grid, isocenter_xyz_mm: Triple, beam: Beam, sad_mm: float = SAD_MM
) -> tuple[FloatVolume, FloatVolume, FloatVolume]:
    """Return (u_mm, v_mm, depth_mm) of every voxel centre as the source sees it.

    u and v are the perspective projection onto the plane through the isocentre across the beam; depth is the distance
    from the source along the central axis, `sad_mm` at the isocentre.

    Raises:
        InputError: If the isocentre is not finite, the source distance is not positive, or a voxel lies at or behind
            the source.

    >>> u, v, depth = beam_eye_view(Grid((1, 1, 3), (10.0, 10.0, 10.0)), (0.0, 0.0, 0.0), Beam(0.0))
    >>> u.ravel().tolist(), v.ravel().tolist(), depth.ravel().tolist()
    ([0.0, 10.0, 20.0], [0.0, 0.0, 0.0], [1000.0, 1000.0, 1000.0])
    """
    u, v, depth = np.broadcast_arrays(*_project(grid, beam_frame(isocenter_xyz_mm, beam, sad_mm)))
    return u.copy(), v.copy(), depth.copy()


def primary_fluence_plate(
    target: Mask,
    grid: Grid,
    isocenter_xyz_mm: Triple,
    beams: Sequence[Beam],
    *,
    body: Mask | None = None,
    ct_hu: Volume | None = None,
    margin_mm: float = 0.0,
    mu_per_mm: float = MU_6MV_PER_MM,
    sad_mm: float = SAD_MM,
) -> FloatVolume:
    """Return the primary fluence of open beams shaped to the target, summed over beams; 1 is one beam at the isocentre.

    A voxel is in a beam if its projection falls within the target's silhouette, widened by a margin. There it receives
    (SAD / r)², r its distance from the source, times exp(-mu d) if a CT is given, d its radiological depth.

    Args:
        target: Voxels of the target, usually the union of all PTVs.
        grid: Grid of all volumes.
        isocenter_xyz_mm: LPS mm.
        beams: Beams; couch angles count.
        body: Voxels of the patient; the plate is 0 elsewhere, and nothing attenuates there.
        ct_hu: CT numbers in HU; None leaves attenuation out.
        margin_mm: Widens the silhouette, measured at the isocentre plane; not negative.
        mu_per_mm: Attenuation coefficient of water, per mm; not negative.
        sad_mm: Source to isocentre.

    Raises:
        GridMismatchError: If a volume has another shape than the grid.
        InputError: If the target or the body is empty, there is no beam, the isocentre lies outside the grid, or a
            number is out of its range.
    """
    plates = primary_fluence_plates(
        {"target": target},
        grid,
        isocenter_xyz_mm,
        beams,
        body=body,
        ct_hu=ct_hu,
        margin_mm=margin_mm,
        mu_per_mm=mu_per_mm,
        sad_mm=sad_mm,
    )
    return plates["target"]


def primary_fluence_plates(
    targets: Mapping[str, Mask],
    grid: Grid,
    isocenter_xyz_mm: Triple,
    beams: Sequence[Beam],
    *,
    body: Mask | None = None,
    ct_hu: Volume | None = None,
    margin_mm: float = 0.0,
    mu_per_mm: float = MU_6MV_PER_MM,
    sad_mm: float = SAD_MM,
) -> dict[str, FloatVolume]:
    """Return `primary_fluence_plate` of several targets by name; they share each beam's rays and radiological depths.

    The depths are sampled once for all targets, so with a CT the plates differ from those computed one by one by
    interpolation.

    Raises:
        GridMismatchError: If a volume has another shape than the grid.
        InputError: As `primary_fluence_plate`, or if there is no target.
    """
    if not targets:
        raise InputError("must hold at least one target", argument="targets", value=tuple(targets))
    _require_shapes(grid, targets)
    _require_shapes(grid, {"body": body, "ct_hu": ct_hu})
    _require_numbers(margin_mm=margin_mm, mu_per_mm=mu_per_mm)
    if len(beams) == 0:
        raise InputError("must hold at least one beam", argument="beams", value=list(beams))
    isocenter_voxel(grid, isocenter_xyz_mm)
    box = (slice(None),) * 3 if body is None else bounding_box(body)
    part = grid.crop(box)
    density = None
    inside = None if body is None else body[box]
    if ct_hu is not None:
        density = relative_electron_density(ct_hu[box])
        density *= 1 if inside is None else inside
    plates = {name: np.zeros(grid.shape_zyx, np.float32) for name in targets}
    parts = [plate[box] for plate in plates.values()]
    surfaces = [grid.position_xyz_mm(surface_voxels(target).astype(float)) for target in targets.values()]
    for beam in beams:
        frame = beam_frame(isocenter_xyz_mm, beam, sad_mm)
        silhouettes = [cast_silhouette(centers, grid.spacing_xyz_mm, frame, margin_mm) for centers in surfaces]
        _add_beam(parts, part, frame, silhouettes, inside, density, mu_per_mm)
    return plates


def _add_beam(
    plates: Sequence[FloatVolume],
    grid: Grid,
    frame: BeamFrame,
    silhouettes: Sequence[Silhouette],
    body: Mask | None,
    density: FloatVolume | None,
    mu_per_mm: float,
) -> None:
    fields = _project(grid, frame)
    shadows = [silhouette.covers(fields[0], fields[1]) for silhouette in silhouettes]
    lit = shadows[0] if len(shadows) == 1 else np.logical_or.reduce(shadows)
    if body is not None:
        lit &= body
    where = np.nonzero(lit)
    u, v, depth = (np.broadcast_to(field, grid.shape_zyx)[where] for field in fields)
    # r² = depth² (1 + (u² + v²) / SAD²), by similar triangles
    distance_2 = depth * depth * (1 + (u * u + v * v) * np.float32(frame.sad_mm**-2))
    fluence = np.float32(frame.sad_mm**2) / distance_2
    if density is not None:
        fluence *= np.exp(-mu_per_mm * radiological_depth_mm(density, grid, frame, (u, v, depth)))
    for plate, shadow in zip(plates, shadows):
        plate[where] += fluence * shadow[where]


def _project(grid: Grid, frame: BeamFrame) -> tuple[FloatField, FloatField, FloatField]:
    """Return u, v, depth in mm, broadcastable to the grid: without couch rotation u and depth do not change with z."""
    offsets = [grid.axis_mm(a) - c for a, c in zip("xyz", frame.isocenter_xyz_mm)]

    def along(direction: Float[np.ndarray, " 3"], start: float = 0.0) -> FloatField:
        x, y, z = (o * d for o, d in zip(offsets, direction))
        line = (z + start).astype(np.float32)[:, None, None]
        plane = (y[:, None] + x).astype(np.float32)[None]
        if not direction[2]:
            return plane + np.float32(start)
        return line + plane if direction[:2].any() else line

    depth = along(frame.axis_xyz, frame.sad_mm)
    if depth.min() <= 0:
        raise InputError("must exceed the way to the grid's farthest voxel", argument="sad_mm", value=frame.sad_mm)
    scale = np.float32(frame.sad_mm) / depth
    return along(frame.u_xyz) * scale, along(frame.v_xyz) * scale, depth


def _require_shapes(grid: Grid, volumes: Mapping[str, np.ndarray | None]) -> None:
    for name, volume in volumes.items():
        if volume is None:
            continue
        if volume.shape != grid.shape_zyx:
            raise GridMismatchError(f"must have the grid's shape {grid.shape_zyx}", argument=name, value=volume.shape)
        if volume.dtype == bool and not volume.any():
            raise InputError("must not be empty", argument=name, value="0 voxels")


def _require_numbers(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number >= 0):
            raise InputError("must be finite and not negative", argument=name, value=number)
