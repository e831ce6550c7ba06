"""Cases written in the challenge's layout: read in the challenge's own way, in ours, and what it cannot hold."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import make_case
from dosewright.core import Beam, CaseError, Grid, PatientCase
from dosewright.geometry.margins import grown
from dosewright.io.gdp_hmm import GdpHmmReader, GdpHmmWriter
from dosewright.io.phantom import PhantomAnatomyReader
from gdp_hmm_files import PLAN, load, write_plans


def their_loader(folder: Path, pid: str) -> dict[str, Any]:
    """What the challenge's data loader does with a plan, step by step, up to its augmentation."""
    row = next(row for row in csv.DictReader((folder / "meta_data.csv").open()) if row["PID"] == pid)
    path = folder / row["npz_path"]
    assert path.stem.split("+")[:2] == [pid, row["PlanID"]]
    content = load(path)
    levels = json.loads((folder / "PTV_DICT.json").read_text())[pid]
    needed = next(iter(json.loads((folder / "Pat_Obj_DICT.json").read_text())[pid].values()))
    dose = content["dose"] * content["dose_scale"]
    high = levels["PTV_High"]
    dose = dose * high["PDose"] / (np.percentile(dose[content[high["OPTName"]].astype("bool")], 3) + 1e-5)
    plate = np.zeros(content["img"].shape)
    begin = max(0, int(content["isocenter"][0]) - 5)
    end = min(plate.shape[0], int(content["isocenter"][0]) + 5)
    plate[begin:end] = np.repeat(content["angle_plate"][np.newaxis], end - begin, axis=0)
    optimised = np.maximum.reduce([content[v["OPTName"]] * float(v["PDose"]) for v in levels.values()])
    whole = np.maximum.reduce(
        [content[v["OPTName" if k == "PTV_High" else "StructName"]] * float(v["PDose"]) for k, v in levels.items()]
    )
    prompt = [float(content["isVMAT"]), len(levels), int(row["site"]), int(row["cohort"])]
    return {"label": dose * content["Body"], "plates": (plate, content["beam_plate"]), "needed": needed} | {
        "optimised": optimised,
        "targets": whole,
        "prompt": prompt,
        "img": np.clip(content["img"], -1000, 1000) / 500,
        "content": content,
    }


def test_the_challenges_loader_reads_a_phantom(tmp_path: Path) -> None:
    reader = PhantomAnatomyReader("mixed", count=2, shape_zyx=(40, 44, 44), spacing_xyz_mm=(10.0, 10.0, 8.0))
    for case in reader:
        dose = np.where(case.body, 3.0, 0.0).astype(np.float32)
        for name in reversed(case.targets):
            dose[case.structures[name]] = case.prescription_gy[name] + 1
        GdpHmmWriter().write(case.with_dose(dose), tmp_path)
        found = their_loader(tmp_path, case.case_id)
        high = case.prescription_gy[case.targets[0]]
        np.testing.assert_allclose(found["label"], dose * case.body * high / (high + 1 + 1e-5), rtol=1e-5)
        prescribed = np.maximum.reduce([case.structures[n] * case.prescription_gy[n] for n in case.targets])
        if case.site == "Lung":  # in the head and neck their loader takes the optimised part of PTV_High
            np.testing.assert_array_equal(found["targets"], prescribed)
        assert np.all(found["optimised"] <= prescribed)
        assert found["prompt"] == [0.0, len(case.targets), 1 if case.site == "HeadNeck" else 2, 0]
        assert {"SpinalCord"} <= set(found["needed"]) <= set(found["content"])
        assert found["plates"][1].max() > 1.0


