"""How a dose influence matrix is calculated."""

import math
from dataclasses import dataclass, fields
from typing import final

from dosewright.core import InputError


@final
@dataclass(frozen=True)
class InfluenceSettings:
    """Resolution, reach and machine of a dose calculation.

    Args:
        beamlet_mm: Edge of a photon beamlet, or distance of proton spots, in the plane of the isocentre.
        dose_spacing_mm: Voxel size of the dose grid.
        lateral_cutoff_mm: Photon beamlets give dose up to this far from their axis, at the isocentre. The tails matter:
            30 mm would lose several Gy of a plan.
        machine: Name of pyRadPlan's machine data.
        proton_rbe: Proton doses are multiplied by it, so that they are Gy (RBE) like those clinics prescribe.
        memory_gb: Most that the matrix may take; it changes no result.

    Raises:
        InputError: If a number is not positive and finite.
    """

    beamlet_mm: float | int = 5.0
    dose_spacing_mm: float | int = 5.0
    lateral_cutoff_mm: float | int = 50.0
    machine: str = "Generic"
    proton_rbe: float | int = 1.1
    memory_gb: float | int = 4.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "machine":
                continue
            if not (math.isfinite(value) and value > 0):
                raise InputError("must be positive", argument=field.name, value=value)
            object.__setattr__(self, field.name, float(value))

    @property
    def determinants(self) -> dict[str, float | str]:
        """All that the matrix depends on."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "memory_gb"}
