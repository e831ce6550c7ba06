"""Columns of the dose influence of photon beamlets: pyRadPlan's SVD pencil beam, a beam at a time.

Dose of a beamlet = Σ_c K_c(position across its axis) A_c(depth) (SAD / distance)² over three components of the kernel
(Bortfeld, Schlegel & Rhein 1993). pyRadPlan evaluates all of it per beamlet; here what depends on the voxel only is
evaluated once a beam, and voxels out of reach are left out early. Equal to pyRadPlan's to single precision.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Column = tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]


@dataclass(frozen=True, eq=False)
class _Kernel:
    """Components of the kernel across the beam's axis, on a square grid at the isocentre.

    Args:
        values: Rows × columns of the grid, then the components, padded to four for aligned reads.
        first_mm: Position of the first row and column.
        step_mm: Their distance.
    """

    values: Float[np.ndarray, "h w 4"]
    first_mm: float
    step_mm: float

    def dose(
        self, u_mm: Float[np.ndarray, " m"], v_mm: Float[np.ndarray, " m"], depth: Float[np.ndarray, "m 4"]
    ) -> Float[np.ndarray, " m"]:
        """Return Σ_c K_c(u, v) depth_c, K bilinear."""
        width = self.values.shape[1]
        flat = self.values.reshape(-1, 4)
        i, j = (u_mm - self.first_mm) / self.step_mm, (v_mm - self.first_mm) / self.step_mm
        i0, j0 = i.astype(np.int32), j.astype(np.int32)
        fi, fj = i - i0, j - j0
        corner = i0 * width + j0
        total = np.zeros_like(u_mm)
        for step, weight in (
            (0, (1 - fi) * (1 - fj)),
            (1, (1 - fi) * fj),
            (width, fi * (1 - fj)),
            (width + 1, fi * fj),
        ):
            total += weight * np.einsum("mc,mc->m", flat.take(corner + step, axis=0), depth)
        return total


def photon_columns(engine: Any, beam_info: dict[str, Any]) -> Iterator[Column]:
    """Yield rows (ascending) and dose in Gy of each of a beam's beamlets.

    Args:
        engine: pyRadPlan's engine; its voxels are the rows.
        beam_info: What it knows of the beam.
    """
    sad = float(beam_info["beam"]["sad"])
    reach = float(engine._effective_lateral_cutoff) / sad
    known = np.flatnonzero(np.asarray(beam_info["valid_coords_all"]))
    x, y, z = np.ascontiguousarray(beam_info["bev_coords"][known].T, np.float32)  # from the source
    depth = _depth_components(beam_info, known, sad)
    kernel = _kernel(beam_info)
    u, v = x * (sad / y), z * (sad / y)
    rays = np.array([ray["ray_pos_bev"] for ray in beam_info["beam"]["rays"]], float)
    near_v, band = None, known[:0]
    for ray in rays:
        window = _window_mm(ray, sad, reach)
        if near_v != (ray[2], window):
            near_v, band = (ray[2], window), np.flatnonzero(np.abs(v - np.float32(ray[2])) <= window)
        near = band[np.abs(u[band] - np.float32(ray[0])) <= window]
        turn = _turned(ray, sad).astype(np.float32)
        px, py, pz = x[near], y[near], z[near]
        scale = 1 / (px * turn[0, 1] + py * turn[1, 1] + pz * turn[2, 1])
        across = (px * turn[0, 0] + py * turn[1, 0] + pz * turn[2, 0]) * scale
        along = (px * turn[0, 2] + py * turn[1, 2] + pz * turn[2, 2]) * scale
        hit = across * across + along * along <= reach * reach
        rows = near[hit]
        yield known[rows], kernel.dose(across[hit] * sad, along[hit] * sad, depth[rows])


def _depth_components(beam_info: dict[str, Any], known: np.ndarray, sad: float) -> Float[np.ndarray, "m 4"]:
    """Return A_c(depth) (SAD / distance)² of the voxels, padded to four components."""
    kernel = beam_info["kernel"]
    depths = beam_info["rad_depths"][0][known].astype(np.float64)
    far = (sad / beam_info["geo_depths"][0][known].astype(np.float64)) ** 2
    components = np.zeros((len(known), 4), np.float32)
    for c, beta in enumerate(np.asarray(kernel.kernel_betas, float).ravel()):
        attenuated = np.exp(-kernel.m * depths) - np.exp(-beta * depths)
        components[:, c] = beta / (beta - kernel.m) * attenuated * far
    return components


def _kernel(beam_info: dict[str, Any]) -> _Kernel:
    parts = [interpolator.keywords for interpolator in beam_info["kernel_interpolators"]]
    axis = np.asarray(parts[0]["x"][0], float)
    values = np.zeros((len(axis), len(axis), 4), np.float32)
    for c, part in enumerate(parts):
        values[..., c] = part["y"]
    return _Kernel(values, float(axis[0]), float(axis[1] - axis[0]))


def _window_mm(ray: Float[np.ndarray, " 3"], sad: float, reach: float) -> float:
    """Return how far from a ray, in the plane of the isocentre, voxels within its cone can lie."""
    tilt = float(np.hypot(ray[0], ray[2])) / sad
    return sad * ((tilt + reach) / (1 - tilt * reach) - tilt) + 1e-3


def _turned(ray: Float[np.ndarray, " 3"], sad: float) -> Float[np.ndarray, "3 3"]:
    """Return the least rotation R that makes positions `p @ R` from the source have the ray as their y axis."""
    a = np.array([0.0, 1.0, 0.0])
    b = np.array([ray[0], sad, ray[2]])
    b /= np.linalg.norm(b)
    cross = np.cross(a, b)
    if not cross.any():
        return np.eye(3)
    x, y, z = cross
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + skew + skew @ skew / (1 + a @ b)