def test_helpers_are_those_of_the_paper(tmp_path: Path) -> None:
    case = next(iter(PhantomAnatomyReader(count=1, shape_zyx=(40, 44, 44), spacing_xyz_mm=(10.0, 10.0, 8.0))))
    GdpHmmWriter().write(case, tmp_path)
    found = {k: v for k, v in load(next(tmp_path.glob("*.npz"))).items() if isinstance(v, np.ndarray)}
    spacing, own = case.grid.spacing_zyx_mm, case.structures
    total = np.logical_or.reduce([own[name] for name in case.targets])
    parotids = own["Parotid_L"] | own["Parotid_R"]
    near = {name: grown(own[name], spacing, (mm,) * 3) for name, mm in (("PTV_High", 6.0), ("PTV_Mid", 3.0))}
    expected = {
        "PTV_Total": total,
        "PTVLowOPT": own["PTV_Low"] & ~near["PTV_High"] & ~near["PTV_Mid"],
        "PTVMidOPT": own["PTV_Mid"] & ~grown(own["PTV_High"], spacing, (3.0,) * 3),
        "PTVHighOPT": own["PTV_High"],
        "Parotids": parotids,
        "Parotids-PTV": parotids & ~total,
        "Larynx-PTV": own["Larynx"] & ~total,
        "SpinalCord_05": grown(own["SpinalCord"], spacing, (5.0,) * 3),
        "BrainStem_03": grown(own["Brainstem"], spacing, (3.0,) * 3),
    }
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask, err_msg=name)
    centers = {k: np.argwhere(found[k]).mean(axis=0) for k in ("ParotidIps", "ParotidCon", "PTVHigh")}
    away = {k: np.linalg.norm((centers[k] - centers["PTVHigh"]) * spacing) for k in ("ParotidIps", "ParotidCon")}
    assert away["ParotidIps"] < away["ParotidCon"]


@pytest.mark.parametrize("helpers", [True, False])
def test_what_is_written_is_read_back(tmp_path: Path, case: PatientCase, helpers: bool) -> None:
    case = replace(case, isocenter_xyz_mm=(-8.25, -1.5, 37.125))
    write_plans(tmp_path, case, helpers=helpers)
    (plan,) = GdpHmmReader(tmp_path).case_ids
    assert plan == "case_1+9Ag+DW"
    back = GdpHmmReader(tmp_path).read(plan)
    assert (back.grid, back.beams, back.prescription_gy) == (case.grid, case.beams, case.prescription_gy)
    assert back.isocenter_xyz_mm == pytest.approx(case.isocenter_xyz_mm, abs=1e-9)
    np.testing.assert_array_equal(back.ct_hu, case.ct_hu)
    np.testing.assert_array_equal(back.body, case.body)
    np.testing.assert_array_equal(back.dose_gy, case.dose_gy)
    for name, mask in case.structures.items():
        np.testing.assert_array_equal(back.structures[name], mask, err_msg=name)
    assert all(
        name.startswith(("z", "Parotids", "SpinalCord_PRV")) for name in set(back.structures) - set(case.structures)
    )


def test_a_case_without_dose_beams_or_isocentre_is_written(tmp_path: Path, case: PatientCase) -> None:
    write_plans(tmp_path, replace(case, case_id=PLAN, dose_gy=None, beams=()))
    content = load(tmp_path / f"{PLAN}.npz")
    assert not {"dose", "dose_scale", "angle_list"} & set(content)
    assert not content["angle_plate"].any()
    assert not content["beam_plate"].any()
    back = GdpHmmReader(tmp_path, "test").read(PLAN)
    assert (back.dose_gy, back.beams) == (None, ())


def test_targets_of_other_names_get_levels_by_dose(tmp_path: Path, case: PatientCase) -> None:
    renamed = {"PTV_70": case.structures["PTV_High"], "PTV_A": case.structures["PTV_Low"]}
    write_plans(tmp_path, replace(case, structures=renamed, prescription_gy={"PTV_A": 54.5, "PTV_70": 70.0}))
    back = next(iter(GdpHmmReader(tmp_path)))
    assert back.prescription_gy == {"PTV_High": 70.0, "PTV_Low": 54.5}
    np.testing.assert_array_equal(back.structures["PTV_Low"], renamed["PTV_A"])


