"""The JSON by hand, and loaded by pyRadPlan where it is installed: its penalty of a dose is then ours."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import EVERY_KIND, HOSTILE, content, line
from objective_samples import MASKS, penalty_of, random_dose

from dosewright.objectives import Objective
from dosewright.objectives.formats.pyradplan import PyRadPlanFormat

(FILE,) = PyRadPlanFormat.files


def written(folder: Path, *asked: object, names: dict[str, str] | None = None) -> dict[str, list[dict[str, Any]]]:
    PyRadPlanFormat().write(folder, content(asked, names))  # type: ignore[arg-type]
    document = json.loads((folder / FILE).read_text("utf-8"))
    assert document["dose_unit"] == "Gy, total"
    return document["objectives"]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective("PTV", "squared_overdose", 73.5), {"name": "Squared Overdosing", "d_max": 73.5}),
        (Objective("PTV", "squared_underdose", 70.7), {"name": "Squared Underdosing", "d_min": 70.7}),
        (Objective("PTV", "squared_deviation", 70), {"name": "Squared Deviation", "d_ref": 70.0}),
        (Objective("PTV", "max_dvh", 30, 50), {"name": "Max DVH", "d": 30.0, "v_max": 50.0}),
        (Objective("PTV", "min_dvh", 66.5, 95), {"name": "Min DVH", "d": 66.5, "v_min": 95.0}),
        (Objective("PTV", "mean"), {"name": "Mean Dose", "d_ref": 0.0, "f_diff": "linear"}),
        (Objective("PTV", "mean_upper", 26), {"name": "Mean Dose", "d_ref": 26.0, "f_diff": "quadratic"}),
        (
            Objective("PTV", "geud_upper", 20, exponent=8),
            {"name": "EUD", "eud_ref": 20.0, "k": 0.125, "f_diff": "quadratic"},
        ),
    ],
)
def test_names_and_parameters(objective: Objective, expected: dict, tmp_path: Path) -> None:
    assert written(tmp_path, objective) == {"PTV": [{**expected, "priority": 1.0}]}


def test_a_required_dose_becomes_an_objective_of_the_priority_asked_for(tmp_path: Path) -> None:
    asked = Objective("PTV", "max_dose", 75, constraint=True)
    written_files = PyRadPlanFormat(500).write(tmp_path, content([asked]))
    (entry,) = json.loads((tmp_path / FILE).read_text())["objectives"]["PTV"]
    assert entry == {"name": "Squared Overdosing", "d_max": 75.0, "priority": 500.0}
    assert written_files.remarks[0].reason == "there are no constraints: an objective of priority 500"


#: Doses of a random plan lie in 0 … 60 Gy, so that each limit is violated and two-sided penalties are ours.
PENALISED = (
    Objective("PTV", "squared_overdose", 40, priority=3),
    Objective("PTV", "squared_underdose", 35, priority=7),
    Objective("PTV", "squared_deviation", 37),
    Objective("Larynx", "max_dvh", 20, 30, 5),
    Objective("Larynx", "max_dvh", 20, 0),
    Objective("PTV", "min_dvh", 45, 80),
    Objective("Brain", "mean", priority=0.3),
    Objective("Brain", "mean_upper", 20, priority=5),
    Objective("PTV", "mean_lower", 60),
    Objective("Brain", "geud_upper", 20, exponent=8),
    Objective("PTV", "geud_lower", 60, exponent=-10),
)


@pytest.mark.parametrize("objective", PENALISED, ids=lambda objective: objective.describe())
def test_pyradplan_penalises_what_we_do(objective: Objective, tmp_path: Path) -> None:
    peers = pytest.importorskip("pyRadPlan.optimization.objectives", reason="needs the extra 'plans'")
    (entry,) = written(tmp_path, objective)[objective.structure]
    peer, dose = peers.get_objective(entry), random_dose(1)
    inside = dose[0, MASKS[objective.structure]].numpy()
    ours = penalty_of(objective).value_and_gradient(dose)[0].item()
    assert peer.priority * float(peer.compute_objective(inside)) == pytest.approx(ours, rel=1e-6)


def test_pyradplan_loads_all_of_it(tmp_path: Path) -> None:
    peers = pytest.importorskip("pyRadPlan.optimization.objectives", reason="needs the extra 'plans'")
    found = written(tmp_path, *EVERY_KIND, *line("Brain", priority=12.5), names={"PTV": HOSTILE[0]})
    loaded = {name: [peers.get_objective(entry) for entry in entries] for name, entries in found.items()}
    assert set(loaded) == {HOSTILE[0], "Parotid_L", "Larynx", "Brain", "SpinalCord"}
    points = [(peer.d, peer.v_max) for peer in loaded["Brain"] if peer.priority == 12.5]
    assert points == [(60.0, 0.0), (30.0, 20.0), (10.5, 50.0)]


def test_a_structure_of_pyradplan_takes_them(tmp_path: Path) -> None:
    pytest.importorskip("pyRadPlan", reason="needs the extra 'plans'")
    import SimpleITK as sitk
    from pyRadPlan.cst import create_voi
    from pyRadPlan.ct import create_ct

    found = written(tmp_path, Objective("Larynx", "max_dvh", 30, 20, 4), Objective("Larynx", "mean"))
    ct = create_ct(cube_hu=sitk.GetImageFromArray(np.zeros((2, 3, 4), dtype=np.float32)))
    mask = sitk.GetImageFromArray(np.ones((2, 3, 4), dtype=np.uint8))
    voi = create_voi(name="Larynx", voi_type="OAR", mask=mask, ct_image=ct, objectives=found["Larynx"])
    assert [(type(peer).__name__, peer.priority) for peer in voi.objectives] == [("MaxDVH", 4.0), ("MeanDose", 1.0)]
