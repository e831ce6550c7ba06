"""The cards that ship with the package, by name: PlanScoreCard files in the folder `cards` beside this module."""

from functools import lru_cache
from pathlib import Path

from dosewright.core import InputError
from dosewright.scorecards.plan_score_card import read_plan_score_card
from dosewright.scorecards.read import read_score_card
from dosewright.scorecards.score_card import ScoreCard

_FOLDER = Path(__file__).parent / "cards"


def shipped_cards() -> tuple[str, ...]:
    """Return the names of the cards that ship.

    >>> shipped_cards()
    ('head_neck_sib', 'lung_60gy', 'replanning_150')
    """
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@lru_cache(maxsize=8)
def card_named(name: str) -> ScoreCard:
    """Return a card that ships.

    Args:
        name: One of `shipped_cards()`.

    Raises:
        InputError: If there is no such card.

    >>> card_named("replanning_150").maximum
    150.0
    """
    if name not in shipped_cards():
        raise InputError(f"must be {_one_that_ships()}", argument="card", value=name)
    return read_plan_score_card(_FOLDER / f"{name}.json")


def load_card(name_or_path: str | Path) -> ScoreCard:
    """Return a card that ships, or one of a file.

    Args:
        name_or_path: One of `shipped_cards()`, or a PlanScoreCard or ProKnow file. A name that ships wins over a file.

    Raises:
        InputError: If it is neither, or the file breaks a rule of its format.
    """
    text = str(name_or_path)
    if text in shipped_cards():
        return card_named(text)
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return read_score_card(path)
    if path.suffix.lower() == ".json" or path.name != text:
        raise InputError("must be a file", argument="card", value=text)
    rule = f"must be {_one_that_ships()} or a PlanScoreCard or ProKnow file (.json)"
    raise InputError(rule, argument="card", value=text)


def _one_that_ships() -> str:
    return f"one of the cards that ship ({', '.join(shipped_cards())})"
