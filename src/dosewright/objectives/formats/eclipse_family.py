"""What the formats for Eclipse share: its names, its unit, and what it trades off."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dosewright.objectives.formats.format import AbstractFormat
from dosewright.objectives.formats.names import NameRule
from dosewright.objectives.formats.normal_tissue import NormalTissue, check_required_priority


@dataclass(frozen=True)
class AbstractEclipseFormat(AbstractFormat):
    """A format that Eclipse reads.

    Args:
        required_priority: Of required objectives, in [0, 1000]: Eclipse trades everything off.
        normal_tissue: The normal tissue objective, or its arguments; None as the format says.

    Raises:
        InputError: If a value is not allowed.
    """

    doses: ClassVar[str] = "Gy, total"
    name_rule: ClassVar[NameRule] = NameRule("Eclipse", 16, "\\", ignores_case=True)

    required_priority: float | int = 1000.0
    normal_tissue: NormalTissue | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_required_priority(self.required_priority)
        object.__setattr__(self, "normal_tissue", NormalTissue.of(self.normal_tissue))
