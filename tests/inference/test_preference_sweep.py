import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dosewright.core import InputError, PatientCase
from dosewright.core.preference import PreferenceSpace
from dosewright.dose.case_dose import CaseDose
from dosewright.inference.predictor import Predictor
from dosewright.inference.preference import Preference, common_space, vector_of
from dosewright.inference.preference_behaviour import Response, coverages, leakages, responses, spearman
from dosewright.inference.preference_sweep import CaseSweep, Sweep, measure, sweep_case
from slider_net import SliderNet, slider_case, slider_model

SPACE = PreferenceSpace("per_group")
NEUTRAL = (1.0,) * 5
SWEEP = Sweep(SPACE, [1.2, 1.0, 0.8], [0.75, 1.0, 1.5], per_group=True)
ABOUT = {"rel": 1e-4, "abs": 1e-5}  # doses are float32


@pytest.fixture(scope="module")
def swept() -> CaseSweep:
    return sweep_case(Predictor([slider_model(SliderNet())], flip=False), slider_case(), SWEEP)


@pytest.fixture(scope="module")
def found(swept: CaseSweep) -> dict[tuple[str, str, str], Response]:
    return {(r.slider, r.structure, r.index): r for r in responses(SWEEP, [swept])}


def test_settings_are_the_axes_through_neutral_each_once() -> None:
    assert SWEEP.sparing == (0.8, 1.0, 1.2)
    assert len(SWEEP.vectors) == 1 + 2 + 2 + 4 * 2
    assert SWEEP.vectors[0] == NEUTRAL
    assert SWEEP.series["sparing"][0] == (0.8, (0.8, 0.8, 0.8, 0.8, 1.0))
    assert SWEEP.series["neural"] == tuple((w, (1.0, w, 1.0, 1.0, 1.0)) for w in (0.8, 1.0, 1.2))
    assert SWEEP.series["homogeneity"] == tuple((h, (*NEUTRAL[:4], h)) for h in (0.75, 1.0, 1.5))
    assert list(SWEEP.series) == ["sparing", "homogeneity", "salivary", "neural", "swallowing", "rest"]
    one = Sweep(PreferenceSpace("global"), [0.8, 1.2], [0.75, 1.5], per_group=True, grid=True)
    assert list(one.series) == ["sparing", "homogeneity"]
    corners = {(w, h) for w in (0.8, 1.2) for h in (0.75, 1.5)}
    assert set(one.vectors) == corners | {(1.0, 1.0), (0.8, 1.0), (1.2, 1.0), (1.0, 0.75), (1.0, 1.5)}


