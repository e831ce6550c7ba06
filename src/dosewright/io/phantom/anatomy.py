"""What a phantom is before any grid: shapes with tissues, organs, targets and beams, all lengths in mm.

Sampling an anatomy draws every random number but the noise of single voxels; `rasterise` then applies it to a grid.
"""

from dataclasses import dataclass

import numpy as np

from dosewright.io.phantom.shapes import AbstractShape, Field, Number, Point


@dataclass(frozen=True)
class Tissue:
    """A shape painted into the CT over what was there.

    Args:
        shape: Where.
        hu: Mean CT number in HU.
        texture_hu: Standard deviation of the smooth texture in HU.
    """

    shape: AbstractShape
    hu: Number
    texture_hu: Number = 8.0


@dataclass(frozen=True)
class Target:
    """A target volume and its prescription (total Gy)."""

    name: str
    shape: AbstractShape
    prescription_gy: Number


@dataclass(frozen=True)
class Waves:
    """A smooth random scalar field of about unit variance, the normalised sum of plane cosine waves.

    Args:
        vectors_xyz_per_mm: Wave vectors, 2π over the wavelength.
        phases: In rad, one per wave.
    """

    vectors_xyz_per_mm: tuple[Point, ...]
    phases: tuple[Number, ...]

    def values(self, x: Field, y: Field, z: Field) -> Field:
        """Return the field at points (LPS mm)."""
        total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), np.float32)
        for (a, b, c), phase in zip(self.vectors_xyz_per_mm, self.phases):
            # cos(p + q) = cos p cos q - sin p sin q spares a cosine per voxel
            plane, line = (a * x + b * y).astype(np.float32), (c * z + phase).astype(np.float32)
            total += np.cos(plane) * np.cos(line) - np.sin(plane) * np.sin(line)
        return total * np.float32(np.sqrt(2 / len(self.phases)))


@dataclass(frozen=True)
class Warp:
    """A smooth map from the patient to the reference frame in which shapes are drawn.

    Args:
        scale_xyz: Stature; the patient is this much larger than the reference.
        amplitude_mm: Standard deviation of the displacement.
        waves_xyz: Displacement fields along x, y, z.
    """

    scale_xyz: Point
    amplitude_mm: Number
    waves_xyz: tuple[Waves, Waves, Waves]

    @property
    def reach_mm(self) -> float:
        """Largest displacement possible."""
        return self.amplitude_mm * max(float(np.sqrt(2 * len(w.phases))) for w in self.waves_xyz)


@dataclass(frozen=True)
class Anatomy:
    """One sampled patient.

    Args:
        site: "HeadNeck" or "Lung".
        center_xyz_mm: Point of the reference frame at the middle of the grid.
        body: Patient outline.
        tissues: Painted in this order, later over earlier.
        organs: TG-263 name and shape of each organ at risk.
        targets: By falling prescription; where they overlap the earlier one wins.
        warp: Patient frame to reference frame.
        texture: Smooth CT texture.
        noise_hu: Standard deviation of the noise of single voxels.
        gantry_angles_deg: Of the beams.
        fractions: Number of fractions.
    """

    site: str
    center_xyz_mm: Point
    body: AbstractShape
    tissues: tuple[Tissue, ...]
    organs: tuple[tuple[str, AbstractShape], ...]
    targets: tuple[Target, ...]
    warp: Warp
    texture: Waves
    noise_hu: Number
    gantry_angles_deg: tuple[Number, ...]
    fractions: int
