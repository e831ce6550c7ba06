"""Which beams a case is planned with."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

from dosewright.core import Beam, InputError, PatientCase
from dosewright.core.case import Technique

Modality = Literal["photon", "proton"]
Number = float | int  # YAML gives ints


class AbstractBeamSetup(ABC):
    """Chooses the beams of a case; a frozen dataclass of plain values."""

    @abstractmethod
    def beams(self, case: PatientCase) -> tuple[Beam, ...]:
        """Return the beams, in the order of their delivery.

        Args:
            case: The patient; its own beams count for nothing unless the setup says so.

        Raises:
            InputError: If the case does not say what the setup must know.
        """

    @abstractmethod
    def technique(self, case: PatientCase) -> Technique:
        """Return what the beams make of the case: "IMRT", "VMAT" or "proton"."""

    def chosen(self, case: PatientCase) -> "AbstractBeamSetup":
        """Return the setup that a case's beams are of: this one, or the template it picks."""
        return self

    def applied(self, case: PatientCase) -> PatientCase:
        """Return the case with these beams instead of its own.

        The reference dose stays, though it was given by other beams.
        """
        beams, technique = self.beams(case), self.technique(case)
        same = beams == case.beams and technique == case.technique
        return case if same else replace(case, beams=beams, technique=technique)


@final
@dataclass(frozen=True)
class CaseBeams(AbstractBeamSetup):
    """The case's own; where it has none, those that `fluence.compute_influence` takes then."""

    def beams(self, case: PatientCase) -> tuple[Beam, ...]:
        """Return the case's beams; see `AbstractBeamSetup.beams`."""
        return case.beams

    def technique(self, case: PatientCase) -> Technique:
        """Return the case's own technique."""
        return case.technique


@final
@dataclass(frozen=True)
class GivenBeams(AbstractBeamSetup):
    """The same angles for every case.

    Args:
        gantry_angles_deg: In [0, 360), in the order of delivery.
        couch_angles_deg: One for each, one for all, or none for 0.
        modality: "photon" makes IMRT of the case, "proton" proton spots.

    Raises:
        InputError: If there is no angle, an angle is out of range or given twice, or the numbers of angles differ.
    """

    gantry_angles_deg: Sequence[Number]
    couch_angles_deg: Sequence[Number] = ()
    modality: Modality = "photon"

    def __post_init__(self) -> None:
        for name in ("gantry_angles_deg", "couch_angles_deg"):
            object.__setattr__(self, name, tuple(float(angle) for angle in getattr(self, name)))
        if not self.gantry_angles_deg:
            raise InputError("must hold an angle", argument="gantry_angles_deg", value=())
        if len(self.couch_angles_deg) not in (0, 1, len(self.gantry_angles_deg)):
            rule = f"must be none, one, or {len(self.gantry_angles_deg)} as the gantry angles"
            raise InputError(rule, argument="couch_angles_deg", value=self.couch_angles_deg)
        beams = self._made()  # raises for angles out of range
        if len(set(beams)) < len(beams):
            raise InputError("must not hold a beam twice", argument="gantry_angles_deg", value=self.gantry_angles_deg)

    def beams(self, case: PatientCase) -> tuple[Beam, ...]:
        """Return the given beams; see `AbstractBeamSetup.beams`."""
        return self._made()

    def technique(self, case: PatientCase) -> Technique:
        """Return "proton" for protons, "IMRT" for photons."""
        return "proton" if self.modality == "proton" else "IMRT"

    def _made(self) -> tuple[Beam, ...]:
        couch = tuple(self.couch_angles_deg) or (0.0,)
        couches = couch * len(self.gantry_angles_deg) if len(couch) == 1 else couch
        return tuple(Beam(gantry, angle, self.modality) for gantry, angle in zip(self.gantry_angles_deg, couches))


@final
@dataclass(frozen=True)
class EquispacedBeams(AbstractBeamSetup):
    """Beams at equal distances around the patient, couch at 0, as AIRTP's 9 and 15 for head and neck.

    Args:
        count: Number of beams.
        start_deg: Gantry angle of the first, in [0, 360).
        modality: See `GivenBeams`.

    Raises:
        InputError: If the count is not in 1 to 360, or the start out of range.

    >>> EquispacedBeams(4, 10).angles_deg
    (10.0, 100.0, 190.0, 280.0)
    """

    count: int
    start_deg: Number = 0.0
    modality: Modality = "photon"

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 360:
            raise InputError("must be in 1 to 360", argument="count", value=self.count)
        Beam(self.start_deg, modality=self.modality)

    @property
    def angles_deg(self) -> tuple[float, ...]:
        """Gantry angles in degrees."""
        return tuple((float(self.start_deg) + index * 360.0 / self.count) % 360.0 for index in range(self.count))

    def beams(self, case: PatientCase) -> tuple[Beam, ...]:
        """Return the beams; see `AbstractBeamSetup.beams`."""
        return tuple(Beam(angle, modality=self.modality) for angle in self.angles_deg)

    def technique(self, case: PatientCase) -> Technique:
        """Return "proton" for protons, "IMRT" for photons."""
        return "proton" if self.modality == "proton" else "IMRT"
