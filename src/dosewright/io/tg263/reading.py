"""What a name, or a part of one, is read as."""

from dataclasses import dataclass, replace

from dosewright.io.tg263.match import How, Kind, NameMatch

RULES = 0.95  # confidence of what rules and synonyms explain wholly


@dataclass(frozen=True)
class Reading:
    """A `NameMatch` without its source: see there."""

    name: str | None
    how: How = "unmatched"
    confidence: float = 0.0
    note: str = ""
    kind: Kind = ""
    candidates: tuple[str, ...] = ()

    def guessed(self, confidence: float, note: str) -> "Reading":
        """Return it as a guess, for a reason more."""
        if self.name is None:
            return replace(self, note=joined(self.note, note))
        confidence = min(confidence, self.confidence)
        return replace(self, how="fuzzy", confidence=confidence, note=joined(self.note, note))

    def of(self, source: str) -> NameMatch:
        """Return it as the match of a source's name."""
        return NameMatch(source, self.name, self.how, self.confidence, self.note, self.kind, self.candidates)


def joined(*notes: str) -> str:
    """Return notes in one line."""
    return "; ".join(note for note in notes if note)
