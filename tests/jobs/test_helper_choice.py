"""`helpers=`: the helper set that `dosewright objectives` and `dosewright plan` make structures by."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cases import make_case
from dosewright.core import InputError
from dosewright.geometry import distance_to_mm
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs import plan as plan_job
from dosewright.jobs.cli import conf_dir
from dosewright.jobs.hydra_task import build
from dosewright.jobs.objectives import run
from dosewright.objectives.default_helpers import default_helpers
from dosewright.objectives.helper_set import HelperSet
from dosewright.objectives.helpers import planning_structures
from dosewright.objectives.objective_file import read_objectives
from plan_problems import make_influence
from tiny import config

CHOICES = sorted(path.stem for path in (conf_dir() / "helpers").glob("*.yaml"))
MINE = """
defaults: [every_target, _self_]
smallest_cc: 0.2
helpers:
  zTissue: null
  Ring_Near: {expression: (Targets + 8mm) - Targets, part: ring}
  "{organ}-PTV": {expression: "{organ} - (Targets + 4mm)"}
"""


def built(node: DictConfig) -> Any:
    return build(node, _convert_="all")


def overrides(root: Path, out: Path) -> list[str]:
    return ["data=prepared", f"data.root={root}", "data.split=test", "dose=reference", f"out={out}", "cases=[test_5]"]


def structures(out: Path) -> dict[str, tuple[str, str]]:
    with (out / "test_5" / "structures.csv").open(newline="") as stream:
        return {row["structure"]: (row["status"], row["reason"]) for row in csv.DictReader(stream)}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_set_reaches_every_reader(choice: str) -> None:
    chosen, expected = f"helpers={choice}", instantiate(OmegaConf.load(conf_dir() / "helpers" / f"{choice}.yaml"))
    assert isinstance(expected, HelperSet)
    for objectives in ("airtp", "anatomy_aware"):
        assert built(config("objectives", chosen, f"objectives={objectives}").objectives).helpers == expected
    planners = {
        name: built(config("plan", chosen, f"planner={name}", *more).planner)
        for name, more in (("objectives", ()), ("airtp", ()), ("listed", ("planner.path=unused",)))
    }
    assert planners["objectives"].extraction.helpers == planners["airtp"].extraction.helpers == expected
    assert planners["listed"].helpers == expected


@pytest.mark.parametrize("job", ["objectives", "plan"])
def test_the_default_set_is_the_default_in_python(job: str) -> None:
    assert built(config(job).objectives).helpers == default_helpers()


def test_another_set_makes_other_files(prepared_root: Path, tmp_path: Path) -> None:
    plain = overrides(prepared_root, tmp_path)
    run(config("objectives", *plain))
    assert structures(tmp_path)["Ring_PTV_High"] == ("used", "")
    run(config("objectives", *plain, "helpers=none"))
    case = PreparedReader(prepared_root, "test").read("test_5")
    assert structures(tmp_path).keys() == case.structures.keys()
    run(config("objectives", *plain, "helpers=head_neck"))
    told = structures(tmp_path)
    assert told["Parotid_L"] == told["Parotid_R"] == ("replaced", "by Parotids-PTV")
    assert told["zPTV_Low_Opt"] == ("used", "without PTV_Mid: not there")
    assert told["Ring_PTV_Mid"] == ("absent", "the case does not have PTV_Mid")
    named = {objective.structure for objective in read_objectives(tmp_path / "test_5" / "objectives.json")}
    assert {"Parotids-PTV", "Parotid_Ipsi-PTV", "Ring_PTV_High"} <= named
    assert not {"Parotid_L", "zParotids", "PTV_Low-PTV_High"} & named
    assert "Ring_PTV_Mid (the case does not have PTV_Mid)" in (tmp_path / "manifest.json").read_text()
    assert (
        "| Ring_PTV_Mid | ring | 0.0 | absent | the case does not have PTV_Mid |"
        in (tmp_path / "test_5" / "objectives.md").read_text()
    )


def test_a_set_of_ones_own_goes_on_from_one_that_ships(prepared_root: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "helpers").mkdir(parents=True)
    (tmp_path / "conf" / "helpers" / "mine.yaml").write_text(MINE)
    chosen = ["helpers=mine", f"hydra.searchpath=[file://{tmp_path / 'conf'}]"]
    cfg = config("objectives", *overrides(prepared_root, tmp_path / "out"), *chosen)
    helpers: HelperSet = built(cfg.objectives).helpers
    default = default_helpers().helpers
    assert list(helpers.helpers) == [*(name for name in default if name != "zTissue"), "Ring_Near"]
    assert helpers.helpers["{organ}-PTV"] == replace(default["{organ}-PTV"], expression="{organ} - (Targets + 4mm)")
    assert (helpers.smallest_cc, helpers.keep) == (0.2, default_helpers().keep)
    run(cfg)
    told = structures(tmp_path / "out")
    assert told["Ring_Near"] == ("used", "")
    assert "zTissue" not in told


def test_a_bad_expression_points_at_its_place_and_names_the_helper(prepared_root: Path, tmp_path: Path) -> None:
    wrong = '+helpers.helpers.Ring_Far={expression:"(PTV_High + 50mm) - (PTV_High + 20)",part:ring}'
    told = r"helpers\[Ring_Far\] is not valid: expression must have a unit behind this number: `20mm`:\n.*\n +\^\^$"
    with pytest.raises(InputError, match=told):
        run(config("objectives", *overrides(prepared_root, tmp_path / "out"), wrong))
    assert not (tmp_path / "out").exists()


def test_plans_tell_what_they_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    case = make_case("one")
    covered = case.structures["PTV_High"] & (np.indices(case.grid.shape_zyx)[2] < 10)
    assert case.dose_gy is not None
    dose_gy = np.where(case.body, 30.0 + 30.0 * case.structures["PTV_High"], 0).astype(np.float32)
    case = replace(case, dose_gy=dose_gy, structures={**case.structures, "Larynx": covered})
    write_case(tmp_path / "cases" / "one.case", case)
    monkeypatch.setattr(plan_job, "cached_influence", lambda case, *_, **__: make_influence(case))
    monkeypatch.setattr("dosewright.jobs.plan_figures.DPI", 20)
    quick = ["dose=reference", "delivery=null", "optimiser.max_steps=1", "influence_cache=unused"]
    for planner in ("objectives", "airtp"):
        out = tmp_path / planner
        stop = ["planner.stop.max_iterations=2"] if planner == "airtp" else []
        cfg = config("plan", *quick, f"planner={planner}", f"out={out}", *stop)
        cfg.data.reader = {"_target_": "dosewright.io.prepared.PreparedReader", "folder": str(tmp_path / "cases")}
        plan_job.run(cfg)
        record = json.loads((out / "cases" / "one" / "report.json").read_text())
        assert "structures left out: Larynx (100 % of it in targets, more than 85 %)" in record["remarks"]
        made = "structures that could not be made: Brainstem_PRV03 (the case does not have Brainstem)"
        assert made in record["remarks"]
        assert made in (out / "cases" / "one" / "report.html").read_text()


def test_the_documented_set_makes_what_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "structures.md").read_text()
    (text,) = re.findall(r"```yaml\n(defaults: .*?)```", page, re.DOTALL)
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "prostate.yaml").write_text(text)
    cfg = config("objectives", "helpers=prostate", f"hydra.searchpath=[file://{tmp_path}]")
    case = make_case()
    masks = {"PTV": case.structures["PTV_High"], "Rectum": case.structures["SpinalCord"]}
    case = replace(case, structures=masks, prescription_gy={"PTV": 60.0}, site="Prostate")
    planned = planning_structures(case, built(cfg.helpers))
    ptv, rectum = masks["PTV"], masks["Rectum"]
    spacing = case.grid.spacing_zyx_mm
    near_ptv, near_rectum = distance_to_mm(ptv, spacing), distance_to_mm(rectum, spacing)
    made = planned.case.structures
    np.testing.assert_array_equal(made["Rectum_PRV04"], (near_rectum <= 4.0) & ~ptv & case.body)
    np.testing.assert_array_equal(made["Ring_Near"], (near_ptv > 2.0) & (near_ptv <= 10.0) & case.body)
    np.testing.assert_array_equal(made["PTV_Opt"], ptv & (near_rectum > 3.0))
    assert planned.target_of == {"Ring_PTV": "PTV", "PTV_Opt": "PTV", "Ring_Near": "PTV"}
    assert "zTissue" not in {note.name for note in planned.notes}
