"""What turns a beam's fluence map into apertures."""

from abc import ABC, abstractmethod

from dosewright.fluence.apertures import Aperture
from dosewright.fluence.fluence_map import FluenceMap
from dosewright.fluence.mlc import Mlc


class AbstractSequencer(ABC):
    """A way to deliver a fluence map with a multileaf collimator, `mlc`."""

    mlc: Mlc

    @abstractmethod
    def apertures(self, beam: FluenceMap, mu_per_fluence: float) -> tuple[Aperture, ...]:
        """Return the apertures of one beam, in the order of their delivery; none where the fluence is zero.

        Args:
            beam: The fluence, in the unit of the dose influence.
            mu_per_fluence: Monitor units of one fraction per unit of fluence.

        Raises:
            InputError: If the beam is out of the leaves' reach.
        """
