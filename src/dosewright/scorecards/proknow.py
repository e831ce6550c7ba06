"""ProKnow scorecard JSON: reader.

`{"computed": [{type, roi_name, arg_1, arg_2, objectives: [{label, color, min|max}]}], "custom": []}`; metric types and
their arguments as ProKnow documents them (proknow-python, docs/usage/computed_metrics.rst). Doses are total Gy. A
grade's points stand in brackets at the end of its label ("GOOD[13.5]"), as PlanScoreCard reads them; a grade without
bound or without points is no corner of the curve. ProKnow's homogeneity index is (D1 − D99) / arg_1.
"""

import math
import re
from pathlib import Path
from typing import Any

from dosewright.core import InputError
from dosewright.scorecards.card_json import list_at, number_at, object_at, read_json, required_number_at, text_at
from dosewright.scorecards.score_card import Curve, Kind, Metric, ScoreCard, ScoreItem, ScorePoint, Unit

# Type → kind, unit of arg_1, output unit. The other types (dose ranges, integral dose, whole-grid measures, meterset)
# have no equal among the kinds.
_METRICS: dict[str, tuple[Kind, Unit | None, Unit | None]] = {
    "DOSE_VOLUME_PERCENT_ROI": ("dose_at_volume", "%", "Gy"),
    "DOSE_VOLUME_CC_ROI": ("dose_at_volume", "CC", "Gy"),
    "DOSE_VOLUME_MINUS_CC_ROI": ("dose_at_subvolume", "CC", "Gy"),
    "VOLUME_CC_DOSE_ROI": ("volume_at_dose", "Gy", "CC"),
    "VOLUME_PERCENT_DOSE_ROI": ("volume_at_dose", "Gy", "%"),
    "MIN_DOSE_ROI": ("min_dose", None, "Gy"),
    "MAX_DOSE_ROI": ("max_dose", None, "Gy"),
    "MEAN_DOSE_ROI": ("mean_dose", None, "Gy"),
    "VOLUME": ("volume", None, "CC"),
    "VOLUME_OF_REGRET": ("volume_of_regret", "Gy", "CC"),
    "CONFORMATION_NUMBER": ("conformation_number", "Gy", None),
    "CONFORMALITY_INDEX": ("conformity_index", "Gy", None),
    "INHOMOGENEITY_INDEX": ("inhomogeneity_index", None, None),
}
_HOMOGENEITY = "HOMOGENEITY_INDEX"
_HOMOGENEITY_HIGH_PERCENT, _HOMOGENEITY_LOW_PERCENT = 1.0, 99.0
_POINTS = re.compile(r"\[([^\[\]]*)\]\s*\Z")


def read_proknow(path: str | Path) -> ScoreCard:
    """Return the card of a ProKnow JSON file, named after the file unless it names itself.

    Metric types without an equal here, and custom metrics, become "undefined" items: scoring names them.

    Raises:
        InputError: If the file cannot be read or is not JSON of this schema; the message names file and place.
    """
    content = read_json(path)
    try:
        return proknow_card_of(content, name=Path(path).stem)
    except InputError as error:
        raise InputError.located(error, path) from error


def proknow_card_of(content: Any, name: str = "") -> ScoreCard:
    """Return the card of a ProKnow file's content.

    Raises:
        InputError: As `read_proknow`, without the file.
    """
    content = object_at(content, "content")
    if "computed" not in content and "custom" not in content:
        raise InputError("must be given", argument="computed")
    computed = tuple(_item(entry, f"computed[{i}]") for i, entry in enumerate(list_at(content, "computed")))
    custom = tuple(_custom(entry, f"custom[{i}]") for i, entry in enumerate(list_at(content, "custom")))
    extra = {key: value for key, value in content.items() if key not in ("computed", "custom", "name")}
    return ScoreCard(name=text_at(content, "name") or name, items=computed + custom, extra=extra)


def _item(entry: Any, where: str) -> ScoreItem:
    entry = object_at(entry, where)
    objectives = list_at(entry, "objectives", where)
    grades = [object_at(o, f"{where}.objectives[{i}]") for i, o in enumerate(objectives)]
    points = [_point(grade, f"{where}.objectives[{i}]") for i, grade in enumerate(grades)]
    try:
        curve = Curve(tuple(point for point in points if point is not None))
    except InputError as error:
        raise InputError(error.rule, argument=f"{where}.objectives", value=error.value) from error
    return ScoreItem(
        structure=text_at(entry, "roi_name", where),
        metric=_metric(entry, where),
        curve=curve,
        extra={key: value for key, value in entry.items() if key not in ("roi_name", "type", "arg_1")},
    )


def _metric(entry: dict[str, Any], where: str) -> Metric:
    name = text_at(entry, "type", where)
    if not name:
        raise InputError("must be given", argument=f"{where}.type")
    argument = number_at(entry, "arg_1", where)
    if name == _HOMOGENEITY:
        return Metric(
            "homogeneity_index",
            hi_high=_HOMOGENEITY_HIGH_PERCENT,
            hi_low=_HOMOGENEITY_LOW_PERCENT,
            hi_target=0.0 if argument is None else argument,
            hi_target_unit="Gy",
        )
    if name not in _METRICS:
        return Metric("undefined", argument, source_name=name)
    kind, input_unit, output_unit = _METRICS[name]
    return Metric(kind, argument, input_unit, output_unit)


def _point(grade: dict[str, Any], where: str) -> ScorePoint | None:
    label = text_at(grade, "label", where)
    least, most = number_at(grade, "min", where), number_at(grade, "max", where)
    if least is not None and most is not None:
        raise InputError("must have min or max, not both", argument=where, value=(least, most))
    value, score = most if least is None else least, _score_of(label, where)
    if value is None or score is None:
        return None
    color = list_at(grade, "color", where)
    return ScorePoint(
        value=value,
        score=score,
        label=label,
        variation=label.upper().startswith("ACCEPTABLE"),
        color_rgb=tuple(required_number_at({"color": c}, "color", where) for c in color),
        color_value=score,
    )


def _score_of(label: str, where: str) -> float | None:
    match = _POINTS.search(label)
    if match is None:
        return None
    try:
        score = float(match[1])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise InputError('must be a label like "GOOD[13.5]"', argument=f"{where}.label", value=label)
    return score


def _custom(entry: Any, where: str) -> ScoreItem:
    entry = object_at(entry, where)
    metric = Metric("undefined", source_name=f"custom metric {entry.get('id', '')}".rstrip())
    return ScoreItem(structure="", metric=metric, curve=Curve(()), extra=entry)
