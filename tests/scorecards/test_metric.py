import pytest

from dosewright.core import InputError
from dosewright.scorecards import Curve, Metric, ScoreCard, ScoreItem, ScorePoint
from dosewright.scorecards.metric import KINDS


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric("max_dose", output_unit="%"), "Dmax [%]"),
        (Metric("dose_at_volume", 95, "%", "Gy"), "D95% [Gy]"),
        (Metric("volume_at_dose", 36.25, "Gy", "CC"), "V36.25Gy [cc]"),
        (Metric("volume", output_unit="CC"), "Volume [cc]"),
        (Metric("homogeneity_index", hi_high=2, hi_low=98, hi_target=60, hi_target_unit="Gy"), "(D2% − D98%) / 60 Gy"),
        (Metric("modified_gradient_index", input_unit="Gy", hi_high=60, hi_low=30), "V30Gy / V60Gy"),
        (Metric("dose_at_subvolume", 0.5, "CC", "Gy"), "D(V − 0.5 cc) [Gy]"),
        (Metric("conformation_number", 95.0, "%"), "conformation number at 95 %"),
        (Metric("undefined", source_name="INTEGRAL_DOSE_ROI"), "INTEGRAL_DOSE_ROI"),
    ],
)
def test_descriptions(metric: Metric, text: str) -> None:
    assert metric.describe() == text


def test_every_kind_has_a_description() -> None:
    assert len({Metric(kind).describe() for kind in KINDS}) == len(KINDS) == 14  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["input_value", "hi_high", "hi_low", "hi_target"])
def test_numbers_must_be_finite(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be finite; got nan"):
        Metric("mean_dose", **{name: float("nan")})


def test_cards_add_up() -> None:
    items = (
        ScoreItem("PTV", Metric("mean_dose"), Curve((ScorePoint(1, 3), ScorePoint(2, 5)))),
        ScoreItem("", Metric("mean_dose"), Curve((ScorePoint(1, 2),)), template_structure="Heart"),
        ScoreItem("PTV", Metric("volume"), Curve(())),
    )
    card = ScoreCard("c", items, dose_per_fraction_gy=8, fractions=5)
    assert (card.maximum, card.prescription_gy, card.structures) == (7.0, 40.0, ("PTV", "Heart"))
    assert items[1].describe() == "Heart Dmean"


@pytest.mark.parametrize(("dose", "fractions"), [(None, 30), (2.0, None), (0.0, 30), (2.0, 0)])
def test_a_card_without_prescription_has_none(dose: float | None, fractions: int | None) -> None:
    assert ScoreCard("c", (), dose_per_fraction_gy=dose, fractions=fractions).prescription_gy is None


def test_a_negative_prescription_is_refused() -> None:
    with pytest.raises(InputError, match=r"dose_per_fraction_gy must be finite and not negative; got -2\.0"):
        ScoreCard("c", (), dose_per_fraction_gy=-2.0)
    with pytest.raises(InputError, match="fractions must be finite and not negative; got -1"):
        ScoreCard("c", (), fractions=-1)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("kind", "gEUD", "kind must be one of min_dose"),
        ("input_unit", "kGy", "input_unit must be one of Gy, cGy, %, CC"),
    ],
)
def test_unknown_words_are_refused(field: str, value: str, rule: str) -> None:
    metric = Metric("volume")
    object.__setattr__(metric, field, value)  # past the checker of types, which tests alone have
    with pytest.raises(InputError, match=rule):
        metric.__post_init__()
