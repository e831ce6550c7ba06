"""The challenge's container without a container: its entry point in a clean environment, on folders of its own."""

import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases import make_case
from dosewright.core import CaseError
from dosewright.inference.predictor import Predictor
from dosewright.inference.weights import load_model
from dosewright.io.gdp_hmm import GdpHmmReader
from dosewright.submission import gdp_hmm_entry
from gdp_hmm_files import hostile, write_plans

ROOT = Path(__file__).resolve().parents[2]
SHAPES = {"P1+9Ag+MOS_1": (16, 20, 24), "P2+2Ac+MOS_2": (18, 22, 26)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """As the challenge mounts it: no dose, and a table of the test phase."""
    cases = [replace(make_case(plan, shape=shape), dose_gy=None) for plan, shape in SHAPES.items()]
    folder = write_plans(tmp_path / "data", *cases)
    (folder / "meta_data.csv").rename(folder / "meta_data_test.csv")
    return folder


def test_every_plan_gets_its_dose_at_its_own_shape(data: Path, tmp_path: Path, weights: Path) -> None:
    predictor = Predictor([load_model(weights)], flip=False)
    result = gdp_hmm_entry.run(data, tmp_path / "results", predictor)
    assert (set(result.seconds), result.failed) == (set(SHAPES), {})
    reader = GdpHmmReader(data, None, meta_data=data / "meta_data_test.csv")
    for plan in SHAPES:
        dose = np.load(tmp_path / "results" / f"{plan}_pred.npy")
        np.testing.assert_allclose(dose, predictor.predict(reader.read(plan)), rtol=1e-5, atol=1e-5)


def test_a_plan_that_fails_costs_no_other_and_is_named(
    data: Path, tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hostile(data / "P1+9Ag+MOS_1.npz", b"\x80\x04cos\nsystem\n\x8c\x06exit 1\x85R.")
    options = [f"--data={data}", f"--results={tmp_path / 'results'}", f"--weights={weights}", "--device=cpu"]
    with caplog.at_level(logging.INFO):
        assert gdp_hmm_entry.main(options) == 1
    assert "P1+9Ag+MOS_1 has no dose" in caplog.text
    assert "os.system" in caplog.text
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["P2+2Ac+MOS_2_pred.npy"]
    (data / "P2+2Ac+MOS_2.npz").unlink()
    with caplog.at_level(logging.INFO):
        assert gdp_hmm_entry.main(options) == 1
    assert "P2+2Ac+MOS_2 has no dose: its file is not there" in caplog.text


def test_a_folder_without_the_table_is_refused(
    data: Path, tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "meta_data_test.csv").unlink()
    predictor = Predictor([load_model(weights)], flip=False)
    with pytest.raises(CaseError, match=r"data must hold meta_data_test\.csv"):
        gdp_hmm_entry.run(data, tmp_path, predictor)
    options = [f"--data={data}", f"--results={tmp_path}", f"--weights={weights}", "--device=cpu"]
    assert gdp_hmm_entry.main(options) == 1
    assert "data must hold meta_data_test.csv" in caplog.text


@pytest.mark.skipif(shutil.which("sh") is None, reason="the entry point is a shell script")
def test_the_entry_point_runs_in_a_clean_environment(data: Path, tmp_path: Path, weights: Path) -> None:
    """Nothing but the two folders, the weights and the package; no home, no network needed, data read-only."""
    for path in (*data.iterdir(), data):
        path.chmod(0o555 if path.is_dir() else 0o444)
    environment = {
        "PATH": os.defpath,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT / "src"),
        "DOSEWRIGHT_DATA": str(data),
        "DOSEWRIGHT_RESULTS": str(tmp_path / "results"),
        "DOSEWRIGHT_WEIGHTS": str(weights),
        "OMP_NUM_THREADS": "1",
    }
    script = ROOT / "docker" / "gdp_hmm" / "entrypoint.sh"
    command = ["sh", str(script), "--device=cpu", "--precision=bf16", "--flip"]
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    data.chmod(0o755)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 plans predicted, median" in run.stdout
    found = {path.name: np.load(path) for path in (tmp_path / "results").iterdir()}
    assert {name: dose.shape for name, dose in found.items()} == {f"{p}_pred.npy": s for p, s in SHAPES.items()}
    assert all(dose.dtype == np.float32 and 5 < dose.max() < 250 for dose in found.values())


def test_the_dockerfile_copies_what_is_there() -> None:
    lines = (ROOT / "docker" / "gdp_hmm" / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1] if "$" not in name]
    assert {"src", "conf", "pyproject.toml", "constraints.txt", "docker/gdp_hmm/entrypoint.sh"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert 'ENTRYPOINT ["sh", "/app/entrypoint.sh"]' in lines
