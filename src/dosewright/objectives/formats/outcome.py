"""What became of objectives on their way into a planning system's format."""

from dataclasses import dataclass
from typing import Any, Literal

from dosewright.objectives.objective import Objective


@dataclass(frozen=True)
class Translation:
    """An objective in a format's own terms.

    Args:
        entries: What is written for it; nothing if the format cannot say it.
        reason: Why nothing is written, or how what is written differs from what was asked; empty if it says the same.
    """

    entries: tuple[Any, ...]
    reason: str = ""

    @classmethod
    def none(cls, reason: str) -> "Translation":
        """Return that of an objective the format cannot say."""
        return cls((), reason)


@dataclass(frozen=True)
class Remark:
    """An objective that a format cannot say, or says differently.

    Args:
        objective: The objective, in words.
        status: What became of it.
        reason: Why, or how it differs.
    """

    objective: str
    status: Literal["left out", "changed"]
    reason: str

    @classmethod
    def of(cls, objective: Objective, translation: Translation) -> "Remark":
        """Return what there is to say of a translation that has a reason."""
        return cls(objective.describe(), "changed" if translation.entries else "left out", translation.reason)


@dataclass(frozen=True)
class Written:
    """The files of a format.

    Args:
        files: Their names.
        doses: Unit of the doses in them, and whether they are total or per fraction.
        remarks: Objectives that are not in them, or not as they were asked for.
        notes: What a person must know of the format.
    """

    files: tuple[str, ...]
    doses: str
    remarks: tuple[Remark, ...]
    notes: tuple[str, ...]

    def count(self, status: str) -> int:
        """Return how many objectives have a status."""
        return sum(remark.status == status for remark in self.remarks)

    def to_plain(self) -> dict[str, Any]:
        """Return everything as plain data, objectives with one status and reason together."""
        together: dict[tuple[str, str], list[str]] = {}
        for remark in self.remarks:
            together.setdefault((remark.status, remark.reason), []).append(remark.objective)
        remarks = [
            {"status": status, "reason": reason, "objectives": objectives}
            for (status, reason), objectives in together.items()
        ]
        return {"files": list(self.files), "doses": self.doses, "remarks": remarks, "notes": list(self.notes)}
