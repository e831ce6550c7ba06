"""PatientCase: beams that fit the technique, targets and dose masks that lie in the patient."""

from dataclasses import replace

import numpy as np
import pytest

from dosewright.core import Beam, CaseError, PatientCase

PHOTON, PROTON = Beam(0.0), Beam(90.0, modality="proton")


@pytest.fixture
def outside(case: PatientCase) -> np.ndarray:
    """Two voxels outside the body."""
    mask = np.zeros_like(case.body)
    mask[0, 0, :2] = True
    return mask


@pytest.mark.parametrize(
    ("technique", "beams", "rule"),
    [
        ("proton", (PHOTON,), "must all be proton beams for proton; got"),
        ("IMRT", (PROTON,), "must all be photon beams for IMRT; got"),
        ("VMAT", (PHOTON, PROTON), "must all be photon beams for VMAT; got"),
    ],
)
def test_beams_of_another_modality_than_the_technique_are_refused(
    case: PatientCase, technique: str, beams: tuple[Beam, ...], rule: str
) -> None:
    with pytest.raises(CaseError, match="beams " + rule):
        replace(case, technique=technique, beams=beams)


def test_protons_and_no_beams_at_all_fit(case: PatientCase) -> None:
    assert replace(case, technique="proton", beams=(PROTON,)).beams == (PROTON,)
    assert replace(case, technique="proton", beams=()).beams == ()


def test_a_dose_mask_outside_the_body_is_refused(case: PatientCase, outside: np.ndarray) -> None:
    with pytest.raises(CaseError, match="dose_mask must overlap the body; got '0 voxels in common'"):
        replace(case, dose_mask=outside)


def test_a_prescribed_target_must_lie_in_the_body_or_the_dose_mask(case: PatientCase, outside: np.ndarray) -> None:
    structures = {**case.structures, "PTV_Low": outside}
    with pytest.raises(CaseError, match="PTV_Low must overlap the body or the dose mask; got '0 voxels in common'"):
        replace(case, structures=structures)
    scored = replace(case, structures=structures, dose_mask=outside | case.body)
    assert scored.targets == ("PTV_High", "PTV_Low")
    unprescribed = replace(case, structures=structures, prescription_gy={"PTV_High": 70.0})
    assert unprescribed.targets == ("PTV_High",)
