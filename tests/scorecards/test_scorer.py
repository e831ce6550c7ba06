import dataclasses
import math

import numpy as np
import pytest
from scorecard_samples import BODY, GRID, MASKS, RISING, card_of, item_of, phantom, random_dose

from dosewright.core import GridMismatchError, InputError
from dosewright.scorecards import Curve, Metric, ScorePoint, Scorer, measure

MEAN = Metric("mean_dose", output_unit="Gy")
FALLING = Curve((ScorePoint(0.0, 10.0), ScorePoint(70.0, 3.0)))  # 10 − d / 10


def test_a_report_by_hand() -> None:
    dose = np.where(MASKS["PTV"], 60.0, 20.0)
    dose[MASKS["CTV"]] = 50.0  # 8 of 48 voxels
    items = (
        item_of("PTV", Metric("volume_at_dose", 60.0, "Gy", "%")),
        item_of("PTV", Metric("volume_at_dose", 83.0, "%", "%")),
        item_of("SPINAL_CORD", MEAN, FALLING),
        item_of("Heart", MEAN, FALLING),
        item_of("PTV", Metric("volume_of_regret", 20.0, "Gy", "CC"), Curve((ScorePoint(0, 4), ScorePoint(10, 0)))),
        item_of("PTV", MEAN, Curve(())),
    )
    report = Scorer(card_of(*items), phantom())(dose)
    outside_cc = int((BODY & ~MASKS["PTV"]).sum()) * 0.03
    assert [entry.value for entry in report.items] == [
        pytest.approx(100 * 40 / 48),
        100.0,
        20.0,
        None,
        pytest.approx(outside_cc),
        pytest.approx((40 * 60 + 8 * 50) / 48),
    ]
    assert [entry.score for entry in report.items] == [0.0, 10.0, 8.0, None, pytest.approx(4 - 0.4 * outside_cc), None]
    assert [entry.reason for entry in report.items][3:] == [
        "the case has no structure Heart",
        "",
        "the card has no score points",
    ]
    assert report.total == pytest.approx(22 - 0.4 * outside_cc)
    assert (report.maximum, report.card_maximum, report.missing) == (34.0, 44.0, ("Heart",))
    assert [entry.item.structure for entry in report.unscored] == ["Heart", "PTV"]
    assert [entry.structure for entry in report.items] == ["PTV", "PTV", "SpinalCord", None, "PTV", "PTV"]


def test_it_agrees_with_measure_for_every_structure_and_repeats() -> None:
    metrics = (MEAN, Metric("dose_at_volume", 0.1, "CC", "%"), Metric("conformation_number", 50.0, "%"))
    items = tuple(item_of(name, metric) for name in (*MASKS, "BODY") for metric in metrics)
    scorer = Scorer(card_of(*items), phantom())
    for seed in (0, 1):
        dose = random_dose(seed, np.float32)
        report = scorer(dose)
        assert report == scorer(dose)
        for entry in report.items:
            mask = MASKS.get(entry.item.structure, BODY)
            direct = measure(entry.item.metric, dose, mask, GRID, prescription_gy=60.0, body=BODY)
            assert entry.value == pytest.approx(direct, rel=1e-6)
            assert entry.score == entry.item.curve.score(entry.value or 0.0)
    assert {entry.structure for entry in report.items} == {*MASKS, "External"}


def test_names_map_to_structures_and_expressions() -> None:
    items = (item_of("Target", MEAN), item_of("Ring", MEAN), item_of("Glands", MEAN), item_of("Lost", MEAN))
    names = {"target": "CTV", "Ring": "(CTV + 6mm) - CTV", "Glands": "Parotid_L | Parotid_R", "Lost": "Lung_L"}
    scorer = Scorer(card_of(*items), phantom(), names)
    assert [bound.structure for bound in scorer.bound] == ["CTV", "(CTV + 6mm) - CTV", "Parotid_L | Parotid_R", None]
    assert scorer.bound[3].reason == "the case has no structure Lung_L, which Lost = Lung_L needs"
    assert scorer.missing == ("Lost",)
    dose = random_dose()
    both = dose[MASKS["Parotid_L"] | MASKS["Parotid_R"]].mean()
    assert scorer(dose).items[2].value == pytest.approx(both)


