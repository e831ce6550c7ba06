"""Structures of a case: names, outlines, what is left out, cut off or refused; frames of reference; completeness."""

import csv
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from dicom_files import Roi, box, save, uid
from dicom_reading import PHANTOM, Change, dice, read, truth_masks
from dosewright.core import CaseError
from dosewright.io.dicom import DicomReader


def rois_of(*extra: Roi) -> tuple[Roi, ...]:
    return (*PHANTOM.structures, *extra)


def rewrite(root: Path, *rois: Roi) -> None:
    save(replace(PHANTOM, rois=rois).structure_set(), root / "structures.dcm")


def test_what_is_left_out_has_its_reason(root: Path) -> None:
    zs = PHANTOM.grid.axis_mm("z")
    rewrite(
        root,
        *rois_of(
            Roi.cylinder("Couch", 0, 60, zs, 5.0, "SUPPORT"),
            Roi.cylinder("gibberish 17", 0, 0, zs, 5.0),
            Roi("Iso", (np.zeros((1, 3)),), "ISOCENTER", "POINT"),
            Roi("Lens_L", (box(0.1, 0.2, 0.1, 0.2, 0.0),)),
            Roi("Brainstem"),
        ),
    )
    case, report = read(root)
    assert set(case.structures) == {"PTV", "SpinalCord", "Parotid_L"}
    assert report.left_out.keys() == {"Couch", "gibberish 17", "Iso", "Lens_L", "Brainstem"}
    assert report.left_out["Couch"] == "its type is SUPPORT"
    assert report.left_out["Iso"] == "only contours of type POINT"
    assert report.left_out["Lens_L"] == "no voxel's centre lies inside"
    assert report.left_out["Brainstem"] == "no contours"
    assert "Couch: left out, its type is SUPPORT" in str(report)
    assert report.as_dict()["left_out"]["Couch"] == "its type is SUPPORT"


def test_unknown_names_may_be_kept(root: Path) -> None:
    rewrite(root, *rois_of(Roi.cylinder("gibberish (17)", 0, 0, PHANTOM.grid.axis_mm("z"), 5.0)))
    case, report = read(root, unmatched="keep")
    assert "gibberish_17" in case.structures
    assert report.names["gibberish (17)"] == "gibberish_17"


def test_the_users_names_come_first(root: Path, tmp_path: Path) -> None:
    zs = PHANTOM.grid.axis_mm("z")
    rewrite(
        root, *rois_of(Roi.cylinder("gibberish 17", 0, 0, zs, 5.0), Roi.cylinder("table", 0, 60, zs, 5.0, "SUPPORT"))
    )
    names = tmp_path / "names.csv"
    with names.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("source", "name"), ("Gibberish  17", "Brainstem"), ("Parotid_L", ""), ("TABLE", "zCouch")]
        )
    case, report = read(root, names=names)
    assert set(case.structures) == {"PTV", "SpinalCord", "Brainstem", "zCouch"}
    assert report.left_out == {"Parotid_L": "the names file leaves it out"}


def test_a_side_that_is_not_where_the_structure_lies_is_withdrawn(root: Path) -> None:
    zs = PHANTOM.grid.axis_mm("z")[4:10]
    rewrite(root, *PHANTOM.structures[:-1], Roi.cylinder("Parotid_R", 38, -5, zs, 11.0))  # x grows to the left
    assert PHANTOM.structures[-1].name == "Parotid_L"
    case, report = read(root)
    assert "Parotid_R" not in case.structures
    assert "Parotid_L" not in case.structures  # nothing is swapped
    assert "Parotid_R" in report.left_out
    assert [line for line in report.warnings if line.startswith("Parotid_R: ")]


def test_a_paired_organ_without_a_side_gets_that_of_its_place(root: Path) -> None:
    zs = PHANTOM.grid.axis_mm("z")[4:10]
    rewrite(root, *PHANTOM.structures[:-1], Roi.cylinder("Parotid", -38, -5, zs, 11.0))
    case, report = read(root)
    assert report.names["Parotid"] == "Parotid_R"
    assert "Parotid" not in report.left_out
    assert np.argwhere(case.structures["Parotid_R"])[:, 2].max() < case.grid.shape_zyx[2] / 2
    assert [line for line in report.notes if line.startswith("Parotid: ")]


def test_a_doubtful_side_of_the_users_own_stays_with_a_warning(root: Path, tmp_path: Path) -> None:
    zs = PHANTOM.grid.axis_mm("z")[4:10]
    rewrite(root, *PHANTOM.structures[:-1], Roi.cylinder("gland", 38, -5, zs, 11.0))
    (tmp_path / "names.csv").write_text("source,name\ngland,Parotid_R\n")
    case, report = read(root, names=tmp_path / "names.csv")
    assert "Parotid_R" in case.structures
    assert [line for line in report.warnings if line.startswith("gland: ")]


def test_two_structures_of_one_name_are_refused(root: Path) -> None:
    rewrite(root, *rois_of(Roi.cylinder("PTV", 0, 0, PHANTOM.grid.axis_mm("z"), 5.0)))
    with pytest.raises(CaseError, match=r"ROIName .3006,0026. must differ between structures; got \['PTV'\]"):
        read(root)


def test_kept_names_that_become_one_are_refused(root: Path) -> None:
    zs = PHANTOM.grid.axis_mm("z")
    rewrite(root, *rois_of(*(Roi.cylinder(name, 0, 0, zs, 5.0) for name in ("gibberish (17)", "gibberish 17"))))
    with pytest.raises(CaseError, match="gibberish_17 must be one structure for one name"):
        read(root, unmatched="keep")


