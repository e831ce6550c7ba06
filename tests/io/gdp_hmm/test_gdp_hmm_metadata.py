"""The challenge's tables: made ones, broken ones, and the published ones where they are beside the project."""

import json
from collections import Counter
from pathlib import Path

import pytest

from conftest import SHARED
from dosewright.core import KNOWN, CaseError, Role, role_of
from dosewright.io.gdp_hmm.metadata import (
    TargetEntry,
    read_meta_data,
    read_objective_structures,
    read_ptv_dict,
)
from dosewright.io.gdp_hmm.names import ORGANS, OURS, THEIRS, our_names

HEADER = "PID,PlanID,isVMAT,cohort,site,phase,dev_split,npz_path"
ROW = "P1,9Ag,False,1,1,train,valid,GDP-HMM_Challenge/HaN/train/P1+9Ag+MOS_1.npz"


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "meta_data.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_row_is_a_plan(tmp_path: Path) -> None:
    (row,) = read_meta_data(table(tmp_path, ROW))
    assert (row.plan, row.pid, row.plan_id, row.site) == ("P1+9Ag+MOS_1", "P1", "9Ag", "HeadNeck")
    assert (row.is_vmat, row.phase, row.dev_split) == (False, "train", "valid")
    assert row.npz_path == ("GDP-HMM_Challenge", "HaN", "train", "P1+9Ag+MOS_1.npz")


def test_the_table_of_the_test_phase_may_be_short_and_its_paths_absolute(tmp_path: Path) -> None:
    path = table(tmp_path, "/data/7+A4Ac+MOS_1.npz,2", "C:\\data\\8+9Ag+x.npz,1.0", header="\ufeffnpz_path,site")
    one, other = read_meta_data(path)
    assert (one.pid, one.plan_id, one.site, one.is_vmat, one.npz_path[0]) == ("7", "A4Ac", "Lung", None, "data")
    assert (other.plan, other.site) == ("8+9Ag+x", "HeadNeck")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], r"plan must be there once; got 'P1\+9Ag\+MOS_1'"),
        ([ROW.replace(",1,1,", ",1,3,")], r"site, line 2 must be 1 \(head and neck\) or 2 \(lung\); got '3'"),
        ([ROW.replace("False", "maybe")], "isVMAT, line 2 must be True or False; got 'maybe'"),
        ([ROW, ROW.replace("P1,", "P2,")], r"PID, line 3 must be that of its file P1\+9Ag\+MOS_1\.npz; got 'P2'"),
        ([ROW.replace(",9Ag", ",2Ac")], "PlanID, line 2 must be that of its file"),
        ([ROW.replace("HaN", "..")], "npz_path, line 2 must be the path of a file"),
        ([ROW.replace(".npz", ".exe")], "npz_path, line 2 must be the path of a file"),
        ([ROW.replace("P1+9Ag", "P1 9Ag")], "npz_path, line 2 must be the path of a file"),
        ([ROW + ",1,2,3,4,5"], "npz_path, line 2 must be the path of a file"),
        (["P1,9Ag"], "npz_path, line 2 must be the path of a file"),
        (['P1,"9Ag'], "meta_data must be CSV in UTF-8"),
    ],
)
def test_a_broken_row_is_refused_by_its_line(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(CaseError, match=rf"meta_data\.csv: {message}"):
        read_meta_data(table(tmp_path, *rows))


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"header must have the columns \('npz_path', 'site'\)"):
        read_meta_data(table(tmp_path, header="a,b"))
    path = tmp_path / "meta_data.csv"
    path.write_bytes(b"npz_path,site\n\xff\xfe,1\n")
    with pytest.raises(CaseError, match="meta_data must be CSV in UTF-8"):
        read_meta_data(path)
    with path.open("wb") as stream:
        stream.truncate(10_000_001)
    with pytest.raises(CaseError, match="file must have at most 10000000 bytes"):
        read_meta_data(path)
    with pytest.raises(CaseError, match="meta_data cannot be read: No such file"):
        read_meta_data(tmp_path / "absent.csv")


def written(folder: Path, content: object) -> Path:
    path = folder / "table.json"
    path.write_text(json.dumps(content))
    return path


HIGH = {"OPTName": "PTVHighOPT", "PDose": 70, "RingName": "RingPTVHigh"}


def test_targets_come_highest_first(tmp_path: Path) -> None:
    low = {"OPTName": "PTVLowOPT", "PDose": 54.5, "StructName": "PTVLow", "MinusName": "PTVLow-PTVMid"}
    found = read_ptv_dict(written(tmp_path, {"P1": {"PTV_Low": low, "PTV_High": HIGH}}))
    assert found == {
        "P1": (
            TargetEntry("PTV_High", 70.0, "PTVHighOPT", "", "RingPTVHigh", ""),
            TargetEntry("PTV_Low", 54.5, "PTVLowOPT", "PTVLow", "", "PTVLow-PTVMid"),
        )
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "PTV_DICT must be an object of patients; got 'list'"),
        ({"P1": []}, r"PTV_DICT\[P1\] must have PTV_High"),
        ({"P1": {"PTV_Low": HIGH}}, r"PTV_DICT\[P1\] must have PTV_High"),
        ({"P1": {"PTV_High": 70}}, r"PTV_DICT\[P1\]\[PTV_High\] must be an object; got 'int'"),
        ({"P1": {"PTV_High": HIGH | {"PDose": "70"}}}, r"\[PDose\] must be a positive dose in Gy; got '70'"),
        ({"P1": {"PTV_High": HIGH | {"PDose": True}}}, r"\[PDose\] must be a positive dose in Gy; got True"),
        ({"P1": {"PTV_High": HIGH | {"PDose": 0}}}, r"\[PDose\] must be a positive dose in Gy; got 0"),
        ({"P1": {"PTV_High": HIGH | {"OPTName": ""}}}, r"\[OPTName\] must name its structures"),
        ({"P1": {"PTV_High": HIGH | {"RingName": 3}}}, r"\[OPTName\] must name its structures"),
    ],
)
def test_broken_targets_are_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        read_ptv_dict(written(tmp_path, content))


