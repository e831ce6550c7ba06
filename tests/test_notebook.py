"""The quickstart notebook runs from top to bottom, and its scores are those of its doses."""

import re
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import CheckpointError
from dosewright.inference.predictor import Predictor
from dosewright.inference.weights import default_weights, load_model
from dosewright.planning.phantom_plans import PhantomReader

nbformat = pytest.importorskip("nbformat", reason="needs the notebooks extra")
NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "quickstart.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def pictures(cell) -> list[str]:
    return [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]


def test_the_committed_notebook_is_valid_and_holds_no_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in code_cells(notebook) if cell.outputs or cell.execution_count is not None] == []
    assert notebook.cells[0].source.startswith("# ")


def executed(folder: Path):
    nbclient = pytest.importorskip("nbclient", reason="needs the notebooks extra")
    pytest.importorskip("ipykernel", reason="needs the notebooks extra")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


def test_the_quickstart_runs_and_scores_its_prediction(tmp_path, monkeypatch):
    pytest.importorskip("pyRadPlan", reason="needs the plans extra")
    try:
        weights = default_weights()
    except CheckpointError as error:
        pytest.skip(f"no weights to predict with: {error}")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    cells = {cell.id: cell for cell in code_cells(executed(tmp_path))}
    assert {name: len(pictures(cell)) for name, cell in cells.items() if pictures(cell)} == {
        "slice": 1,
        "slices": 1,
        "curves": 1,
    }
    found = re.findall(r"^(\w+ score) (\S+) Gy$", printed(cells["result"]), re.MULTILINE)
    scores = {name: float(value) for name, value in found}
    assert scores.keys() == {"dose score", "DVH score"}
    assert np.isfinite(list(scores.values())).all()
    assert scores["dose score"] == pytest.approx(plain_dose_score_gy(tmp_path, weights), abs=1e-3)


def plain_dose_score_gy(folder: Path, weights: Path) -> float:
    """Return Σ|Δ| / |mask| in Gy on the notebook's case, its plan taken from the notebook's cache, predicted here."""
    reader = PhantomReader(
        folder / "cache" / "phantoms", count=1, split="test", shape_zyx=(96, 64, 64), spacing_xyz_mm=(3.906, 3.906, 2.5)
    )
    assert reader.missing == ()
    (case,) = reader
    predicted_gy = Predictor([load_model(weights)], flip=True).predict(case)
    return float(np.abs(predicted_gy - case.dose_gy).sum(dtype=float) / case.scored_mask.sum())
