"""Objectives as data: what is refused, what is said, and the way to a dictionary and back."""

import math

import pytest

from dosewright.core import InputError
from dosewright.objectives import Objective
from dosewright.objectives.objective import KINDS, NEED_EXPONENT, NEED_VOLUME, ONLY_HARD, WITHOUT_DOSE


def example(kind: str) -> Objective:
    return Objective(
        "PTV_High",
        kind,
        None if kind in WITHOUT_DOSE else 60,
        30 if kind in NEED_VOLUME else None,
        exponent=4 if kind in NEED_EXPONENT else None,
        constraint=kind in ONLY_HARD,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_through_a_dictionary(kind: str) -> None:
    objective = example(kind)
    assert Objective.from_dict(objective.to_dict()) == objective


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (Objective("Larynx", "max_dvh", 45, 30, 80), "Larynx: at most 30 % of the volume above 45 Gy, priority 80"),
        (Objective("PTV", "min_dvh", 66.5, 95), "PTV: at least 95 % of the volume at 66.5 Gy or more, priority 1"),
        (Objective("Lungs", "geud_upper", 20, exponent=1), "Lungs: gEUD (a = 1) at most 20 Gy, priority 1"),
        (Objective("Brain", "cvar_upper", 50, 2.5), "Brain: mean of the hottest 2.5 % at most 50 Gy, priority 1"),
        (Objective("Brainstem", "max_dose", 54, constraint=True), "Brainstem: maximum at most 54 Gy, required"),
        (Objective("External", "mimic", priority=0.5), "External: as in the reference dose, priority 0.5"),
        (Objective("Heart", "mean"), "Heart: mean as low as possible, priority 1"),
    ],
)
def test_description(objective: Objective, text: str) -> None:
    assert objective.describe() == text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_described_with_its_numbers(kind: str) -> None:
    objective = example(kind)
    text = objective.describe()
    assert text.startswith("PTV_High: ")
    assert ("60 Gy" in text) == (objective.dose_gy is not None)
    assert ("30 %" in text) == (objective.volume_percent is not None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("9lives", "mean"), "structure of an objective must be a structure name"),
        (("PTV", "maximum", 60), r"PTV \(maximum\): kind must be one of"),
        (("PTV", "squared_overdose"), r"PTV \(squared_overdose\): dose_gy must be given; got None"),
        (("PTV", "mimic", 60), r"PTV \(mimic\): dose_gy must not be given for this kind; got 60"),
        (("PTV", "max_dvh", 60), "volume_percent must be given"),
        (("PTV", "mean_upper", 60, 30), "volume_percent must not be given for this kind; got 30"),
        (("PTV", "geud_upper", 60), "exponent must be given"),
        (("PTV", "mean_upper", -1), r"dose_gy must be in \[0, 250\] Gy, total; got -1.0"),
        (("PTV", "mean_upper", 7000), r"dose_gy must be in \[0, 250\] Gy, total; got 7000.0"),
        (("PTV", "mean_upper", math.nan), "dose_gy must be finite; got nan"),
        (("PTV", "mean_upper", 10**400), "dose_gy must be finite; got 1000"),
        (("PTV", "mean_upper", True), "dose_gy must be a number; got True"),
        (("PTV", "max_dvh", 60, 100), r"volume_percent must be in \[0, 100\) %; got 100.0"),
        (("PTV", "min_dvh", 60, 0), r"volume_percent must be in \(0, 100\] %; got 0.0"),
        (("PTV", "cvar_upper", 60, 0), r"volume_percent must be in \(0, 100\] %; got 0.0"),
        (("PTV", "cvar_lower", 60, 101), r"volume_percent must be in \(0, 100\] %; got 101.0"),
        (("PTV", "mean_upper", 60, None, -1), "priority must be at least 0; got -1.0"),
        (("PTV", "mean_upper", 60, None, math.inf), "priority must be finite; got inf"),
        (("PTV", "geud_upper", 60, None, 1, 0), "exponent must be within ±100 and not 0; got 0.0"),
        (("PTV", "geud_upper", 60, None, 1, 101), "exponent must be within ±100 and not 0; got 101.0"),
        (("PTV", "max_dvh", 60, 5, 1, None, True), "constraint must be false for this kind; only"),
        (("PTV", "max_dose", 60), "constraint must be true for this kind; the soft form is squared_overdose"),
        (("PTV", "min_dose", 60), "the soft form is squared_underdose"),
    ],
)
def test_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Objective(*arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"structure": "PTV", "kind": "mean", "weight": 3}, "key of an objective must be among .*; got 'weight'"),
        ({"kind": "mean"}, "structure must be given as text; got None"),
        ({"structure": "PTV", "kind": 3}, "kind must be given as text; got 3"),
        ({"structure": "PTV", "kind": "mean", "constraint": 1}, "constraint must be true or false; got 1"),
        ({"structure": "PTV", "kind": "mean", "priority": "9"}, r"PTV \(mean\): priority must be a number; got '9'"),
        ({"structure": "PTV", "kind": "mean", "priority": None}, "priority must be a number; got None"),
        ({"structure": "PTV", "kind": "mean_upper", "dose_gy": [3]}, r"dose_gy must be a number; got \[3\]"),
    ],
)
def test_dictionary_refused(content: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Objective.from_dict(content)
