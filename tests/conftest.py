"""Fixtures shared by all tests: small cases built by hand, and the reference data where it is present."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import Beam, Grid, PatientCase

SHARED = Path(__file__).resolve().parents[2] / "shared"


def make_case(case_id: str = "case_1", *, seed: int = 0, shape: tuple[int, int, int] = (16, 20, 24)) -> PatientCase:
    """A small water box with two targets, a left and a right gland and a random smooth-less dose."""
    rng = np.random.default_rng(seed)
    body = np.zeros(shape, bool)
    body[1:-1, 2:-2, 2:-2] = True

    def box(z: slice, y: slice, x: slice) -> np.ndarray:
        mask = np.zeros(shape, bool)
        mask[z, y, x] = True
        return mask

    structures = {
        "PTV_High": box(slice(5, 9), slice(8, 12), slice(9, 13)),
        "PTV_Low": box(slice(9, 12), slice(8, 12), slice(9, 13)),
        "Parotid_L": box(slice(5, 9), slice(8, 12), slice(17, 20)),
        "Parotid_R": box(slice(5, 9), slice(8, 12), slice(4, 7)),
        "SpinalCord": box(slice(1, 15), slice(14, 16), slice(11, 13)),
    }
    ct = np.where(body, 0, -1000).astype(np.int16)
    dose = np.where(body, rng.uniform(0, 70, shape), 0).astype(np.float32)
    return PatientCase(
        case_id=case_id,
        grid=Grid(shape, (3.0, 3.0, 4.0), (-40.0, -30.0, 5.0)),
        ct_hu=ct,
        body=body,
        structures=structures,
        prescription_gy={"PTV_High": 70.0, "PTV_Low": 56.0},
        beams=tuple(Beam(a) for a in range(0, 360, 40)),
        dose_gy=dose,
    )


@pytest.fixture
def case() -> PatientCase:
    return make_case()


@pytest.fixture(scope="session")
def openkbp_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty real training and ten validation patients in the published layout, unpacked once per session."""
    unpack = SHARED / "data" / "openkbp" / "unpack.py"
    if not unpack.exists():
        pytest.skip("the OpenKBP reference data is not beside the project (../shared/data/openkbp)")
    root = tmp_path_factory.mktemp("openkbp")
    for split, first in (("train-pats", "20"), ("validation-pats", "10")):
        subprocess.run(
            [sys.executable, str(unpack), str(root), "--split", split, "--first", first],
            check=True,
            capture_output=True,
        )
    return root


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
