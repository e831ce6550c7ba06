"""Plans that share their anatomy: round trips through the reader of prepared cases, broken and hostile files."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reader_contract import assert_same_case

from dosewright.core import Beam, CaseError, PatientCase
from dosewright.io.prepared import PreparedReader, read_case
from dosewright.io.prepared_plan import DOSE_STEP_GY, read_fluence, read_provenance, write_anatomy, write_plan

PROVENANCE = {"seed": 3, "sparing": {"salivary": 0.85}}
FLUENCE = np.linspace(0.0, 3.0, 17)


def planned(case: PatientCase, name: str = "phantom.p0001", seed: int = 0) -> PatientCase:
    dose_gy = np.random.default_rng(seed).uniform(0, 77, case.grid.shape_zyx).astype(np.float32)
    return replace(case, case_id=name, dose_gy=dose_gy, beams=(Beam(12.0), Beam(200.0)))


@pytest.fixture
def plan_path(case: PatientCase, tmp_path: Path) -> Path:
    anatomy = write_anatomy(tmp_path, case)
    for number in (1, 2):
        plan = planned(case, f"phantom.p000{number}", number)
        write_plan(tmp_path / f"{plan.case_id}.case", plan, anatomy, PROVENANCE, FLUENCE, f"made {number}")
    return tmp_path / "phantom.p0001.case"


def rewritten(path: Path, **changes: object) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(entries["case.json"]) | changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (entries | {"case.json": json.dumps(header).encode()}).items():
            archive.writestr(name, data)


def test_plans_are_read_like_any_prepared_case(case: PatientCase, plan_path: Path) -> None:
    reader = PreparedReader(plan_path.parent)
    assert list(reader.case_ids) == ["phantom.p0001", "phantom.p0002"]  # the anatomy is no case
    for number, name in enumerate(reader.case_ids, start=1):
        assert_same_case(reader.read(name), planned(case, name, number), dose_tolerance_gy=DOSE_STEP_GY / 2 + 1e-4)
        assert reader.fingerprint(name) == f"made {number}"


def test_provenance_and_fluence_come_back(plan_path: Path) -> None:
    assert read_provenance(plan_path) == PROVENANCE
    np.testing.assert_allclose(read_fluence(plan_path), FLUENCE, rtol=2**-11, atol=1e-6)  # half a step of float16


def test_a_plan_costs_little_more_than_its_dose(plan_path: Path) -> None:
    with zipfile.ZipFile(plan_path) as archive:
        dose = archive.getinfo("dose").file_size
    assert plan_path.stat().st_size - dose < 2500


@pytest.mark.parametrize("name", ["../phantom.anatomy", "/etc/passwd", "phantom.case", "", 7, None, "a/b.anatomy"])
def test_an_anatomy_elsewhere_is_refused(plan_path: Path, name: object) -> None:
    rewritten(plan_path, anatomy=name)
    with pytest.raises(CaseError, match=rf"{re.escape(str(plan_path))}: anatomy must be a \*\.anatomy file beside it"):
        read_case(plan_path)


def test_a_missing_anatomy_is_named(plan_path: Path) -> None:
    anatomy = next(plan_path.parent.glob("*.anatomy"))
    anatomy.unlink()
    with pytest.raises(CaseError, match=rf"{re.escape(str(anatomy))}: anatomy must stand beside the plan"):
        read_case(plan_path)


def test_a_truncated_anatomy_is_named_as_broken(plan_path: Path) -> None:
    anatomy = next(plan_path.parent.glob("*.anatomy"))
    anatomy.write_bytes(anatomy.read_bytes()[:200])
    with pytest.raises(CaseError, match="must be a whole prepared case"):
        read_case(plan_path)


def test_a_dose_on_another_grid_is_refused(plan_path: Path) -> None:
    rewritten(plan_path, shape_zyx=[2, 3, 4])
    with pytest.raises(CaseError, match=r"must have shape \(2, 3, 4\)"):
        read_case(plan_path)


def test_a_case_without_dose_and_an_anatomy_elsewhere_are_refused(case: PatientCase, tmp_path: Path) -> None:
    anatomy = write_anatomy(tmp_path, case)
    with pytest.raises(CaseError, match=r"case must have a dose; got 'phantom\.p0001'"):
        write_plan(tmp_path / "p.case", planned(case).with_dose(None), anatomy, {}, FLUENCE)
    with pytest.raises(CaseError, match="anatomy must stand in the plan's folder"):
        write_plan(tmp_path / "other" / "p.case", planned(case), anatomy, {}, FLUENCE)


def test_what_is_no_plan_is_refused(case: PatientCase, plan_path: Path) -> None:
    anatomy = next(plan_path.parent.glob("*.anatomy"))
    with pytest.raises(CaseError, match=r"must be a whole plan with provenance\.json"):
        read_provenance(anatomy)
    with pytest.raises(CaseError, match="must be a whole plan with fluence"):
        read_fluence(anatomy)
    with pytest.raises(CaseError, match="plan must exist; got 'no such file'"):
        read_fluence(plan_path.with_name("none.case"))


@pytest.mark.parametrize("entry", ["provenance.json", "fluence"])
def test_a_broken_entry_is_refused(plan_path: Path, entry: str) -> None:
    with zipfile.ZipFile(plan_path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries[entry] = b"[1, 2"
    with zipfile.ZipFile(plan_path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    read = read_provenance if entry == "provenance.json" else read_fluence
    with pytest.raises(CaseError, match=entry):
        read(plan_path)
