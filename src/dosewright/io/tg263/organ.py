"""Reading the words of an organ's name."""

import itertools
from dataclasses import dataclass
from functools import lru_cache

from dosewright.io.tg263.reading import RULES, Reading
from dosewright.io.tg263.spelling import (
    BOTH,
    CONTRALATERAL,
    IPSILATERAL,
    LEFT,
    RIGHT,
    cut,
    divided,
    joins_parts,
    meant,
)
from dosewright.io.tg263.vocabulary import Structure, Words, vocabulary

_TISSUES = ("Bone", "Musc", "VB", "Skin")


@dataclass(frozen=True)
class Sides:
    """The words of a name that say a side, and the rest.

    Args:
        side: "L", "R", "both", "" for none, or "?" when they contradict each other.
        relation: "ipsilateral" or "contralateral" to something, "" if not said.
        rest: The other words.
    """

    side: str
    relation: str
    rest: Words

    @classmethod
    def of(cls, words: Words) -> "Sides":
        """Return the sides a name speaks of.

        >>> Sides.of(("lt", "parotid")).side, Sides.of(("l", "r", "lung")).side, Sides.of(("left", "rt", "eye")).side
        ('L', 'both', '?')
        """
        left, right = [w for w in words if w in LEFT], [w for w in words if w in RIGHT]
        both = any(w in BOTH for w in words)
        relations = {"ipsilateral": IPSILATERAL, "contralateral": CONTRALATERAL}
        relation = [name for name, known in relations.items() if any(w in known for w in words)]
        rest = tuple(
            w for w in words if not (w in LEFT or w in RIGHT or w in BOTH or w in IPSILATERAL or w in CONTRALATERAL)
        )
        if left and right:  # "Lung L+R" is both, "left rt eye" a slip
            together = any({*pair} == {"l", "r"} for pair in itertools.pairwise(words))
            side = "both" if together and len(left) + len(right) == 2 else "?"
        else:
            side = "both" if both else "L" if left else "R" if right else ""
        if len(relation) > 1 or (both and (left or right or relation)) or len(left) > 1 or len(right) > 1:
            side = "?"
        return cls(side, relation[0] if relation else "", rest)


@lru_cache(maxsize=10_000)
def read_organ(text: str) -> Reading | None:
    """Return what a text is read as if all its words belong to the name of one organ, else None.

    >>> read_organ("Lt parotid gland").name, read_organ("OpticNerve_R").name, read_organ("total lung").name
    ('Parotid_L', 'OpticNrv_R', 'Lungs')
    >>> read_organ("parotid").candidates, read_organ("brain mets")
    (('Parotid_L', 'Parotid_R', 'Parotids'), None)
    """
    if joins_parts(text) or _is_difference(text):
        return None
    readings = [r for camel in (True, False) for r in _readings(cut(text, camel))]
    meanings = {(r.name, r.candidates) for r in readings}
    return readings[0] if len(meanings) == 1 else None  # two ways to read it are none


def _is_difference(text: str) -> bool:
    """Return whether a name may be one organ without another: `Larynx-Glottis`, but not `Optic-Nerve`."""
    parts = [read_words(cut(part)) for part in text.split("-")]
    organs = [part for part in parts if part is not None and part.name not in _TISSUES]
    return len(organs) > 1


def _readings(words: Words) -> list[Reading]:
    """Return how words can be read: as they are, and glued ones divided."""
    apart = tuple(part for word in words for part in (divided(word) or (word,)))
    together = _joined_up(words)
    found = [reading for spelt in dict.fromkeys((words, apart, together)) if (reading := read_words(spelt))]
    return found[:1]


def _joined_up(words: Words) -> Words:
    """Return words in one, the sides apart, and that divided where it can be: sub mandibular, T M Joint."""
    sides = Sides.of(words)
    said = tuple(w for w in words if w in LEFT or w in RIGHT or w in BOTH)
    if len(sides.rest) < 2 or sides.relation:
        return words
    whole = "".join(sides.rest)
    return (*said, *(divided(whole) or (whole,)))


def read_words(words: Words) -> Reading | None:
    """Return what words are read as if they are an organ's name, its side apart, else None."""
    if not words or len(words) > 12:
        return None
    with_sides = tuple("left" if w in LEFT else "right" if w in RIGHT else w for w in words)
    whole = meant(with_sides)
    if whole and (phrase := vocabulary().phrases.get(tuple(sorted(whole)))) and not phrase.needs_side:
        return named(phrase.structure, "", "", _is_plural(words))
    sides = Sides.of(words)
    rest = meant(sides.rest)
    phrase = vocabulary().phrases.get(tuple(sorted(rest))) if rest else None
    if phrase is None or (phrase.needs_side and sides.side not in ("L", "R")):
        return None
    return named(phrase.structure, sides.side, sides.relation, _is_plural(sides.rest))


def _is_plural(words: Words) -> bool:
    return any(word in vocabulary().plurals for word in words)


def named(structure: Structure, side: str, relation: str, plural: bool) -> Reading | None:
    """Return the reading of a structure with a side, or without where one is needed.

    Args:
        structure: What it is.
        side: As in `Sides`.
        relation: As in `Sides`.
        plural: Whether its name is a plural.
    """
    if side == "?":
        return Reading(None, note="says two sides", kind=structure.kind)
    if not structure.sided:
        if side in ("L", "R") or relation:
            return Reading(None, note=f"{structure.name} has no sides in TG-263", kind=structure.kind)
        return Reading(structure.name, "synonym", RULES, kind=structure.kind)
    if side in ("L", "R"):
        if plural or relation:
            note = "a plural with a side" if plural else f"a side and {relation}"
            return Reading(f"{structure.name}_{side}", "fuzzy", 0.7, note, structure.kind)
        return Reading(f"{structure.name}_{side}", "synonym", RULES, kind=structure.kind)
    if (side == "both" or plural) and not relation and structure.pair:
        return Reading(structure.pair, "synonym", RULES, kind=structure.kind)
    if structure.whole and not relation:
        return Reading(structure.name, "synonym", RULES, kind=structure.kind)
    left, right = f"{structure.name}_L", f"{structure.name}_R"
    pair = "" if relation else structure.pair
    said = f"{relation} only" if relation else "without a side"
    return Reading(None, note=f"{said}: {left} or {right}", kind=structure.kind, candidates=(left, right, pair))
