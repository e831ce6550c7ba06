import numpy as np
import pytest
import torch
from scorecard_samples import GRID, MASKS, card_of, item_of, phantom, random_dose

from dosewright.core import InputError
from dosewright.dose import dose_at_volume
from dosewright.scorecards import Metric, ScoreCard, Scorer
from dosewright.scorecards.scaling import scale_to_card, scale_to_coverage


def test_the_scaled_dose_covers_the_target() -> None:
    dose = random_dose()
    dose.flags.writeable = False
    scale = scale_to_coverage(dose, MASKS["PTV"], 60.0, 90.0)
    reached = dose_at_volume(torch.from_numpy(dose * scale), torch.from_numpy(MASKS["PTV"]), 90.0)
    assert float(reached) == pytest.approx(60.0, rel=1e-12)


def test_scaling_to_the_card_makes_its_percent_those_of_the_plan() -> None:
    card = card_of(item_of("PTV", Metric("mean_dose", output_unit="%")))  # 60 Gy
    dose = random_dose()
    scorer = Scorer(card, phantom(), dose_scale=scale_to_card(card, 40.0))
    mean_gy = dose[MASKS["PTV"]].mean()
    assert scorer(dose).items[0].value == pytest.approx(100 * mean_gy / 40.0)


def test_what_cannot_be_scaled_is_refused() -> None:
    none = np.zeros(GRID.shape_zyx)
    with pytest.raises(InputError, match="D95 must be positive and finite"):
        scale_to_coverage(none, MASKS["PTV"], 60.0)
    with pytest.raises(InputError, match="prescription_gy must be positive and finite"):
        scale_to_coverage(random_dose(), MASKS["PTV"], 0.0)
    with pytest.raises(InputError, match="prescription_gy must be positive and finite"):
        scale_to_card(card_of(), -1.0)
    with pytest.raises(InputError, match="card must have a dose per fraction and fractions; got 'c'"):
        scale_to_card(ScoreCard("c", ()), 60.0)
