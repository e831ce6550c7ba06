"""Indices written as text: what is read, what comes back, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dosewright.core import InputError
from dosewright.dose import DoseIndex, IndexKind, homogeneity_index, paddick_ci

ALL = torch.ones(101, dtype=torch.bool)
RAMP = torch.arange(101, dtype=torch.float64)  # 0, 1, …, 100 Gy


@pytest.mark.parametrize(
    ("text", "canonical", "kind", "unit"),
    [
        ("D95", "D95", IndexKind.DOSE_AT_PERCENT, "Gy"),
        ("D95%", "D95", IndexKind.DOSE_AT_PERCENT, "Gy"),
        (" d2.5% [gy] ", "D2.5", IndexKind.DOSE_AT_PERCENT, "Gy"),
        ("D95%[%]", "D95[%]", IndexKind.DOSE_AT_PERCENT, "%"),
        ("D0.1cc", "D0.1cc", IndexKind.DOSE_AT_CC, "Gy"),
        ("D.03CC", "D0.03cc", IndexKind.DOSE_AT_CC, "Gy"),
        ("V20Gy", "V20Gy", IndexKind.VOLUME_AT_GY, "%"),
        ("V20Gy[cc]", "V20Gy[cc]", IndexKind.VOLUME_AT_GY, "cc"),
        ("V95%", "V95%", IndexKind.VOLUME_AT_PERCENT, "%"),
        ("V107% [cc]", "V107%[cc]", IndexKind.VOLUME_AT_PERCENT, "cc"),
        ("Dmean", "Dmean", IndexKind.MEAN, "Gy"),
        ("mean", "Dmean", IndexKind.MEAN, "Gy"),
        ("MAX", "Dmax", IndexKind.MAX, "Gy"),
        ("Dmin[%]", "Dmin[%]", IndexKind.MIN, "%"),
        ("HI", "HI", IndexKind.HOMOGENEITY, ""),
        ("CI", "CI", IndexKind.CONFORMITY, ""),
    ],
)
def test_text_is_read_and_written_back(text: str, canonical: str, kind: IndexKind, unit: str) -> None:
    index = DoseIndex.parse(text)
    assert (index.kind, index.unit, str(index)) == (kind, unit, canonical)
    assert DoseIndex.parse(canonical) == index


@pytest.mark.parametrize(
    "text",
    ["", "D", "V20", "V5cc", "D50Gy", "Dmedian", "V-5Gy", "D95 %%", "DD95", "V20Gy[mm]", "hi5", "D95\n2", "D1e3"],
)
def test_other_text_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(InputError, match=r"index must be a dose-volume index \(D95 or D95%, D0.1cc, V20Gy, V95%"):
        DoseIndex.parse(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("D101", "at most 100 %"),
        ("D0cc", "positive volume in cc"),
        ("D95[cc]", r"must be one of \('Gy', '%'\) for dose at percent volume; got 'cc'"),
        ("V20Gy[Gy]", r"must be one of \('%', 'cc'\) for volume at absolute dose"),
        ("HI[%]", "for homogeneity index"),
    ],
)
def test_numbers_and_units_that_do_not_fit_are_refused(text: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        DoseIndex.parse(text)


def test_building_one_by_hand_is_checked_too() -> None:
    with pytest.raises(InputError, match="value must be None for mean dose; got 5"):
        DoseIndex(IndexKind.MEAN, 5.0)
    with pytest.raises(InputError, match="value must be a finite number, zero or more, for volume at absolute dose"):
        DoseIndex(IndexKind.VOLUME_AT_GY)
    with pytest.raises(InputError, match="finite number"):
        DoseIndex(IndexKind.VOLUME_AT_GY, float("nan"))


NUMBERED = [k for k in IndexKind if k.name.startswith(("DOSE_AT", "VOLUME_AT"))]


@given(st.sampled_from(NUMBERED), st.floats(1e-6, 100), st.booleans())
@settings(deadline=None, max_examples=80)
def test_every_index_survives_the_round_trip(kind: IndexKind, value: float, other_unit: bool) -> None:
    volume = kind in (IndexKind.VOLUME_AT_GY, IndexKind.VOLUME_AT_PERCENT)
    index = DoseIndex(kind, value, ("cc" if volume else "%") if other_unit else "")
    assert DoseIndex.parse(str(index)) == index


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("D95", 5.0),
        ("D95[%]", 10.0),
        ("D2", 98.0),
        ("D1.1cc", 90.0),  # the eleventh hottest voxel of 0.1 cc
        ("V51Gy", 100 * 50 / 101),
        ("V51Gy[cc]", 5.0),
        ("V95%", 100 * 53 / 101),  # 47.5 Gy of 50 Gy: 48 … 100
        ("V200%[cc]", 0.1),
        ("Dmean", 50.0),
        ("Dmean[%]", 100.0),
        ("Dmax", 100.0),
        ("Dmin", 0.0),
        ("HI", 96 / 50),
    ],
)
def test_values_on_a_ramp(text: str, expected: float) -> None:
    index = DoseIndex.parse(text)
    found = index.evaluate(RAMP, ALL, 0.1, prescription_gy=50.0)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_threshold_of_a_prescription_is_exact_in_float64() -> None:
    dose = torch.tensor([53.2], dtype=torch.float64)  # 95 % of 56 Gy, on the threshold
    assert DoseIndex.parse("V95%").evaluate(dose, torch.ones(1, dtype=torch.bool), 0.1, 56.0).item() == 100.0


def test_ratios_are_those_of_the_conformity_module() -> None:
    dose = torch.from_numpy(np.random.default_rng(0).normal(60, 3, (4, 5, 6)))
    target, body = torch.zeros(4, 5, 6, dtype=torch.bool), torch.ones(4, 5, 6, dtype=torch.bool)
    target[1:3, 1:4, 2:5], body[0] = True, False
    assert DoseIndex.parse("HI").evaluate(dose, target, 0.1).item() == homogeneity_index(dose, target).item()
    found = DoseIndex.parse("CI").evaluate(dose, target, 0.1, 60.0, body).item()
    assert found == paddick_ci(dose, target, 60.0, body).item()


@pytest.mark.parametrize("text", ["D95", "D0.3cc", "Dmean", "Dmax", "Dmin", "HI", "D50[%]"])
def test_gradients_match_finite_differences(text: str) -> None:
    dose = torch.from_numpy(np.random.default_rng(1).normal(60, 5, 30)).requires_grad_()
    mask = torch.arange(30) > 4
    assert torch.autograd.gradcheck(lambda d: DoseIndex.parse(text).evaluate(d, mask, 0.1, 60.0), (dose,))


@pytest.mark.parametrize("text", ["V95%", "D95[%]", "CI"])
def test_a_missing_prescription_is_named(text: str) -> None:
    index = DoseIndex.parse(text)
    assert index.needs_prescription
    with pytest.raises(InputError, match="prescription_gy must be given for " + text.replace("[", r"\[")):
        index.evaluate(RAMP, ALL, 0.1)
    with pytest.raises(InputError, match="prescription_gy must be positive and finite; got 0"):
        index.evaluate(RAMP, ALL, 0.1, 0.0)


def test_only_relative_indices_need_a_prescription() -> None:
    assert not any(DoseIndex.parse(t).needs_prescription for t in ("D95", "V20Gy", "V20Gy[cc]", "Dmax", "HI"))


def test_bad_input_to_evaluate_is_refused() -> None:
    with pytest.raises(InputError, match="mask must not be empty"):
        DoseIndex.parse("D95").evaluate(RAMP, ~ALL, 0.1)
    with pytest.raises(InputError, match="voxel_volume_cc must be positive and finite"):
        DoseIndex.parse("V20Gy[cc]").evaluate(RAMP, ALL, 0.0)
    with pytest.raises(InputError, match="region_gy must be given for CI"):
        DoseIndex.parse("CI").of_voxels(RAMP, 0.1, 60.0)
