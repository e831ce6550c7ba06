"""What a scan makes of folders that hold no case, and of files that are broken or none of ours."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reader_contract import assert_same_case

from dicom_files import DicomPhantom, PlanBeam, Roi, save
from dosewright.core import CaseError, Grid
from dosewright.io.dicom import DicomReader
from dosewright.io.dicom.read_choice import Chain, choose_chain
from dosewright.io.dicom.read_links import CaseFiles, link_cases
from dosewright.io.dicom.read_scan import scan_folder

GRID = Grid((3, 8, 9), (10.0, 12.0, 5.0), (-40.0, -42.0, -5.0))
TARGET = Roi.cylinder("PTV", 0.0, 0.0, GRID.axis_mm("z"), 30.0, "PTV")
ONE = DicomPhantom("one", grid=GRID, dose_grid=GRID, rois=(TARGET,))
TWO = ONE.renamed("two")


def cases_of(root: Path) -> tuple[CaseFiles, ...]:
    return link_cases(scan_folder(root), "data.root")


def chain_of(root: Path) -> Chain:
    (files,) = cases_of(root)
    return choose_chain(files, {}, root)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"data.root must be a folder of DICOM files"):
        scan_folder(tmp_path / "none")


def test_a_folder_without_a_ct_says_what_it_holds(tmp_path: Path) -> None:
    save(ONE.structure_set(), tmp_path / "rs.dcm")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(
        CaseError, match=r"must hold a CT series and a structure set.*0 CT series, 1 structure sets, left out: 1 not"
    ):
        cases_of(tmp_path)


def test_a_ct_without_structures_is_no_case(tmp_path: Path) -> None:
    for k, data in enumerate(ONE.ct_slices()):
        save(data, tmp_path / f"{k}.dcm")
    with pytest.raises(CaseError, match="1 CT series, 0 structure sets"):
        cases_of(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0" * 128 + b"DICM", b"text", b"\0" * 128 + b"DICM" + b"\xff" * 300])
def test_a_broken_file_beside_a_case_makes_it_unreadable(tmp_path: Path, content: bytes) -> None:
    ONE.write(tmp_path)
    (tmp_path / "broken.dcm").write_bytes(content)
    with pytest.raises(CaseError, match=r"must be readable, as all files beside a case's own .1 are not.*broken.dcm"):
        chain_of(tmp_path)


@pytest.mark.parametrize("name", ["structures.dcm", "plan.dcm", "dose.dcm", "ct_001.dcm"])
def test_a_file_cut_off_anywhere_is_never_read_as_less(tmp_path: Path, name: str) -> None:
    """Cut at twelve places, the last within the last element; what comes after the cut may be of no use to a case."""
    phantom = replace(ONE, beams=(PlanBeam((10.0,)), PlanBeam((20.0,))))
    whole = DicomReader(phantom.write(tmp_path), check_dose=False)
    (case_id,) = whole.case_ids
    expected, content = whole.read(case_id), (tmp_path / name).read_bytes()
    refused = 0
    for length in [*np.linspace(133, len(content), 12, endpoint=False).astype(int), len(content) - 1]:
        (tmp_path / name).write_bytes(content[:length])
        try:
            found = DicomReader(tmp_path, check_dose=False).read(case_id)
        except CaseError:
            refused += 1
        else:
            assert_same_case(found, expected)
    assert refused >= 11


def test_an_object_of_no_case_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ONE.write(tmp_path)
    save(TWO.dose(), tmp_path / "stray.dcm")
    assert [path.name for path in DicomReader(tmp_path).unlinked] == ["stray.dcm"]
    assert "stray.dcm belongs to no CT series that is here" in caplog.text


def test_a_dose_without_a_frame_of_reference_is_broken(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    data = ONE.dose()
    del data.FrameOfReferenceUID
    save(data, tmp_path / "dose.dcm")
    with pytest.raises(CaseError, match=r"FrameOfReferenceUID .0020,0052. must be given"):
        chain_of(tmp_path)


def test_a_broken_file_elsewhere_leaves_a_case_alone(tmp_path: Path) -> None:
    ONE.write(tmp_path / "one")
    TWO.write(tmp_path / "two")
    path = tmp_path / "two" / "ct_001.dcm"
    path.write_bytes(path.read_bytes()[:300])
    cases = {files.slices[0].path.parent.name: files for files in cases_of(tmp_path)}
    assert choose_chain(cases["one"], {}, tmp_path).plan is not None
    with pytest.raises(CaseError, match=r"ct_001.dcm: file must be readable"):
        choose_chain(cases["two"], {}, tmp_path)


def test_a_folder_of_broken_files_only_names_one(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"nothing")
    with pytest.raises(CaseError, match=r"1 files cannot be read, the first: .*a.dcm: file must be a DICOM file"):
        cases_of(tmp_path)


def test_enhanced_ct_is_refused_by_name(tmp_path: Path) -> None:
    data = ONE.ct_slices()[0]
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    save(data, tmp_path / "e.dcm")
    assert "enhanced multi-frame CT is not read" in next(iter(scan_folder(tmp_path).broken.values()))


def test_deflated_files_are_refused_unread(tmp_path: Path) -> None:
    data = ONE.structure_set()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    save(data, tmp_path / "d.dcm")
    assert "must not be deflated" in next(iter(scan_folder(tmp_path).broken.values()))


def test_links_to_folders_and_pipes_are_not_opened(tmp_path: Path) -> None:
    ONE.write(tmp_path / "root")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    os.mkfifo(tmp_path / "root" / "pipe")
    assert len(scan_folder(tmp_path / "root").instances) == 6