@pytest.mark.parametrize(
    ("sparing", "homogeneity", "message"),
    [
        ([0.7, 1.0], [1.0, 1.5], r"sparing must be in \[0.8, 1.2\], the net's slider; got 0.7"),
        ([0.8, 1.0], [1.0, 1.6], r"homogeneity must be in \[0.75, 1.5\], the net's slider; got 1.6"),
        ([0.8, math.nan], [1.0, 1.5], "sparing must be in .* got nan"),
        ([0.8, 0.8], [1.0, 1.5], "sparing must hold at least two different values"),
        ([0.8, 1.0], [], "homogeneity must hold at least two different values"),
    ],
)
def test_settings_outside_the_sliders_are_refused(sparing: list, homogeneity: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sweep(SPACE, sparing, homogeneity)


def test_indices_are_those_of_the_known_dose(swept: CaseSweep) -> None:
    for vector, measures in swept.measures.items():
        *sparing, h = vector
        a = 2 * h - 3 * (sum(sparing) / 4 - 1)
        for name, rx in (("PTV_High", 70.0), ("PTV_Low", 56.0)):
            expected = {"D98": rx - a, "D95": rx - a, "D2": rx + a, "Dmean": rx, "HI": 2 * a / rx}
            assert measures[name] == pytest.approx(expected, **ABOUT)
        parotid, cord = 30 * sparing[0] + 2 * (sparing[1] - 1), 20 * sparing[1] + 4 * (h - 1)
        for name, dose in (("Parotid_L", parotid), ("Parotid_R", parotid), ("SpinalCord", cord)):
            assert measures[name] == pytest.approx(
                {"Dmean": dose, "D0.1cc": dose, "Dmean outside targets": dose}, **ABOUT
            )
        assert measures["Larynx"]["Dmean"] == pytest.approx(70.0, **ABOUT)
        assert "Dmean outside targets" not in measures["Larynx"]
    assert swept.outside_percent == {"Parotid_L": 100, "Parotid_R": 100, "SpinalCord": 100, "Larynx": 0}
    assert list(swept.prescription_gy.items()) == [("PTV_High", 70.0), ("PTV_Low", 56.0)]
    case = slider_case()
    assert swept.reference is not None
    assert case.dose_gy is not None
    mean = case.dose_gy[case.structures["Parotid_L"]].mean()
    assert swept.reference["Parotid_L"]["Dmean"] == pytest.approx(float(mean), rel=1e-5)


def test_the_mean_outside_targets_leaves_out_their_voxels(case: PatientCase) -> None:
    overlapping = case.structures["Parotid_L"].copy()
    overlapping[5:9, 8:12, 12] = True  # a column of PTV_High
    case = replace(case, structures=dict(case.structures) | {"Parotid_L": overlapping})
    spared = ~(case.structures["PTV_High"] | case.structures["PTV_Low"])
    dose_gy = np.where(spared, 10.0, 50.0).astype(np.float32)
    found = measure(CaseDose.of(case, dose_gy), spared)["Parotid_L"]
    assert found["Dmean outside targets"] == pytest.approx(10.0)
    assert found["Dmean"] == pytest.approx((48 * 10.0 + 16 * 50.0) / 64)


def test_an_index_that_is_not_defined_has_no_response(case: PatientCase) -> None:
    class Cold(SliderNet):
        def forward(self, image: torch.Tensor, preference=None, plan=None) -> torch.Tensor:  # type: ignore[no-untyped-def]
            return torch.zeros(1, 1, *image.shape[2:])

    cold = sweep_case(Predictor([slider_model(Cold())], flip=False), case, SWEEP)
    assert "HI" not in cold.measures[NEUTRAL]["PTV_High"]
    assert {r.index for r in responses(SWEEP, [cold]) if r.structure == "PTV_High"} == {"D98", "D95", "D2", "Dmean"}
    assert {(c.neutral, c.from_neutral) for c in coverages(SWEEP, [cold])} == {(100.0, None)}


def test_plain_data_gives_the_same_results_back(swept: CaseSweep) -> None:
    import json

    assert CaseSweep.from_plain(json.loads(json.dumps(swept.to_plain()))) == swept


def test_ranges_and_monotonicity_are_the_closed_forms(found: dict[tuple[str, str, str], Response]) -> None:
    changes = {
        ("sparing", "Parotid_L", "Dmean"): (0.4 * 32.0, 1.0),
        ("sparing", "SpinalCord", "Dmean"): (0.4 * 20.0, 1.0),
        ("sparing", "Larynx", "Dmean"): (0.0, 0.0),
        ("sparing", "PTV_High", "HI"): (-2 * 3 * 0.4 / 70, -1.0),
        ("sparing", "PTV_Low", "HI"): (-2 * 3 * 0.4 / 56, -1.0),
        ("sparing", "PTV_High", "Dmean"): (0.0, 0.0),
        ("homogeneity", "PTV_High", "HI"): (2 * 2 * 0.75 / 70, 1.0),
        ("homogeneity", "Parotid_L", "Dmean"): (0.0, 0.0),
        ("homogeneity", "SpinalCord", "Dmean"): (4 * 0.75, 1.0),
        ("salivary", "Parotid_R", "Dmean"): (0.4 * 30.0, 1.0),
        ("salivary", "SpinalCord", "Dmean"): (0.0, 0.0),
        ("salivary", "PTV_High", "HI"): (-2 * 3 * 0.1 / 70, -1.0),
        ("neural", "Parotid_R", "Dmean"): (0.4 * 2.0, 1.0),
        ("rest", "PTV_High", "D95"): (3 * 0.1, 1.0),
    }
    for key, (change, correlation) in changes.items():
        response = found[key]
        assert response.change == pytest.approx(change, rel=1e-3, abs=1e-4), key
        assert response.span == pytest.approx(abs(change), rel=1e-3, abs=1e-4), key
        assert response.spearman == correlation, key
    assert found["sparing", "Parotid_L", "Dmean"].follows
    assert found["sparing", "PTV_High", "HI"].follows  # it ought to fall
    assert found["homogeneity", "PTV_High", "HI"].follows
    assert not found["sparing", "Larynx", "Dmean"].follows
    assert not found["homogeneity", "SpinalCord", "Dmean"].follows  # nothing is expected there


def test_spearman_is_that_of_ranks_and_zero_for_a_constant() -> None:
    settings = [0.8, 0.9, 1.0, 1.1, 1.2]
    assert spearman(settings, [1.0, 2.0, 3.0, 5.0, 4.0]) == 0.9  # 1 − 6·2 / (5·24), not a little below
    assert spearman(settings, [5.0, 4.0, 3.0, 2.0, -9.0]) == -1.0
    assert spearman(settings, [7.0] * 5) == 0.0
    ramp = [1e-4 * i for i in range(5)]
    assert spearman(settings, ramp) == 1.0
    assert spearman(settings, ramp, still=1e-3) == 0.0
    ranks = [1.0, 2.5, 2.5, 4.0, 5.0]  # ties share their mean rank
    assert spearman(settings, [0.0, 1.0, 1.0, 2.0, 3.0]) == pytest.approx(np.corrcoef(range(5), ranks)[0, 1])


def test_leakage_is_what_the_other_axes_move(found: dict[tuple[str, str, str], Response]) -> None:
    table = {leak.slider: leak for leak in leakages(SPACE, list(found.values()), {"case_1": "PTV_High"})}
    salivary, neural, homogeneity = table["salivary"], table["neural"], table["homogeneity"]
    assert salivary.own_span_gy == pytest.approx(12.0, rel=1e-4)
    assert salivary.other_span_gy == pytest.approx(0.0, abs=1e-4)  # cord and larynx
    assert salivary.hi_ratio == pytest.approx((3 * 0.1) / (2 * 0.75), rel=1e-3)
    assert salivary.d95_span_gy == pytest.approx(0.3, rel=1e-3)
    assert salivary.d95_ratio == pytest.approx(0.2, rel=1e-3)
    assert salivary.target_mean_span_gy == pytest.approx(0.0, abs=1e-4)
    assert salivary.target_mean_ratio is None  # homogeneity does not move the mean either
    assert neural.own_span_gy == pytest.approx(8.0, rel=1e-4)
    assert neural.other_span_gy == pytest.approx(0.8, rel=1e-3)  # median of 0.8, 0.8 and the larynx's 0
    assert neural.other_ratio == pytest.approx(0.8 / 12.8, rel=1e-3)
    assert homogeneity.own_span_gy is None
    assert homogeneity.other_ratio == pytest.approx(0.0, abs=1e-4)  # parotids 0, cord 3 / 8
    assert homogeneity.hi_ratio == pytest.approx(1.0)
    assert table["sparing"].hi_ratio == pytest.approx(1.2 / 1.5, rel=1e-3)


def test_coverage_is_the_worst_setting(swept: CaseSweep) -> None:
    high, low = coverages(SWEEP, [swept])
    for coverage, rx in ((high, 70.0), (low, 56.0)):
        assert coverage.sweep == pytest.approx(100 * 3 / rx, rel=1e-3)  # homogeneity 1.5
        assert coverage.neutral == pytest.approx(100 * 2 / rx, rel=1e-3)
        assert coverage.from_neutral == pytest.approx(100 * 1 / (rx - 2), rel=1e-3)
    assert swept.reference is not None
    assert high.reference is not None
    assert high.reference == pytest.approx(100 * (1 - swept.reference["PTV_High"]["D95"] / 70))
    assert coverages(SWEEP, [replace(swept, reference=None)])[0].reference is None


def test_every_setting_is_watched_and_the_input_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import dosewright.inference.predictor as predictor_module

    made, seen = [], []
    make = predictor_module.make_sample
    monkeypatch.setattr(predictor_module, "make_sample", lambda *a: made.append(1) or make(*a))
    net = SliderNet()
    sweep_case(Predictor([slider_model(net)], flip=False), slider_case(), SWEEP, lambda v, d: seen.append((v, d)))
    assert len(made) == 1
    assert len(net.calls) == 13
    assert [vector for vector, _ in seen] == list(SWEEP.vectors)
    assert all(isinstance(doses, CaseDose) for _, doses in seen)


def test_sliders_must_be_shared_and_there() -> None:
    one, two = slider_model(SliderNet(), Path("a.ckpt")), slider_model(SliderNet("global"), Path("b.ckpt"))
    assert common_space([one, one]) == SPACE
    with pytest.raises(InputError, match=r"b\.ckpt: sliders must be those of the other nets"):
        common_space([one, two])
    plain = slider_model(nn.Identity(), Path("plain.ckpt"))
    with pytest.raises(InputError, match=r"plain\.ckpt: net must have preference sliders; got .*Identity"):
        common_space([plain])
    with pytest.raises(InputError, match="models must hold at least one model"):
        common_space([])
    with pytest.raises(InputError, match=r"plain\.ckpt: preference must not be given: this net has no"):
        vector_of(plain, Preference(0.9))
    assert vector_of(plain, None) is None


def test_a_preference_becomes_each_nets_own_vector() -> None:
    asked = Preference(0.9, 1.1)
    assert asked.vector(SPACE) == (0.9, 0.9, 0.9, 0.9, 1.1)
    assert asked.vector(PreferenceSpace("global")) == (0.9, 1.1)
    assert Preference(1, groups={"rest": 0.8}).vector(SPACE) == (1.0, 1.0, 1.0, 0.8, 1.0)
    assert Preference.of(SPACE, (0.8, 0.9, 1.0, 1.1, 1.2)).vector(SPACE) == (0.8, 0.9, 1.0, 1.1, 1.2)
    model = slider_model(SliderNet("global"), Path("b.ckpt"))
    with pytest.raises(InputError, match=r"b.ckpt: sparing must name some of \('oars',\); got \['rest'\]"):
        vector_of(model, Preference(groups={"rest": 0.8}))
    with pytest.raises(InputError, match=r"b.ckpt: preference oars must be in \[0.8, 1.2\]; got 0.5"):
        vector_of(model, Preference(0.5))
