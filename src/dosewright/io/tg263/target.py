"""Reading the name of a target: `PTV 70Gy`, `ptv_5040`, `CTVn`, `PTVHigh`, `GTV-T`."""

import re
from dataclasses import dataclass
from functools import partial

from dosewright.core.structures import Role, role_of
from dosewright.io.tg263.organ import read_organ
from dosewright.io.tg263.reading import RULES, Reading
from dosewright.io.tg263.spelling import joins_parts
from dosewright.io.tg263.vocabulary import marks, vocabulary

DOSE_GY_MIN, DOSE_GY_MAX = 20.0, 90.0  # a number without a unit that is taken for Gy
DOSE_CGY_MIN, DOSE_CGY_MAX = 1000, 9999

TYPES = re.compile(r"I?GTV|I?CTV|PTV|ITV", re.IGNORECASE)
_DOUBTFUL = re.compile(r"[!<>%^~]|-\s*(?:boost|bst|total|all|eval)", re.IGNORECASE)  # "PTV-Boost" may be a difference
_TOKEN = re.compile(r"\d+(?:\.\d+)?\s*(?:c?gy)(?![a-z])|\d+(?:\.\d+)?|[A-Za-z]+", re.IGNORECASE)
_DOSE = re.compile(r"(\d+(?:\.\d+)?)\s*(c?gy)?", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z](?!s(?![a-z]))[a-z])")
_LEVELS = {
    "High": ("high", "hi", "hoch"),
    "Mid": ("mid", "middle", "intermediate", "medium", "interm"),
    "Low": ("low", "lo", "niedrig"),
}
_LEVEL = {word: level for level, words in _LEVELS.items() for word in words}
_RISKS = {"hr": "High", "ir": "Mid", "lr": "Low"}  # high, intermediate and low risk
_CLASSES = {
    "n": ("n", "node", "nodes", "nodal", "ln", "lns"),
    "p": ("p", "prim", "primary"),
    "sb": ("sb", "surgicalbed"),
    "par": ("par",),
}
_CLASS = {word: short for short, words in _CLASSES.items() for word in words}
_WORDS = {"total": "Total", "all": "Total", "eval": "Eval", "evl": "Eval", "boost": "Boost", "bst": "Boost"}
_NOISE = marks("target version")
_SIDES = {"lft": "L", "left": "L", "lt": "L", "links": "L", "right": "R", "rt": "R", "rechts": "R"}


@dataclass
class Target:
    """The parts of a target's name, filled as they are read.

    Args:
        kind: "PTV", "CTV", "GTV", "ITV", "IGTV" or "ICTV".
        group: Class: "n" for nodal, "p" for primary, "sb", "par".
        number: Its number among several.
        word: What more it is: "Boost", an organ…
        level: "High", "Mid" or "Low".
        side: "L" or "R".
        letter: Whether the side is but a letter in the source.
        dose_cgy: Dose in cGy.
    """

    kind: str
    group: str = ""
    number: str = ""
    word: str = ""
    level: str = ""
    side: str = ""
    letter: bool = False
    dose_cgy: int | None = None

    @property
    def name(self) -> str:
        """TG-263 name: type, class, number, then what is told of it, dose last."""
        first, dose = f"{self.kind}{self.group}{self.number}", "" if self.dose_cgy is None else f"{self.dose_cgy}"
        return "_".join(part for part in (first, self.word, self.side, self.level, dose) if part)

    @property
    def makes_sense(self) -> bool:
        """Whether the parts go together: a gross tumour has no dose level, and a bare L may be left or low."""
        if self.level and self.kind == "GTV":
            return False
        return not self.letter or bool(self.kind == "GTV" or self.group or self.number or self.dose_cgy)

    def put(self, field: str, value: object) -> bool:
        """Set a part and return whether it was free."""
        free = getattr(self, field) in ("", None)
        setattr(self, field, value)
        return free


