"""Scorecards: what a plan is worth in points, item by item."""

from dosewright.scorecards.measure import measure
from dosewright.scorecards.plan_score_card import read_plan_score_card, write_plan_score_card
from dosewright.scorecards.proknow import read_proknow
from dosewright.scorecards.read import read_score_card
from dosewright.scorecards.report import ItemScore, ScoreReport
from dosewright.scorecards.score_card import Curve, Metric, ScoreCard, ScoreItem, ScorePoint
from dosewright.scorecards.scorer import Scorer

__all__ = [
    "Curve",
    "ItemScore",
    "Metric",
    "ScoreCard",
    "ScoreItem",
    "ScorePoint",
    "ScoreReport",
    "Scorer",
    "measure",
    "read_plan_score_card",
    "read_proknow",
    "read_score_card",
    "write_plan_score_card",
]