def test_tables_grow_plan_by_plan_and_forget_nothing(tmp_path: Path, case: PatientCase) -> None:
    plans = ["P2+9Ag+A", "P1+9Ag+A", "P1+2Ac+A"]
    write_plans(tmp_path, *(replace(case, case_id=plan) for plan in plans))
    write_plans(tmp_path, replace(case, case_id="P1+9Ag+A"), split="validation")
    rows = list(csv.DictReader((tmp_path / "meta_data.csv").open()))
    assert [row["npz_path"] for row in rows] == ["P1+2Ac+A.npz", "P1+9Ag+A.npz", "P2+9Ag+A.npz"]
    assert [row["dev_split"] for row in rows] == ["train", "valid", "train"]
    assert [row["HighDose"] for row in rows] == ["70.0"] * 3
    assert list(json.loads((tmp_path / "PTV_DICT.json").read_text())) == ["P2", "P1"]
    assert set(json.loads((tmp_path / "Pat_Obj_DICT.json").read_text())["P1"]) == {"9Ag", "2Ac"}
    other = replace(case, case_id="P1+15Ag+A", prescription_gy={"PTV_High": 66.0, "PTV_Low": 56.0})
    with pytest.raises(CaseError, match=r"PTV_DICT\.json: targets of P1 must be the same for all plans of a patient"):
        write_plans(tmp_path, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"site": "Prostate"}, r"site must be one of \('HeadNeck', 'Lung'\) for GDP-HMM; got 'Prostate'"),
        ({"technique": "proton", "beams": ()}, "technique must be IMRT or VMAT for GDP-HMM"),
        ({"beams": (Beam(0.0, 10.0),)}, r"couch_angle_deg must be 0 for GDP-HMM, which has none; got 10\.0"),
    ],
)
def test_what_the_layout_cannot_hold_is_refused(
    tmp_path: Path, case: PatientCase, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CaseError, match=message):
        write_plans(tmp_path, replace(case, **changes))
    assert list(tmp_path.iterdir()) == []


def test_names_and_numbers_of_targets_the_layout_cannot_hold(tmp_path: Path, case: PatientCase) -> None:
    mask = case.structures["PTV_High"]
    with pytest.raises(CaseError, match="structures must not have a name the layout uses; got 'img'"):
        write_plans(tmp_path, replace(case, structures={**case.structures, "img": mask}))
    four = {f"PTV_{n}": mask for n in "ABCD"}
    with pytest.raises(CaseError, match="targets must be at most 3 for GDP-HMM"):
        write_plans(tmp_path, replace(case, structures=four, prescription_gy=dict.fromkeys(four, 60.0)))
    with pytest.raises(CaseError, match="split must be train, validation, test or null; got 'dev'"):
        GdpHmmWriter(split="dev")
    (tmp_path / "PTV_DICT.json").write_text("[]")
    with pytest.raises(CaseError, match=r"PTV_DICT\.json must be an object of patients; got 'list'"):
        write_plans(tmp_path, case)


def test_a_lung_plan_is_called_as_in_the_challenge(tmp_path: Path) -> None:
    case = make_case("L1+imrt+A")
    masks = {"PTV": case.structures["PTV_High"], "Ring_PTV": case.structures["PTV_Low"]}
    write_plans(tmp_path, replace(case, site="Lung", structures=masks, prescription_gy={"PTV": 60.0}))
    assert json.loads((tmp_path / "PTV_DICT.json").read_text()) == {
        "L1": {"PTV_High": {"PDose": 60, "OPTName": "PTV", "StructName": "PTV", "RingName": "PTV_Ring.3-2"}}
    }
    assert {"PTV", "PTV_Ring.3-2", "Body"} <= set(load(tmp_path / "L1+imrt+A.npz"))
    back = GdpHmmReader(tmp_path).read("L1+imrt+A")
    assert (back.site, dict(back.prescription_gy), set(back.structures)) == ("Lung", {"PTV": 60.0}, set(masks))
    assert back.grid == Grid((16, 20, 24), (3.0, 3.0, 4.0), (-40.0, -30.0, 5.0))
