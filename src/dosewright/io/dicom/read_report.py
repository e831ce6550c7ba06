"""What a case was made of, and what was left out, for the user to check."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class DicomReport:
    """How one case was read; filled while it is read.

    Args:
        case_id: The case.
        files: "ct", "structure_set", "plan", "dose" → the files used, relative to the folder.
        names: Source name → TG-263 name of each structure taken.
        guessed: Source name → what it may mean, with the reason; not taken unless guesses are accepted.
        left_out: Source name → why the structure was left out.
        notes: What was assumed, in words.
        warnings: What may make the case wrong for some purposes.
    """

    case_id: str
    files: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    guessed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain containers."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.case_id}: " + ", ".join(f"{len(files)} {kind}" for kind, files in self.files.items())]
        lines += [f"  {source} → {name}" for source, name in self.names.items()]
        lines += [f"  {source}: guessed {name}" for source, name in self.guessed.items()]
        lines += [f"  {source}: left out, {reason}" for source, reason in self.left_out.items()]
        lines += [f"  warning: {text}" for text in self.warnings]
        return "\n".join([*lines, *(f"  note: {text}" for text in self.notes)])
