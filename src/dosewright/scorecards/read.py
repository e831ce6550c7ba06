"""Any scorecard file, told apart by its content."""

from pathlib import Path

from dosewright.core import InputError
from dosewright.scorecards.card_json import object_at, read_json
from dosewright.scorecards.plan_score_card import plan_score_card_of
from dosewright.scorecards.proknow import proknow_card_of
from dosewright.scorecards.score_card import ScoreCard


def read_score_card(path: str | Path) -> ScoreCard:
    """Return the card of a PlanScoreCard or a ProKnow JSON file; the keys tell which it is.

    Raises:
        InputError: If the file is neither, or cannot be read; the message names it.
    """
    content = read_json(path)
    try:
        keys = object_at(content, "content")
        if "ScoreTemplates" in keys:
            return plan_score_card_of(content)
        if "computed" in keys or "custom" in keys:
            return proknow_card_of(content, name=Path(path).stem)
        rule = "must be a PlanScoreCard (key ScoreTemplates) or a ProKnow scorecard (key computed)"
        raise InputError(rule, argument="content", value=sorted(keys))
    except InputError as error:
        raise InputError.located(error, path) from error
