"""How a source's structure name was understood."""

from dataclasses import dataclass
from typing import Literal

How = Literal["override", "exact", "synonym", "fuzzy", "unmatched"]
Kind = Literal["target", "organ", "helper", "external", "device", ""]


@dataclass(frozen=True)
class NameMatch:
    """One source name and the TG-263 name it stands for.

    Args:
        source: The name as it was given.
        name: TG-263 name; None when unmatched, or when an override says to leave the structure out.
        how: "override" (the user's file), "exact" (a TG-263 name already), "synonym" (by rules and synonyms),
            "fuzzy" (a guess: a misspelling, or something was disregarded) or "unmatched".
        confidence: In [0, 1]; 1 for override and exact, 0 for unmatched.
        note: Why, in words; empty when there is nothing to say.
        kind: What the name is of: "target", "organ", "helper" (made for planning), "external", "device" or "".
        candidates: For a paired organ named without its side: its names as (left, right, both or ""), else empty.
    """

    source: str
    name: str | None
    how: How
    confidence: float
    note: str = ""
    kind: Kind = ""
    candidates: tuple[str, ...] = ()
