"""Where the beamlets of a plan stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dosewright.core import InputError


@dataclass(frozen=True, eq=False)
class Beamlets:
    """Beamlets of several beams, beam by beam.

    Args:
        beam: Index of each one's beam, ascending.
        u_mm: Centre along the collimator's X in the plane of the isocentre, in `geometry.beam_frame`'s axes.
        v_mm: The same along Y.
        size_mm: Edge of a beamlet there; for protons the distance of neighbouring spots.
        energy_mev: Of proton spots; None for photons.

    Raises:
        InputError: If the arrays differ in length, beams do not ascend, a position is not finite or the size not
            positive.
    """

    beam: Int[np.ndarray, " b"]
    u_mm: Float[np.ndarray, " _"]
    v_mm: Float[np.ndarray, " _"]
    size_mm: float
    energy_mev: Float[np.ndarray, " _"] | None = None

    def __post_init__(self) -> None:
        for name, array in self._arrays().items():
            if array.shape != self.beam.shape:
                raise InputError("must have one entry a beamlet", argument=name, value=array.shape)
            if not np.isfinite(array).all():
                raise InputError("must be finite", argument=name, value=array)
        if len(self.beam) and (self.beam[0] < 0 or (np.diff(self.beam) < 0).any()):
            raise InputError("must ascend from 0 on", argument="beam", value=self.beam)
        if not (np.isfinite(self.size_mm) and self.size_mm > 0):
            raise InputError("must be a positive length in mm", argument="size_mm", value=self.size_mm)

    def __len__(self) -> int:
        return len(self.beam)

    def of_beams(self, beams: Sequence[int]) -> "Beamlets":
        """Return the beamlets of some beams, in that order and with indices into `beams`."""
        places = [np.flatnonzero(self.beam == beam) for beam in beams]
        new = np.repeat(np.arange(len(places)), [len(place) for place in places])
        kept = np.concatenate(places) if places else np.zeros(0, int)
        energy = None if self.energy_mev is None else self.energy_mev[kept]
        return Beamlets(new, self.u_mm[kept], self.v_mm[kept], self.size_mm, energy)

    def _arrays(self) -> Mapping[str, np.ndarray]:
        arrays = {"beam": self.beam, "u_mm": self.u_mm, "v_mm": self.v_mm}
        return arrays if self.energy_mev is None else arrays | {"energy_mev": self.energy_mev}
