"""Guessing what a misspelt name means."""

import re
from functools import lru_cache
from typing import Literal

from rapidfuzz import process
from rapidfuzz.distance import OSA

from dosewright.io.tg263.organ import Sides, named
from dosewright.io.tg263.reading import Reading
from dosewright.io.tg263.spelling import LEFT, RIGHT, cut, joins_parts, meant
from dosewright.io.tg263.vocabulary import Words, marks, vocabulary

LETTERS_MIN = 5  # of a word that may be misspelt
LETTERS_TWO_SLIPS = 9  # of one that may have two slips
WORD_MIN = 3  # letters of a part of a name that may be misspelt as a whole: initials are no slips
MARGIN = 2  # slips that the next best word must be farther away
_ELSE = re.compile(r"prv|[CGIP]TV", re.IGNORECASE)
_NOISE = marks("version")


def guess_organ(text: str) -> Reading | None:
    """Return what an organ's name may mean that is misspelt, has a number behind or a word like "new"; else None.

    A slip is a letter too many, too few, wrong or swapped with its neighbour.

    >>> guess_organ("Esophogus").name, guess_organ("Brachail Plexus L").name, guess_organ("Brain1").name
    ('Esophagus', 'BrachialPlex_L', 'Brain')
    >>> guess_organ("Brain mets"), guess_organ("Urether")
    (None, None)
    """
    if joins_parts(text) or "-" in text.strip("- ") or _ELSE.search(text):
        return None
    words = cut(text)
    sides = Sides.of(words)
    kept = tuple(w for w in sides.rest if w not in _NOISE)
    left_out = [w for w in sides.rest if w in _NOISE]
    if len(kept) > 1 and kept[-1].isdigit() and len(kept[-1]) == 1:
        kept, left_out = kept[:-1], [*left_out, kept[-1]]
    corrected, slips, said = _corrected(kept)
    if corrected is None or not (slips or left_out):
        return None
    phrase = vocabulary().phrases.get(tuple(sorted(corrected)))
    if phrase is None or (phrase.needs_side and sides.side not in ("L", "R")):
        return None
    reading = named(phrase.structure, sides.side, sides.relation, any(w in vocabulary().plurals for w in kept))
    if reading is None:
        return None
    letters = sum(len(w) for w in kept)
    notes = [*said, *(f"disregarded {w!r}" for w in left_out)]
    return reading.guessed(min(0.9, 1 - slips / letters) if slips else 0.7, ", ".join(notes))


def _corrected(words: Words) -> tuple[Words | None, int, list[str]]:
    """Return what words mean once their slips are mended, how many slips that took, and which."""
    if (known := meant(words)) is not None:
        return known, 0, []
    squeezed = "".join(words)
    found: list[str] = []
    slips, said = 0, []
    for word in words:
        if meant((word,)) is not None or word in LEFT or word in RIGHT:
            found.append(word)
            continue
        close = nearest(word, "words")
        if close is None:
            break
        found.append(close[0])
        slips += close[1]
        said.append(f"{word!r} taken for {close[0]!r}")
    else:
        return meant(tuple(found)), slips, said
    if min(len(word) for word in words) < WORD_MIN:
        return None, 0, []
    whole = nearest(squeezed, "squeezed")
    if whole is None:
        return None, 0, []
    return vocabulary().squeezed[whole[0]], whole[1], [f"{squeezed!r} taken for {whole[0]!r}"]


@lru_cache(maxsize=10_000)
def nearest(word: str, among: Literal["words", "squeezed"]) -> tuple[str, int] | None:
    """Return what of the vocabulary a word is a misspelling of and its slips, None when none or several are near.

    Words of one meaning do not compete.

    >>> nearest("otpic", "words"), nearest("urether", "words")
    (('optic', 1), None)
    """
    if not LETTERS_MIN <= len(word) <= 40 or not word.isalpha():
        return None
    allowed = 2 if len(word) >= LETTERS_TWO_SLIPS else 1
    meanings: dict[str, Words] = getattr(vocabulary(), among)
    found = process.extract(word, meanings.keys(), scorer=OSA.distance, score_cutoff=allowed + MARGIN, limit=None)
    if not found or found[0][1] > allowed:
        return None
    best, slips = found[0][0], int(found[0][1])
    if any(meanings[other] != meanings[best] and distance < slips + MARGIN for other, distance, _ in found):
        return None
    return best, slips