def test_two_outlines_are_refused(root: Path) -> None:
    zs = PHANTOM.grid.axis_mm("z")
    rewrite(root, *PHANTOM.structures[1:], *(Roi.cylinder(n, 0, 2, zs, 60.0, "EXTERNAL") for n in ("o1 x", "o2 x")))
    with pytest.raises(CaseError, match=r"structures of type EXTERNAL must be one.*got \['o1 x', 'o2 x'\]"):
        read(root)


def test_an_outline_of_another_name_is_left_out(root: Path) -> None:
    rewrite(root, *rois_of(Roi.cylinder("odd outline", 0, 2, PHANTOM.grid.axis_mm("z"), 61.0, "EXTERNAL")))
    case, report = read(root)
    assert dice(case.body, truth_masks(PHANTOM.grid)["body"]) >= 0.98
    assert "odd outline" in report.left_out


def test_without_an_outline_the_ct_is_thresholded_and_that_is_logged(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(root, Roi("BODY", type="EXTERNAL"), *PHANTOM.structures[1:])
    reader = DicomReader(root)
    with caplog.at_level(logging.WARNING):
        case = reader.read(reader.case_ids[0])
    np.testing.assert_array_equal(case.body, truth_masks(PHANTOM.grid)["body"])
    assert f"{case.case_id}: no patient outline (External): found by thresholding the CT" in caplog.text
    assert "Doe" not in caplog.text
    assert "ID-phantom" not in caplog.text


def test_an_outline_without_a_voxel_is_refused(root: Path) -> None:
    rewrite(root, Roi("BODY", (box(0.1, 0.2, 0.1, 0.2, 0.0),), "EXTERNAL"), *PHANTOM.structures[1:])
    with pytest.raises(CaseError, match="outline BODY must have a voxel on the grid"):
        read(root)


def test_structures_beyond_the_ct_are_cut_off_with_a_warning_but_targets_are_refused(root: Path) -> None:
    zs = [*PHANTOM.grid.axis_mm("z"), 36.0, 40.0]
    rewrite(root, *PHANTOM.structures[:2], Roi.cylinder("SpinalCord", 0, 40, zs, 8.0))
    case, report = read(root)
    assert dice(case.structures["SpinalCord"], truth_masks(PHANTOM.grid)["SpinalCord"]) >= 0.98
    assert report.warnings == ["SpinalCord: 2 contour planes and 0 contours reach beyond the grid; cut off there"]
    rewrite(root, PHANTOM.structures[0], Roi.cylinder("PTV", 4, 6, zs, 20.0, "PTV"))
    with pytest.raises(CaseError, match="target PTV must lie on the grid as a whole; got '2 contour planes"):
        read(root)


def test_a_target_without_a_voxel_is_refused(root: Path) -> None:
    rewrite(root, PHANTOM.structures[0], Roi("PTV", (box(0.1, 0.2, 0.1, 0.2, 0.0),), "PTV"))
    with pytest.raises(CaseError, match="target PTV must have a voxel on the grid"):
        read(root)


def test_gaps_between_planes_are_noted(root: Path) -> None:
    zs = np.delete(PHANTOM.grid.axis_mm("z"), 5)
    rewrite(root, *PHANTOM.structures[:2], Roi.cylinder("SpinalCord", 0, 40, zs, 8.0))
    case, report = read(root)
    assert not case.structures["SpinalCord"][5].any()
    assert "SpinalCord: 1 gaps between its planes, left open" in report.notes


# --- frames of reference and completeness --------------------------------------------------------------------------


def set_frame(data: FileDataset, frame: str) -> FileDataset:
    data.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = frame
    for item in data.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = frame
    return data


def test_another_frame_is_taken_when_every_contour_lies_on_an_image_it_names(root: Path) -> None:
    save(set_frame(PHANTOM.structure_set(), uid("own")), root / "structures.dcm")
    assert read(root)[1].warnings == [
        "the structure set has another frame of reference than the CT, but its contours lie on the CT's images"
    ]


def _moved(data: FileDataset) -> None:
    for roi in data.ROIContourSequence:
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float)
            points[2::3] += 2.0
            contour.ContourData = [f"{v:.4f}" for v in points]


def _unnamed(data: FileDataset) -> None:
    del data.ROIContourSequence[1].ContourSequence[0].ContourImageSequence


@pytest.mark.parametrize("change", [_moved, _unnamed])
def test_another_frame_is_refused_without_that_proof(root: Path, change: Change) -> None:
    data = set_frame(PHANTOM.structure_set(), uid("own"))
    change(data)
    save(data, root / "structures.dcm")
    with pytest.raises(
        CaseError, match=r"ReferencedFrameOfReferenceUID .3006,0024. must be the CT's, or every contour"
    ):
        read(root)


@pytest.mark.parametrize("name", ["plan", "dose"])
def test_plans_and_doses_of_another_frame_are_refused(root: Path, name: str) -> None:
    data = getattr(PHANTOM, name)()
    data.FrameOfReferenceUID = uid("own")
    save(data, root / f"{name}.dcm")
    with pytest.raises(CaseError, match=r"FrameOfReferenceUID .0020,0052. must be the CT's"):
        read(root)


def test_a_ct_that_lacks_slices_at_its_end_is_refused_unless_asked_for(root: Path) -> None:
    (root / "ct_000.dcm").unlink()
    with pytest.raises(
        CaseError, match=r"CT series must hold all 16 slices that its structure set refers to.*got '15 slices'"
    ):
        read(root)
    case, report = read(root, incomplete_ct=True)
    assert case.grid.shape_zyx[0] == 15
    assert "1 CT slices that the structure set refers to are missing" in report.warnings
