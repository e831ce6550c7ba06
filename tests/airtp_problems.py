"""A scorecard for the hand-made case of the tests."""

from dosewright.core import PatientCase
from dosewright.core.types import FloatVolume
from dosewright.scorecards.score_card import Curve, Metric, ScoreCard, ScoreItem, ScorePoint


def curve(*corners: tuple[float, float]) -> Curve:
    return Curve(tuple(ScorePoint(value, score) for value, score in corners))


COVERED = curve((60.0, 0.0), (97.0, 19.0), (100.0, 20.0))
SPARED = curve((5.0, 20.0), (26.0, 10.0), (40.0, 0.0))

CARD = ScoreCard(
    name="box",
    items=(
        ScoreItem("PTV_High", Metric("volume_at_dose", 70.0, "Gy", "%"), COVERED),
        ScoreItem("PTV_High", Metric("dose_at_volume", 0.03, "CC", "Gy"), curve((72.0, 5.0), (85.0, 0.0))),
        ScoreItem("PTV_Low", Metric("volume_at_dose", 56.0, "Gy", "%"), COVERED),
        ScoreItem("PTV_Low", Metric("volume_at_dose", 58.8, "Gy", "%"), curve((30.0, 7.5), (80.0, 0.0))),
        ScoreItem("Parotid_L", Metric("mean_dose", None, None, "Gy"), SPARED),
        ScoreItem("Parotid_R", Metric("mean_dose", None, None, "Gy"), SPARED),
        ScoreItem("SpinalCord", Metric("dose_at_volume", 0.03, "CC", "Gy"), curve((20.0, 10.0), (60.0, 0.0))),
        ScoreItem("SpinalCord", Metric("volume_at_dose", 30.0, "Gy", "%"), curve((0.0, 5.0), (50.0, 0.0))),
        ScoreItem(
            "Glands-PTV",
            Metric("mean_dose", None, None, "Gy"),
            SPARED,
            expression="{<Parotid_L>} OR {<Parotid_R>} SUB {<PTV_High>}",
        ),
        ScoreItem("Larynx", Metric("mean_dose", None, None, "Gy"), SPARED),
    ),
    dose_per_fraction_gy=2.0,
    fractions=35,
)


def uniform(case: PatientCase, dose_gy: float) -> FloatVolume:
    """One dose in the whole body."""
    return (case.body * dose_gy).astype("float32")
