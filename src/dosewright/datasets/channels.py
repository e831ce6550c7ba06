"""What a net sees of a case: groups of channels, each a small class chosen in `conf/channels`.

Every group returns float16 volumes on the case's grid, scaled to about [-1, 1]; a structure the case lacks is an empty
channel, so the number of channels depends on the configuration alone.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from jaxtyping import Float16

from dosewright.core import InputError, PatientCase, mirrored
from dosewright.geometry.distance import signed_distance_mm

Channels = Float16[np.ndarray, "c z y x"]


class AbstractChannels(ABC):
    """A group of channels."""

    #: Value of each channel outside the volume, where crops are padded.
    fill: float = 0.0
    #: Whether the definition refers to the whole image, so that a crop may not be made before.
    whole_grid: bool = False

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """One name per channel; `kind:Structure` where a structure is meant, so that flips can swap sides."""

    @abstractmethod
    def compute(self, case: PatientCase) -> Channels:
        """Return the channels of a case."""


@final
class CT(AbstractChannels):
    """CT numbers, clipped to a window and scaled to [-1, 1].

    Args:
        window_hu: Lowest and highest HU kept.

    Raises:
        InputError: If the window is empty.
    """

    fill = -1.0

    def __init__(self, window_hu: Sequence[float] = (-1000.0, 1500.0)) -> None:
        if not window_hu[0] < window_hu[1]:
            raise InputError("must grow", argument="window_hu", value=tuple(window_hu))
        self.window_hu = (float(window_hu[0]), float(window_hu[1]))

    @property
    def names(self) -> tuple[str, ...]:
        """One channel."""
        return ("ct",)

    def compute(self, case: PatientCase) -> Channels:
        """Return the scaled CT."""
        low, high = self.window_hu
        scaled = (np.clip(case.ct_hu, low, high) - low) * np.float32(2.0 / (high - low)) - 1.0
        return scaled.astype(np.float16)[None]


@final
class Regions(AbstractChannels):
    """The body and the voxels where dose is allowed, as 0 and 1."""

    @property
    def names(self) -> tuple[str, ...]:
        """Two channels."""
        return ("body", "dose_mask")

    def compute(self, case: PatientCase) -> Channels:
        """Return body and dose mask."""
        return np.stack([case.body, case.scored_mask]).astype(np.float16)


@final
class PrescriptionMap(AbstractChannels):
    """Prescribed dose inside the targets, divided by `scale_gy`; the highest where targets overlap, 0 elsewhere.

    Raises:
        InputError: If the scale is not positive.
    """

    def __init__(self, scale_gy: float = 70.0) -> None:
        self.scale_gy = _positive("scale_gy", scale_gy)

    @property
    def names(self) -> tuple[str, ...]:
        """One channel."""
        return ("prescription",)

    def compute(self, case: PatientCase) -> Channels:
        """Return the prescription map."""
        volume = np.zeros(case.grid.shape_zyx, np.float16)
        for name in reversed(case.targets):
            volume[case.structures[name]] = case.prescription_gy[name] / self.scale_gy
        return volume[None]


@final
class Masks(AbstractChannels):
    """One binary channel per structure of a list."""

    def __init__(self, structures: Sequence[str]) -> None:
        self.structures = tuple(structures)

    @property
    def names(self) -> tuple[str, ...]:
        """One channel per structure."""
        return tuple(f"mask:{name}" for name in self.structures)

    def compute(self, case: PatientCase) -> Channels:
        """Return the masks; absent structures are empty."""
        volume = np.zeros((len(self.structures), *case.grid.shape_zyx), np.float16)
        for channel, name in enumerate(self.structures):
            if name in case.structures:
                volume[channel] = case.structures[name]
        return volume


@final
class Distances(AbstractChannels):
    """Signed distance to each structure of a list, negative inside, as tanh(distance / scale); absent ones read 1.

    Args:
        structures: Structure names.
        scale_mm: Distance at which the map saturates.

    Raises:
        InputError: If the scale is not positive.
    """

    fill = 1.0

    def __init__(self, structures: Sequence[str], scale_mm: float = 30.0) -> None:
        self.structures, self.scale_mm = tuple(structures), _positive("scale_mm", scale_mm)

    @property
    def names(self) -> tuple[str, ...]:
        """One channel per structure."""
        return tuple(f"distance:{name}" for name in self.structures)

    def compute(self, case: PatientCase) -> Channels:
        """Return the distance maps."""
        volume = np.ones((len(self.structures), *case.grid.shape_zyx), np.float16)
        for channel, name in enumerate(self.structures):
            if name in case.structures:
                distance_mm = signed_distance_mm(case.structures[name], case.grid.spacing_zyx_mm)
                volume[channel] = np.tanh(distance_mm / self.scale_mm)
        return volume


@final
class BeamPlates(AbstractChannels):
    """Beam geometry summed over a case's beams; zero for a case without beams.

    Args:
        kind: "rays" for the ray geometry in mm, attenuated in the patient; "gdphmm" for the challenge's beam plate;
            "angle" for its angle plate.
        structures: For "rays", one plate per target of the list (absent targets read zero); the others know one plate.

    Raises:
        InputError: If the kind is unknown.
    """

    def __init__(
        self,
        kind: Literal["rays", "gdphmm", "angle"] = "rays",
        structures: Sequence[str] = ("PTV_High", "PTV_Mid", "PTV_Low"),
    ) -> None:
        if kind not in ("rays", "gdphmm", "angle"):
            raise InputError('must be "rays", "gdphmm" or "angle"', argument="kind", value=kind)
        self.whole_grid = kind != "rays"
        self.kind, self.structures = kind, tuple(structures) if kind == "rays" else ()

    @property
    def names(self) -> tuple[str, ...]:
        """One channel per target for "rays", else one."""
        return tuple(f"rays:{name}" for name in self.structures) or (f"{self.kind}_plate",)

    def compute(self, case: PatientCase) -> Channels:
        """Return the plates."""
        from dosewright.datasets.plates import plate_of, ray_plates_of

        if self.kind == "rays":
            return ray_plates_of(case, self.structures)
        return plate_of(case, self.kind)[None]


@final
class ChannelSet:
    """The channels of a net's image, and the structures its losses and metrics see.

    Args:
        groups: Channel groups, in order.
        structures: Structures of the batch, in order; flips swap `_L` and `_R`.

    Raises:
        InputError: If a channel name repeats, or a sided structure lacks its partner.
    """

    def __init__(self, groups: Sequence[AbstractChannels], structures: Sequence[str]) -> None:
        self.groups, self.structures = tuple(groups), tuple(structures)
        self.names = tuple(name for group in self.groups for name in group.names)
        for argument, names in (("groups", self.names), ("structures", self.structures)):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise InputError("must not repeat a name", argument=argument, value=repeated)
            alone = [name for name in names if mirrored(name) not in names]
            if alone:
                raise InputError("must hold both sides of a paired structure", argument=argument, value=alone)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fill(self) -> tuple[float, ...]:
        """Padding value of each channel."""
        return tuple(group.fill for group in self.groups for _ in group.names)

    @property
    def mirror(self) -> tuple[int, ...]:
        """For each channel of a left-right flipped patient, the channel it comes from."""
        return tuple(self.names.index(mirrored(name)) for name in self.names)

    @property
    def structure_mirror(self) -> tuple[int, ...]:
        """For each structure of a left-right flipped patient, the structure it comes from."""
        return tuple(self.structures.index(mirrored(name)) for name in self.structures)

    def compute(self, case: PatientCase) -> Channels:
        """Return all channels of a case."""
        return np.concatenate([group.compute(case) for group in self.groups])


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise InputError("must be positive and finite", argument=name, value=value)
    return float(value)
