"""The two cards of Varian Medical Affairs beside the project: read wholly, written back, scored on a phantom."""

import json
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import Grid, PatientCase
from dosewright.scorecards import ScoreCard, ScoreItem, Scorer, read_score_card, write_plan_score_card

SHARED = Path(__file__).resolve().parents[3] / "shared"
CARDS = {
    "SC_Lung(60Gy)_2022MAAS_ExampleV2.json": (20, 65, 120.0, 60.0),
    "SC_ProstateSBRT-ARTIA-V1.2(KBPModel).json": (36, 106, 246.0, 40.0),
}
pytestmark = pytest.mark.shared

GRID = Grid((40, 60, 60), (2.5, 2.5, 3.0))


@pytest.fixture(params=sorted(CARDS))
def path(request: pytest.FixtureRequest) -> Path:
    found = SHARED / "data" / "scorecards" / str(request.param)
    if not found.exists():
        pytest.skip("the scorecards are not beside the project (../shared/data/scorecards)")
    return found


@pytest.fixture
def card(path: Path) -> ScoreCard:
    return read_score_card(path)


def ball(center_zyx: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    axes = (np.arange(n) * s for n, s in zip(GRID.shape_zyx, GRID.spacing_zyx_mm, strict=True))
    z, y, x = np.meshgrid(*axes, indexing="ij")
    middle = np.array(center_zyx) * GRID.spacing_zyx_mm
    return (z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2 <= radius_mm**2


def phantom_of(card: ScoreCard) -> tuple[PatientCase, dict[str, str]]:
    """A sphere of a patient with a sphere for every structure the card is about, and the names that tell which."""
    body = ball((19.5, 29.5, 29.5), 58.0)
    masks = {"PTV": ball((19.5, 29.5, 29.5), 15.0), "CTV": ball((19.5, 29.5, 29.5), 10.0)}
    names = {}
    others = [item.name for item in card.items if item.expression is None and item.name not in masks]
    for number, name in enumerate(dict.fromkeys(others)):
        angle = 0.6 * number
        masks[f"OAR_{number}"] = ball((19.5, 29.5 + 12 * np.sin(angle), 29.5 + 12 * np.cos(angle)), 9.0)
        names[name] = f"OAR_{number}"
    assert card.prescription_gy is not None
    far_mm = np.sqrt(
        ((np.indices(GRID.shape_zyx).T - [19.5, 29.5, 29.5]) ** 2 * np.square(GRID.spacing_zyx_mm)).sum(-1)
    ).T
    dose = 1.05 * card.prescription_gy * np.exp(-(np.maximum(far_mm - 16.0, 0.0) ** 2) / 400.0)
    case = PatientCase(
        case_id="phantom",
        grid=GRID,
        ct_hu=np.where(body, 0, -1000).astype(np.int16),
        body=body,
        structures=masks,
        prescription_gy={"PTV": card.prescription_gy},
        dose_gy=dose.astype(np.float32),
    )
    return case, names


def test_the_card_is_read_wholly(path: Path, card: ScoreCard) -> None:
    items, points, maximum, prescription_gy = CARDS[path.name]
    assert (len(card.items), sum(len(item.curve.points) for item in card.items)) == (items, points)
    assert (card.maximum, card.prescription_gy) == (pytest.approx(maximum), prescription_gy)
    assert all(item.metric.kind != "undefined" for item in card.items)


def test_the_card_survives_the_round_trip(path: Path, card: ScoreCard, tmp_path: Path) -> None:
    again = write_plan_score_card(tmp_path / "again.json", card)
    assert json.loads(again.read_text()) == json.loads(path.read_bytes())
    assert read_score_card(again) == card


def test_the_card_scores_a_phantom_plan(card: ScoreCard) -> None:
    case, names = phantom_of(card)
    report = Scorer(card, case, names)(case.dose_gy)
    assert [entry.reason for entry in report.items if entry.reason] == []
    assert report.maximum == report.card_maximum == card.maximum
    assert report.total == pytest.approx(sum(entry.item.curve.score(entry.value) for entry in report.items))
    full = [e for e in report.items if e.item.structure == "PTV" and e.item.metric.output_unit == "%"]
    assert [entry.value for entry in full] == [100.0] * len(full)


def naive_value(item: ScoreItem, dose: np.ndarray, mask: np.ndarray, prescription_gy: float) -> float:
    """The three metric types the cards use, by numpy."""
    metric, voxels = item.metric, np.sort(dose[mask].astype(float))
    assert metric.input_value is not None
    if metric.kind == "mean_dose":
        return float(voxels.mean())
    if metric.kind == "dose_at_volume" and metric.input_unit == "%":
        return float(np.percentile(voxels, 100 - metric.input_value))
    if metric.kind == "dose_at_volume":
        hottest = metric.input_value / GRID.voxel_volume_cc
        return float(np.interp(max(hottest, 1.0), np.arange(1, voxels.size + 1), voxels[::-1]))
    threshold = metric.input_value * (prescription_gy / 100 if metric.input_unit == "%" else 1.0)
    share = float((voxels >= threshold).mean())
    return share * (100.0 if metric.output_unit == "%" else voxels.size * GRID.voxel_volume_cc)


def test_every_value_on_the_phantom_is_numpy_s(card: ScoreCard) -> None:
    case, names = phantom_of(card)
    scorer = Scorer(card, case, names)
    assert case.dose_gy is not None
    assert card.prescription_gy is not None
    for bound, entry in zip(scorer.bound, scorer(case.dose_gy).items, strict=True):
        assert bound.mask is not None
        expected = naive_value(entry.item, case.dose_gy, bound.mask, card.prescription_gy)
        assert entry.value == pytest.approx(expected, rel=1e-6, abs=1e-6), entry.item.describe()


def test_without_a_dose_coverage_scores_nothing_and_sparing_all(card: ScoreCard) -> None:
    case, names = phantom_of(card)
    report = Scorer(card, case, names)(np.zeros(GRID.shape_zyx))
    for entry in report.items:
        rising = entry.item.curve.score(-1e9) < entry.item.curve.score(1e9)
        assert entry.score == (0.0 if rising else entry.item.maximum)


def test_structures_that_are_not_there_are_listed(card: ScoreCard) -> None:
    case, names = phantom_of(card)
    report = Scorer(card, case)(case.dose_gy)
    lost = set(names) | {item.name for item in card.items if item.expression and "Urethra" in item.expression}
    assert set(report.missing) == lost
    assert len(report.unscored) == sum(item.name in lost for item in card.items)
    assert report.card_maximum - report.maximum == pytest.approx(sum(i.maximum for i in card.items if i.name in lost))
