"""How large a dose influence matrix will be, from the geometry alone: before hours and gigabytes are spent on it."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from dosewright.core import Beam, Grid, InputError, PatientCase
from dosewright.core.types import Mask
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.geometry.beam_frame import BeamFrame, beam_frame
from dosewright.geometry.isocenter import isocenter_of, targets_mask

BYTES_PER_ENTRY = 16  # a float32 and a 32-bit index, by columns and by rows
PROTON_LAYER_MM = 3.0  # of water between neighbouring energies of the machine
PROTON_REACH_MM = 25.0  # from a spot's axis, up to the isocentre: as many voxels as hold 99.5 % of its dose
_SAMPLES = 12  # beamlets of a beam whose voxels are counted
_BODY_VOXELS = 20_000  # counted at most


def estimate_bytes(case: PatientCase, beams: Sequence[Beam], settings: InfluenceSettings) -> int:
    """Return about how many bytes a case's dose influence will take, both orientations; good to a third.

    Beamlets are counted on the target's projection, the voxels of a few of them in the body.
    """
    target, body = _widened(case, settings), case.body
    stride = max(1, int(np.count_nonzero(body)) // _BODY_VOXELS)
    in_target, in_body = _positions(case, target), _positions(case, body)[::stride]
    voxel_mm3 = case.grid.voxel_volume_mm3
    entries = 0.0
    for beam in beams:
        frame, proton = beam_frame(isocenter_of(case), beam), beam.modality == "proton"
        rays = _rays(_projected(frame, in_target), case.grid, settings)
        depth_mm = len(in_target) * voxel_mm3 / (len(rays) * settings.beamlet_mm**2)
        layers = depth_mm / PROTON_LAYER_MM if proton else 1.0
        reach = PROTON_REACH_MM if proton else settings.lateral_cutoff_mm
        hits = _hits(_projected(frame, in_body, beyond=not proton), rays, reach)
        entries += len(rays) * layers * hits * stride * voxel_mm3 / settings.dose_spacing_mm**3
    return int(entries * BYTES_PER_ENTRY)


def check_memory(case: PatientCase, beams: Sequence[Beam], settings: InfluenceSettings) -> None:
    """Refuse settings that need more memory than they allow.

    Raises:
        InputError: With the spacing that would fit.
    """
    need, most = estimate_bytes(case, beams, settings) / 1e9, settings.memory_gb
    if need > most:
        fitting = math.ceil(2 * settings.dose_spacing_mm * (need / most) ** (1 / 3)) / 2
        raise InputError(
            f"must fit in memory_gb={most:g}: the dose influence of {len(beams)} beams with beamlets of "
            f"{settings.beamlet_mm:g} mm would take about {need:.1f} GB; take a dose grid of {fitting:g} mm or more, "
            "larger beamlets, or allow more memory",
            argument="dose_spacing_mm",
            value=settings.dose_spacing_mm,
        )


def _widened(case: PatientCase, settings: InfluenceSettings) -> Mask:
    """Return the targets with the margin that beamlets cover: one beamlet, or voxel, whichever is larger."""
    spacing = np.array(case.grid.spacing_zyx_mm)
    margin = np.ceil(np.maximum(spacing, settings.beamlet_mm) / spacing).astype(int)
    target = targets_mask(case).view(np.uint8)
    return ndimage.maximum_filter(target, tuple(2 * margin + 1), mode="constant").view(bool)


def _positions(case: PatientCase, mask: Mask) -> Float[np.ndarray, "m 3"]:
    return case.grid.position_xyz_mm(np.argwhere(mask).astype(float))


def _projected(
    frame: BeamFrame, positions_xyz_mm: Float[np.ndarray, "m 3"], *, beyond: bool = True
) -> Float[np.ndarray, "l 2"]:
    """Return where positions project on the plane of the isocentre, mm; without those beyond it, if told so."""
    offset = positions_xyz_mm - frame.isocenter_xyz_mm
    far = frame.sad_mm + offset @ frame.axis_xyz
    if not beyond:
        offset, far = offset[far <= frame.sad_mm], far[far <= frame.sad_mm]
    return np.stack([offset @ frame.u_xyz, offset @ frame.v_xyz], axis=1) * (frame.sad_mm / far)[:, None]


def _rays(target_mm: Float[np.ndarray, "m 2"], grid: Grid, settings: InfluenceSettings) -> Float[np.ndarray, "rays 2"]:
    """Return where rays stand: on cells that the target meets, and beside them where cells are finer than voxels."""
    cells = np.unique(np.round(target_mm / settings.beamlet_mm).astype(int), axis=0)
    more = int(max(grid.spacing_xyz_mm) / settings.beamlet_mm)
    shifts = np.stack(np.meshgrid(range(-more, max(more, 1)), range(-more, max(more, 1))), axis=-1).reshape(-1, 2)
    return np.unique((cells[:, None] + shifts).reshape(-1, 2), axis=0) * settings.beamlet_mm


def _hits(body_mm: Float[np.ndarray, "m 2"], rays: Float[np.ndarray, "rays 2"], reach_mm: float) -> float:
    """Return the mean number of positions within reach of a ray."""
    chosen = rays[:: max(1, len(rays) // _SAMPLES)]
    return float(np.mean([np.count_nonzero(((body_mm - ray) ** 2).sum(1) <= reach_mm**2) for ray in chosen]))