def test_both_layouts_of_optimised_structures_are_read(tmp_path: Path) -> None:
    content = {"P1": ["Heart", "LAD"], "P2": {"9Ag": ["Heart"], "2Ac": []}}
    assert read_objective_structures(written(tmp_path, content)) == {
        "P1": {"": ("Heart", "LAD")},
        "P2": {"9Ag": ("Heart",), "2Ac": ()},
    }
    for broken in ({"P1": "Heart"}, {"P1": [1]}, {"P1": {"9Ag": "Heart"}}):
        with pytest.raises(CaseError, match=r"Pat_Obj_DICT\[P1\] must be a list of names, or one per plan"):
            read_objective_structures(written(tmp_path, broken))


# Names


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        *((name, "OpticChiasm") for name in ("Chiasm", "Chiasim")),
        *((name, "zParotid_Contra") for name in ("ParotidCon", "ParotdCon")),
        *((name, "zParotid_Ipsi") for name in ("ParotidIps", "Parotidlps", "ParotdIps")),
        *((name, "zParotid_Ipsi-PTV") for name in ("ParotidIps-PTV", "Parotidlps-PTV")),
        *((name, "Cavity_Oral") for name in ("OCavity", "OralCavity")),
        *((name, "Musc_Constrict") for name in ("PharConst", "PharynxConst")),
        ("OCavity-PTV", "zCavity_Oral-PTV"),
        ("BrainStem_03", "Brainstem_PRV03"),
        ("Total Lung-GTV", "Lungs-GTV"),
        ("PTV_Ring.3-2", "Ring_PTV"),
        ("Body_Ring0-3", "zBody_Ring"),
        ("LAD", "A_LAD"),
        ("Parotid_L", "Parotid_L"),
    ],
)
def test_the_traps_among_names(theirs: str, ours: str) -> None:
    assert our_names([theirs])[theirs] == (ours, "")


def test_names_are_one_to_one_where_written_and_helpers_are_no_organs() -> None:
    assert len(set(THEIRS.values())) == len(THEIRS)
    assert all(OURS[theirs] == ours for ours, theirs in THEIRS.items())
    helpers = [ours for ours in THEIRS if ours not in ORGANS or ours.startswith("zParotid")]
    assert {role_of(name) for name in helpers} == {Role.HELPER}
    assert {role_of(name) for name in ORGANS if not name.startswith("z")} == {Role.OAR}


# As published


@pytest.fixture(scope="module")
def published() -> Path:
    folder = SHARED / "data" / "gdp-hmm-meta"
    if not (folder / "meta_data.csv").exists():
        pytest.skip("the challenge's tables are not beside the project (../shared/data/gdp-hmm-meta)")
    return folder


def test_the_published_tables_are_read_wholly(published: Path) -> None:
    rows = read_meta_data(published / "meta_data.csv")
    targets, objectives = (
        read_ptv_dict(published / "PTV_DICT.json"),
        read_objective_structures(published / "Pat_Obj_DICT.json"),
    )
    assert (len(rows), len({row.pid for row in rows}), len(targets), len(objectives)) == (3232, 1421, 1543, 1507)
    assert Counter(row.phase for row in rows) == {"train": 2876, "valid": 356}
    assert Counter(row.dev_split for row in rows) == {"train": 2728, "valid": 148, "test": 356}
    assert Counter(row.site for row in rows) == {"HeadNeck": 1650, "Lung": 1582}
    assert Counter(row.is_vmat for row in rows) == {False: 1857, True: 1375}
    assert Counter(len(entry) for entry in targets.values()) == {1: 948, 2: 192, 3: 403}
    for row in rows:
        assert row.pid in targets
        assert row.pid in objectives
        assert (targets[row.pid][0].opt_name == "PTV") == (row.site == "Lung")


def test_every_published_name_is_in_the_table(published: Path) -> None:
    lists = read_objective_structures(published / "Pat_Obj_DICT.json")
    names = {name for plans in lists.values() for found in plans.values() for name in found}
    entries = [entry for found in read_ptv_dict(published / "PTV_DICT.json").values() for entry in found]
    parts = {name for e in entries for name in (e.opt_name, e.ring_name, e.minus_name) if name}
    plain = {e.struct_name for e in entries if e.struct_name} | {"PTV"}
    assert len(names) == 54
    assert sorted((names | parts) - set(OURS) - set(KNOWN) - plain) == []