def read_target(text: str) -> Reading | None:
    """Return what a name is read as if it is a target's, None if it is none or has words that are not understood.

    >>> [read_target(n).name for n in ("PTV70", "ptv_7000", "PTV 69.96Gy", "PTVHigh", "CTVn2", "GTV-T", "PTV")]
    ['PTV_7000', 'PTV_7000', 'PTV_6996', 'PTV_High', 'CTVn2', 'GTVp', 'PTV']
    >>> read_target("2PTV_4800Uniform").note, read_target("PTV inside"), read_target("Brain")
    ("disregarded '2', 'Uniform'", None, None)
    """
    found = list(TYPES.finditer(text))
    if len(found) != 1 or joins_parts(text) or _DOUBTFUL.search(text):
        return None
    before, after = text[: found[0].start()], text[found[0].end() :]
    target = Target(found[0][0].upper())
    ignored: list[str] = []
    words = [(token, False) for token in _tokens(before)] + [(token, True) for token in _tokens(after)]
    if all(_take(target, word, behind, ignored) for word, behind in words) and target.makes_sense:
        reading = _reading(target.name)
        if not ignored:
            return reading
        return reading.guessed(0.7, "disregarded " + ", ".join(repr(word) for word in ignored))
    return _of_organ(target.kind, before, after)


def dose_in_name_gy(name: str) -> float | None:
    """Return the dose in a TG-263 target name in Gy, None when it has none.

    >>> dose_in_name_gy("PTV_7000"), dose_in_name_gy("PTVn2_Breast_L_5040"), dose_in_name_gy("PTV_High")
    (70.0, 50.4, None)
    """
    found = re.fullmatch(r"(?:I?GTV|I?CTV|PTV|ITV)\w*?_(\d{4})(?:[-^~].*)?", name)
    return int(found[1]) / 100 if found else None


def _tokens(text: str) -> list[str]:
    return [part for token in _TOKEN.findall(text) for part in (_CAMEL.split(token) if token.isalpha() else (token,))]


def _take(target: Target, word: str, behind: bool, ignored: list[str]) -> bool:
    """Put one word into a target's name; False when it is not understood or its place is taken."""
    low = word.lower()
    if word[0].isdigit():
        if behind:
            return _take_number(target, low)
        ignored.append(word)
        return len(word) == 1
    for field, known in (("level", _LEVEL), ("word", _WORDS), ("side", _SIDES)):
        if low in known:
            return target.put(field, known[low])
    if behind and low in _CLASS:
        return target.put("group", _CLASS[low])
    if behind and low == "t" and target.kind in ("GTV", "CTV"):
        return target.put("group", "p")
    if low in ("l", "r"):
        target.letter = True
        return target.put("side", word.upper())
    if low in _RISKS:
        ignored.append(f"{word}: taken for a dose level")
        return target.put("level", _RISKS[low])
    if low in _NOISE:
        ignored.append(word)
        return True
    return False


def _take_number(target: Target, word: str) -> bool:
    found = _DOSE.fullmatch(word)
    if found is None:
        return False
    value, unit = float(found[1]), (found[2] or "").lower()
    put_dose = partial(target.put, "dose_cgy")
    if unit == "gy" and 1 <= value < 100:
        return put_dose(round(value * 100))
    if unit == "cgy" or (not unit and "." not in word and DOSE_CGY_MIN <= value <= DOSE_CGY_MAX):
        return 100 <= value <= DOSE_CGY_MAX and put_dose(round(value))
    if not unit and DOSE_GY_MIN <= value <= DOSE_GY_MAX:
        return put_dose(round(value * 100))
    first = not (target.word or target.level or target.side or target.dose_cgy)
    return first and not unit and word.isdigit() and 1 <= value <= 9 and target.put("number", word.lstrip("0"))


def _of_organ(kind: str, before: str, after: str) -> Reading | None:
    """Return the target of an organ: `PTV breast L 5000` → PTV_Breast_L_5000."""
    words = _tokens(after)
    doses = [w for w in words if w[0].isdigit()]
    target = Target(kind)
    if (
        before.strip(" _-.")
        or "-" in after
        or len(doses) > 1
        or not all(_take_number(target, w.lower()) for w in doses)
    ):
        return None
    if target.number:
        return None
    listed = re.sub(r"_\d{4}$", "", after.removeprefix("_"))
    if listed in vocabulary().names:
        target.word = listed
        return _reading(target.name)
    organ = read_organ(" ".join(w for w in words if w not in doses))
    if organ is None or organ.name is None or organ.how != "synonym" or organ.kind != "organ":
        return None
    target.word = organ.name
    return _reading(target.name)


def _reading(name: str) -> Reading:
    """Return the reading of a target's name, none where the package would not treat it as a target."""
    if role_of(name) is not Role.TARGET:
        return Reading(None, note=f"{name} is no target by its name here: say which by an override", kind="target")
    return Reading(name, "synonym", RULES, kind="target")