def test_expressions_of_the_card() -> None:
    def bound(structure: str, expression: str | None, names: dict[str, str] | None = None) -> object:
        item = item_of(structure, MEAN, expression=expression)
        return Scorer(card_of(item), phantom(), names).bound[0]

    ring = bound("PTV Ring", "{<ptv>|6} SUB {<CTV>}")
    assert (ring.structure, ring.reason) == ("(PTV + 6mm) - CTV", "")  # type: ignore[attr-defined]
    rind = bound("Body Ring", "{<Body>} SUB {<Body>|-4}")
    assert rind.structure == "External - (External - 4mm)"  # type: ignore[attr-defined]
    assert rind.mask.sum() < BODY.sum()  # type: ignore[attr-defined]
    own = bound("CTV", "{<PTV>} SUB {<CTV>}")  # a structure of the case comes before the expression
    assert own.structure == "CTV"  # type: ignore[attr-defined]
    mapped = bound("X", "{<Lungs>} SUB {<GTV>}", {"Lungs": "Parotid_L | Parotid_R", "GTV": "CTV"})
    assert mapped.structure == "(Parotid_L | Parotid_R) - CTV"  # type: ignore[attr-defined]
    lost = bound("X", "{<PTV>} SUB {<Urethra>} SUB {<Ovary_L>}")
    assert lost.structure is None  # type: ignore[attr-defined]
    assert lost.reason == "the case has no structure Urethra, Ovary_L, which X = PTV - Urethra - Ovary_L needs"  # type: ignore[attr-defined]
    empty = bound("X", "{<CTV>} SUB {<PTV>}")
    assert (empty.structure, empty.mask) == ("CTV - PTV", None)  # type: ignore[attr-defined]
    assert empty.reason == "CTV - PTV has no voxel"  # type: ignore[attr-defined]
    broken = bound("X", "{<CTV>} NOT {<PTV>}")
    assert broken.reason.startswith("StructureComment must have AND, OR, SUB or XOR here")  # type: ignore[attr-defined]


def test_a_template_name_stands_in_and_no_name_is_said() -> None:
    items = (
        item_of("", MEAN, template_structure="Spinal Cord"),
        item_of("Cord_1", MEAN, template_structure="SpinalCord"),
    )
    assert [bound.structure for bound in Scorer(card_of(*items), phantom()).bound] == ["SpinalCord", "SpinalCord"]
    nameless = Scorer(card_of(item_of(" ", MEAN)), phantom())
    assert nameless.bound[0].reason == "the card names no structure"
    unclear = phantom({**MASKS, "Oral_Cavity": MASKS["CTV"], "OralCavity": MASKS["CTV"]})
    report = Scorer(card_of(item_of("ORAL CAVITY", MEAN)), unclear)(random_dose())
    assert report.items[0].reason.startswith("ORAL CAVITY must fit one structure; say which in `names`")


def test_metrics_that_cannot_be_measured_have_a_reason() -> None:
    items = (
        item_of("PTV", Metric("undefined", source_name="gEUD")),
        item_of("PTV", Metric("mean_dose", output_unit="%")),
    )
    report = Scorer(card_of(*items, fractions=None), phantom())(random_dose())
    assert [entry.reason for entry in report.items] == [
        "metric type is not one this package knows (gEUD)",
        "prescription must be known for a dose in %: dose per fraction × fractions",
    ]
    assert (report.total, report.maximum, report.card_maximum, report.missing) == (0, 0, 20.0, ())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scaling_the_dose_is_scoring_the_scaled_dose(dtype: type) -> None:
    metrics = (MEAN, Metric("volume_at_dose", 50.0, "Gy", "CC"), Metric("volume_of_regret", 50.0, "%", "CC"))
    card = card_of(*(item_of("PTV", metric, FALLING) for metric in metrics))
    dose = random_dose(4, dtype)
    scaled = Scorer(card, phantom(), dose_scale=1.25)(dose)
    by_hand = Scorer(card, phantom())(dose * dtype(1.25))
    assert [entry.value for entry in scaled.items] == [entry.value for entry in by_hand.items]
    assert scaled.items[0].value == pytest.approx(
        1.25 * float(Scorer(card, phantom())(dose).items[0].value or 0), rel=1e-6
    )


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_scales_must_be_positive(scale: float) -> None:
    with pytest.raises(InputError, match="dose_scale must be positive and finite"):
        Scorer(card_of(), phantom(), dose_scale=scale)


def test_doses_that_do_not_fit_are_refused() -> None:
    scorer = Scorer(card_of(item_of("PTV", MEAN)), phantom())
    with pytest.raises(GridMismatchError, match="dose_gy must have the grid's shape"):
        scorer(random_dose()[:, :, :4])
    with pytest.raises(InputError, match="dose_gy must be finite; got '1 voxels NaN or infinite'"):
        scorer(np.where(np.arange(480).reshape(GRID.shape_zyx) == 7, np.nan, 1.0))
    with pytest.raises(InputError, match="dose_gy must be an array of floats"):
        scorer(np.ones(GRID.shape_zyx, np.int16))


def test_an_empty_card_scores_nothing() -> None:
    report = Scorer(card_of(), phantom())(random_dose())
    assert (report.items, report.total, report.maximum, report.card_maximum, report.missing) == ((), 0, 0, 0, ())


def test_cards_are_values() -> None:
    item = item_of("PTV", MEAN, RISING, extra={"a": 1})
    assert dataclasses.replace(item) == item
    assert dataclasses.replace(item, rank=2) != item
    assert len({item, dataclasses.replace(item)}) == 1
