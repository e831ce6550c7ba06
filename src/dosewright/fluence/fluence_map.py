"""Fluence of one beam as a map: rows along v (across the leaves), columns along u (the way the leaves move)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from dosewright.core import InputError
from dosewright.fluence.beamlets import Beamlets

_OFF_LATTICE = 1e-3  # of a beamlet's edge


@dataclass(frozen=True, eq=False)
class FluenceMap:
    """Fluence of the beamlets of one beam on their lattice, zero where there is no beamlet.

    Args:
        beam: Index of the beam.
        u_mm: Centres of the columns, ascending by `size_mm`, in the plane of the isocentre.
        v_mm: Centres of the rows, ascending by `size_mm`.
        size_mm: Edge of a beamlet.
        place: Index of each beamlet in the plan's vector; -1 where there is none.
        values: Fluence, not negative.
    """

    beam: int
    u_mm: Float[np.ndarray, " columns"]
    v_mm: Float[np.ndarray, " rows"]
    size_mm: float
    place: Int[np.ndarray, "rows columns"]
    values: Float[np.ndarray, "rows columns"]

    @property
    def inside(self) -> Bool[np.ndarray, "rows columns"]:
        """Where there is a beamlet."""
        return self.place >= 0

    @property
    def u_edges_mm(self) -> Float[np.ndarray, " edges"]:
        """Edges of the columns, one more than there are columns."""
        return np.append(self.u_mm - self.size_mm / 2, self.u_mm[-1] + self.size_mm / 2)

    @property
    def v_edges_mm(self) -> Float[np.ndarray, " edges"]:
        """Edges of the rows, one more than there are rows."""
        return np.append(self.v_mm - self.size_mm / 2, self.v_mm[-1] + self.size_mm / 2)

    def with_values(self, values: Float[np.ndarray, "rows columns"]) -> "FluenceMap":
        """Return the same lattice with other fluence."""
        return replace(self, values=values)


def fluence_maps(fluence: Float[np.ndarray, " b"], beamlets: Beamlets) -> tuple[FluenceMap, ...]:
    """Return a map for every beam that has beamlets, in the order of the beams.

    Args:
        fluence: Of each beamlet.
        beamlets: Photon beamlets, those of a beam on a square lattice.

    Raises:
        InputError: If the fluence is negative, not finite or of another length, the beamlets are proton spots, or they
            do not lie on a lattice.

    >>> two = Beamlets(np.array([0, 0]), np.array([-5.0, 5.0]), np.array([0.0, 0.0]), 5.0)
    >>> fluence_maps(np.array([1.0, 3.0]), two)[0].values
    array([[1., 0., 3.]])
    """
    if beamlets.energy_mev is not None:
        raise InputError("must be photon beamlets: leaves shape no proton spots", argument="beamlets", value="protons")
    if fluence.shape != beamlets.beam.shape:
        raise InputError(
            f"must have one entry for each of {len(beamlets)} beamlets", argument="fluence", value=fluence.shape
        )
    if not (np.isfinite(fluence).all() and (fluence >= 0).all()):
        raise InputError("must be finite and not negative", argument="fluence", value=fluence)
    return tuple(_map(int(beam), fluence, beamlets) for beam in np.unique(beamlets.beam))


def fluence_vector(maps: Sequence[FluenceMap], count: int) -> Float[np.ndarray, " b"]:
    """Return the fluence of each of `count` beamlets; zero for those of beams without a map."""
    fluence = np.zeros(count)
    for one in maps:
        fluence[one.place[one.inside]] = one.values[one.inside]
    return fluence


def _map(beam: int, fluence: Float[np.ndarray, " b"], beamlets: Beamlets) -> FluenceMap:
    of_beam = np.flatnonzero(beamlets.beam == beam)
    size = float(beamlets.size_mm)
    columns, u_mm = _lattice("u_mm", beamlets.u_mm[of_beam], size)
    rows, v_mm = _lattice("v_mm", beamlets.v_mm[of_beam], size)
    place = np.full((len(v_mm), len(u_mm)), -1)
    place[rows, columns] = of_beam
    if (place >= 0).sum() != len(of_beam):
        raise InputError("must not hold two beamlets at one place", argument="beamlets", value=f"beam {beam}")
    values = np.where(place >= 0, fluence[place], 0.0).astype(np.float64)
    return FluenceMap(beam, u_mm, v_mm, size, place, values)


def _lattice(
    name: str, at_mm: Float[np.ndarray, " m"], size_mm: float
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " lines"]]:
    """Return the index of each position on the lattice from the lowest to the highest of them, and the lattice."""
    steps = (at_mm - at_mm.min()) / size_mm
    index = np.rint(steps).astype(int)
    if np.abs(steps - index).max() > _OFF_LATTICE:
        raise InputError(f"must lie on a lattice of {size_mm} mm", argument=name, value=at_mm)
    return index, at_mm.min() + size_mm * np.arange(index.max() + 1)
