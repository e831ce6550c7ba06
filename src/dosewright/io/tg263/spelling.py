"""Cutting a structure name into words."""

import re
import unicodedata
from functools import lru_cache

from dosewright.io.tg263.vocabulary import Words, marks, vocabulary

LETTERS_MIN = 3  # of a word that is found within a longer one: shorter ones turn up by chance

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z](?!s(?![a-z]))[a-z])")
_ELISION = re.compile(r"\b([ld])['’](?=\w)", re.IGNORECASE)
_SEPARATORS = re.compile(r"[^0-9a-z~^]+")
_PARTS = re.compile(r"[a-z~^]+|\d+")
_VOWELS = "aiou"
_JOINTS = re.compile(r"[+&/,;|]|(?<![a-z])(?:and|und|et|or)(?![a-z])", re.IGNORECASE)
_STOP = marks("filler")

LEFT = marks("left")
RIGHT = marks("right")
BOTH = marks("both")
IPSILATERAL = marks("ipsilateral")
CONTRALATERAL = marks("contralateral")
_GLUED_SIDES = ("left", "right", "lt", "rt", "l", "r")


def plain(text: str) -> str:
    """Return a name without accents, unusual widths and blanks around, in its own case.

    >>> plain("  Rückenmark "), plain("Œsophage"), plain("l'oeil")
    ('Ruckenmark', 'Oesophage', 'oeil')
    """
    text = text.replace("Œ", "Oe").replace("œ", "oe").replace("ß", "ss").replace("æ", "ae")
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return _ELISION.sub("", text).strip()


def cut(text: str, camel: bool = True) -> Words:
    """Return the words and numbers of a name, in lower case.

    Args:
        text: Name as `plain` returns it.
        camel: Whether a capital letter starts a word.

    >>> cut("BrainStem_PRV05"), cut("LT Optic-Nerve"), cut("TMjoint", camel=False)
    (('brain', 'stem', 'prv', '05'), ('lt', 'optic', 'nerve'), ('tmjoint',))
    """
    if camel:
        text = _CAMEL.sub(" ", text)
    return tuple(part for word in _SEPARATORS.split(text.lower()) for part in _PARTS.findall(word))


def joins_parts(text: str) -> bool:
    """Return whether a name joins several structures by a sign: `PTV+Urethra`, `Liver/GTV`, but not `Lung L+R`.

    >>> joins_parts("PTV+Urethra"), joins_parts("Lung L+R"), joins_parts("Optic-Nerve")
    (True, False, False)
    """
    _, *others = _JOINTS.split(text)
    return any(word not in LEFT | RIGHT for part in others for word in cut(part))


@lru_cache(maxsize=10_000)
def divided(word: str) -> Words | None:
    """Return the known words that a longer one is glued from, None when it cannot be or is known itself.

    A side may be glued to either end, but no `l` or `r` behind a vowel, where it makes adjectives (cochlear).

    >>> divided("opticnerve"), divided("leftparotid"), divided("lungr"), divided("cochlear"), divided("brainmets")
    (('optic', 'nerve'), ('left', 'parotid'), ('lung', 'r'), None, None)
    """
    if word in vocabulary().words or not word.isalpha() or len(word) > 64:
        return None
    found = _divided_without_side(word)
    for side in _GLUED_SIDES:
        rest = word.removeprefix(side)
        if found is None and rest != word and (parts := _divided_without_side(rest)):
            found = (side, *parts)
        rest = word.removesuffix(side)
        adjective = len(side) == 1 and rest[-1:] in _VOWELS
        if found is None and rest != word and not adjective and (parts := _divided_without_side(rest)):
            found = (*parts, side)
    return found


def _divided_without_side(word: str) -> Words | None:
    """Return the fewest known words a word is made of, the longest first among equals."""
    known = vocabulary().words
    best: list[Words | None] = [()] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - 24), end - LETTERS_MIN + 1):
            before, part = best[start], word[start:end]
            if before is None or not (part in known or part in IPSILATERAL or part in CONTRALATERAL):
                continue
            current = best[end]
            if current is None or len(before) + 1 < len(current):
                best[end] = (*before, part)
    return best[len(word)] or None


def meant(words: Words) -> Words | None:
    """Return the words of the vocabulary that spelt ones stand for, None when one of them is not known.

    >>> meant(("glnd", "submand")), meant(("base", "of", "tongue")), meant(("tronc", "cerebral")), meant(("foo",))
    (('gland', 'submandibular'), ('base', 'tongue'), ('brainstem',), None)
    """
    known = vocabulary()
    result: list[str] = []
    position = 0
    while position < len(words):
        compound = next((c for n in (3, 2) if (c := words[position : position + n]) in known.compounds), None)
        if compound:
            result.extend(known.compounds[compound])
            position += len(compound)
            continue
        word = words[position]
        if word in known.words:
            result.extend(known.words[word])
        elif word not in _STOP:
            return None
        position += 1
    return tuple(result)
