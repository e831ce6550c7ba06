"""The structures of TG-263, and the words their names are made of.

`structures.csv` has the names and synonyms, `words.csv` how each word is spelt. A free-text name is understood when all
its words together are a synonym's, in whatever order and spelling.
"""

import csv
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dosewright.io.tg263.match import Kind

Words = tuple[str, ...]

SIDE = "side"  # in a synonym: only with a side
_VESSELS = {"artery": "a", "vein": "v"}
_OPTIONAL = re.compile(r"\[(\w+)\]")


@dataclass(frozen=True)
class Structure:
    """A structure of the standard.

    Args:
        name: TG-263 name, without a side.
        sided: Whether it comes as `_L` and `_R`.
        both: Name of the pair, "" if the standard has none.
        alone: Whether `name` itself is one.
        plural: Whether `name` itself stands for both of the pair, too.
        whole: Whether `name` itself stands for all of the organ, as `Tongue_Base` does and `Lens` does not.
        kind: "organ", "external" or "device".
    """

    name: str
    sided: bool
    both: str
    alone: bool
    plural: bool
    whole: bool
    kind: Kind

    @property
    def names(self) -> tuple[str, ...]:
        """All names it comes by."""
        if not self.sided:
            return (self.name,)
        alone = (self.name,) if self.alone else ()
        return (f"{self.name}_L", f"{self.name}_R", *((self.both,) if self.both else ()), *alone)

    @property
    def pair(self) -> str:
        """Name of left and right together, "" if there is none."""
        return self.both or (self.name if self.plural else "")


@dataclass(frozen=True)
class Phrase:
    """A synonym.

    Args:
        structure: What it means.
        needs_side: Whether it means that only along with a side.
    """

    structure: Structure
    needs_side: bool


@dataclass(frozen=True)
class Vocabulary:
    """What is known of names.

    Args:
        words: Spelling → the words it stands for.
        plurals: Spellings that are plurals.
        compounds: Several spelt words in a row → the words they stand for.
        phrases: The words of a synonym, sorted → its meaning.
        names: Every TG-263 name listed → its structure.
        squeezed: A synonym without blanks → its words.
    """

    words: dict[str, Words]
    plurals: frozenset[str]
    compounds: dict[Words, Words]
    phrases: dict[Words, Phrase]
    names: dict[str, Structure]
    squeezed: dict[str, Words]


@cache
def vocabulary() -> Vocabulary:
    """Return what is known of names.

    Raises:
        ValueError: If a word has two meanings or a synonym two structures; the package's own tests see to that.
    """
    words, plurals, compounds = _read_words()
    names: dict[str, Structure] = {}
    phrases: dict[Words, Phrase] = {}
    squeezed: dict[str, Words] = {}
    for structure, synonyms in _read_structures():
        names.update(dict.fromkeys(structure.names, structure))
        for synonym in () if synonyms == ["-"] else (*synonyms, _words_of_name(structure.name)):
            for spelt in _variants(synonym):
                needs_side = SIDE in spelt
                parts = tuple(w for w in spelt if w != SIDE)
                for part in parts:
                    _add_word(words, plurals, part, (part,))
                key = tuple(sorted(itertools.chain.from_iterable(words[w] for w in parts)))
                _add_phrase(phrases, key, Phrase(structure, needs_side))
                squeezed["".join(parts)] = key
    return Vocabulary(words, frozenset(plurals), compounds, phrases, names, squeezed)


@cache
def marks(mark: str) -> frozenset[str]:
    """Return the words of `marks.csv` that mark something.

    >>> "links" in marks("left")
    True
    """
    return frozenset(next(_listed(row["words"]) for row in _rows("marks.csv") if row["mark"] == mark))


def _add_phrase(phrases: dict[Words, Phrase], key: Words, phrase: Phrase) -> None:
    known = phrases.setdefault(key, phrase).structure
    if known != phrase.structure:
        raise ValueError(f"{' '.join(key)!r} means both {known.name} and {phrase.structure.name}")


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = files("dosewright.io.tg263").joinpath(name).read_text(encoding="utf-8")
    return iter(list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))))


def _read_words() -> tuple[dict[str, Words], set[str], dict[Words, Words]]:
    words: dict[str, Words] = {}
    plurals: set[str] = set()
    compounds: dict[Words, Words] = {}
    for row in _rows("words.csv"):
        meaning = tuple(row["word"].split())
        own = [row["word"]] if len(meaning) == 1 else []
        for spelling in (*own, *_listed(row["spellings"])):
            _add_spelling(words, compounds, plurals, spelling, meaning)
        for spelling in _listed(row["plurals"]):
            _add_spelling(words, compounds, plurals, spelling, meaning)
            plurals.add(spelling)
    return words, plurals, compounds


def _add_spelling(
    words: dict[str, Words], compounds: dict[Words, Words], plurals: set[str], spelling: str, meaning: Words
) -> None:
    parts = tuple(spelling.split())
    if len(parts) == 1:
        _add_word(words, plurals, spelling, meaning)
    elif compounds.setdefault(parts, meaning) != meaning:
        raise ValueError(f"{spelling!r} stands for both {compounds[parts]} and {meaning}")


def _add_word(words: dict[str, Words], plurals: set[str], spelling: str, meaning: Words) -> None:
    """Add a word and, unless it ends on s or is short, its plural on s."""
    known = words.setdefault(spelling, meaning)
    if known != meaning and meaning != (spelling,):
        raise ValueError(f"{spelling!r} stands for both {known} and {meaning}")
    if len(spelling) > 2 and not spelling.endswith("s") and f"{spelling}s" not in words:
        words[f"{spelling}s"] = known
        plurals.add(f"{spelling}s")


def _read_structures() -> Iterator[tuple[Structure, list[str]]]:
    for row in _rows("structures.csv"):
        kind: Kind = "device" if row["kind"] == "device" else "external" if row["kind"] == "external" else "organ"
        alone = row["alone"]
        plural, whole = alone in ("yes", "whole"), alone == "whole"
        structure = Structure(row["name"], row["sided"] == "LR", row["both"], bool(alone), plural, whole, kind)
        yield structure, _listed(row["synonyms"])


def _listed(text: str) -> list[str]:
    return [part for part in text.split("|") if part]


def _words_of_name(name: str) -> str:
    """Return the words of a TG-263 name: `Glnd_Submand` → "glnd submand", `SpinalCord` → "spinal cord"."""
    return re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _variants(synonym: str) -> Iterator[Words]:
    """Yield a synonym in full and with arteries and veins as A and V, as TG-263 has them."""
    for words in _without_optional(synonym):
        yield words
        if len(words) > 1 and not _VESSELS.keys().isdisjoint(words):
            yield tuple(_VESSELS.get(word, word) for word in words)


def _without_optional(synonym: str) -> Iterator[Words]:
    """Yield a synonym with and without each word in brackets."""
    choices = [(word[1:-1], "") if _OPTIONAL.fullmatch(word) else (word,) for word in synonym.split()]
    for chosen in itertools.product(*choices):
        yield tuple(word for word in chosen if word)
