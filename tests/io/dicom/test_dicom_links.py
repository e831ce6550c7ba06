"""Files sorted out by UIDs alone: several patients and studies, several objects for one CT, and what fits nothing."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from dicom_files import DicomPhantom, Roi, save, uid
from dosewright.core import CaseError, Grid, InputError
from dosewright.io.dicom.read_choice import Chain, checked_choices, choose_chain
from dosewright.io.dicom.read_links import CaseFiles, link_cases
from dosewright.io.dicom.read_scan import scan_folder

GRID = Grid((3, 8, 9), (10.0, 12.0, 5.0), (-40.0, -42.0, -5.0))
ONE = DicomPhantom(
    "one", grid=GRID, dose_grid=GRID, rois=(Roi.cylinder("PTV", 0.0, 0.0, GRID.axis_mm("z"), 30.0, "PTV"),)
)
TWO = ONE.renamed("two")


def cases_of(root: Path) -> dict[str, CaseFiles]:
    return {files.case_id: files for files in link_cases(scan_folder(root), "data.root")}


def chain_of(root: Path, **choices: str) -> Chain:
    (files,) = link_cases(scan_folder(root), "data.root")
    return choose_chain(files, choices, root)


def names(chain: Chain) -> tuple[str, str, list[str]]:
    return (
        chain.structure_set.path.name,
        "" if chain.plan is None else chain.plan.path.name,
        sorted(dose.path.name for dose in chain.doses),
    )


WHOLE = ("structures.dcm", "plan.dcm", ["dose.dcm"])


def test_two_patients_in_one_heap_come_apart(tmp_path: Path) -> None:
    for phantom in (ONE, TWO):
        phantom.write(tmp_path / phantom.name)
    for k, path in enumerate(sorted(tmp_path.rglob("*.dcm"), key=lambda p: p.read_bytes()[-200:])):
        path.rename(tmp_path / f"IM{k:04d}")  # any name, no suffix
    cases = cases_of(tmp_path)
    assert len(cases) == 2
    for files in cases.values():
        chain = choose_chain(files, {}, tmp_path)
        frames = {i.frames for i in (*files.slices, chain.structure_set, chain.plan, *chain.doses) if i is not None}
        assert len(files.slices) == 3
        assert len(frames) == 1
        assert chain.plan is not None
        assert len(chain.doses) == 1


def test_studies_and_folders_play_no_part(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    for k, path in enumerate(sorted(tmp_path.glob("*.dcm"))):
        (tmp_path / f"deep/{k}").mkdir(parents=True)
        path.rename(tmp_path / f"deep/{k}/{path.name}")
    assert names(chain_of(tmp_path)) == WHOLE


def test_case_ids_tell_nothing_and_stay_the_same(tmp_path: Path) -> None:
    ONE.write(tmp_path / "here")
    (before,) = cases_of(tmp_path)
    shutil.move(tmp_path / "here", tmp_path / "there")
    TWO.write(tmp_path / "more")
    after = list(cases_of(tmp_path))
    assert before in after
    assert len(before) == len("ct_") + 12
    assert "one" not in before
    kept = link_cases(scan_folder(tmp_path / "there", keep_patient_id=True), "data.root")[0].case_id
    assert kept == f"ID-one.{before.removeprefix('ct_')}"


def test_copies_count_once_and_others_are_left_out(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    shutil.copytree(tmp_path, tmp_path / "again", ignore=shutil.ignore_patterns("again"))
    (tmp_path / "notes.txt").write_text("read me")
    (tmp_path / ".hidden.dcm").write_text("not DICOM")
    scout = ONE.ct_slices()[0]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(scout, tmp_path / "scout.dcm")
    other = ONE.ct_slices()[0]
    other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    save(other, tmp_path / "mr.dcm")
    scan = scan_folder(tmp_path)
    assert scan.ignored == {"not DICOM": 1, "localizers": 1, "other DICOM objects": 1, "identical copies": 6}
    assert len(scan.instances) == 6
    assert names(chain_of(tmp_path)) == WHOLE


def changed(data: FileDataset, kind: str, **values: object) -> FileDataset:
    """The same object under another UID."""
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid(kind)
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


class TestChoices:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """One CT; structure sets old and new, two plans on the new one with a dose each."""
        ONE.write(tmp_path)
        save(changed(ONE.structure_set(), "old", StructureSetLabel="old"), tmp_path / "old" / "rs.dcm")
        boost = changed(ONE.plan(), "boost", RTPlanLabel="boost")
        save(boost, tmp_path / "boost" / "rp.dcm")
        dose = changed(ONE.dose(), "boost dose")
        dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID = boost.SOPInstanceUID
        save(dose, tmp_path / "boost" / "rd.dcm")
        return tmp_path

    def test_several_are_listed_by_file_not_by_label(self, root: Path) -> None:
        with pytest.raises(CaseError, match=r"fits several: choose by data.choose=") as caught:
            chain_of(root)
        message = str(caught.value)
        for part in (
            "structures.dcm + plan.dcm + dose.dcm;",
            "structures.dcm + boost/rp.dcm + boost/rd.dcm;",
            "old/rs.dcm;",
        ):
            assert part in message
        assert "got '3 combinations'" in message
        assert "label" not in message.replace("by label, UID or file", "")

    @pytest.mark.parametrize(
        ("choices", "expected"),
        [
            ({"plan": "boost"}, ("structures.dcm", "rp.dcm", ["rd.dcm"])),
            ({"plan": "plan.dcm"}, WHOLE),
            ({"dose": "boost/*.dcm"}, ("structures.dcm", "rp.dcm", ["rd.dcm"])),
            ({"dose": ONE.object_uid("dose")}, WHOLE),
            ({"structure_set": "old"}, ("rs.dcm", "", [])),
            ({"structure_set": "structures", "plan": "plan"}, WHOLE),
        ],
    )
    def test_a_choice_decides(self, root: Path, choices: dict[str, str], expected: object) -> None:
        assert names(chain_of(root, **choices)) == expected

    def test_a_choice_that_fits_nothing_is_refused(self, root: Path) -> None:
        with pytest.raises(CaseError, match=r"must fit a file of case ct_.*got {'plan': 'none such'}"):
            choose_chain(next(iter(cases_of(root).values())), {"plan": "none such"}, root)

    def test_ignoring_plan_or_dose_leaves_them_out(self, root: Path) -> None:
        files = next(iter(cases_of(root).values()))
        chain = choose_chain(files, {"structure_set": "structures"}, root, plan="ignore", dose="ignore")
        assert names(chain) == ("structures.dcm", "", [])

    @pytest.mark.parametrize("kind", ["plan", "dose"])
    def test_what_is_required_must_be_there(self, root: Path, kind: str) -> None:
        files = next(iter(cases_of(root).values()))
        with pytest.raises(CaseError, match=f"must have a {kind}, as data.{kind}=require asks for"):
            choose_chain(files, {"structure_set": "old"}, root, **{kind: "require"})

    @pytest.mark.parametrize("choices", [{"ct": "x"}, {"plan": ""}])
    def test_choices_are_of_known_kinds(self, choices: dict[str, str]) -> None:
        with pytest.raises(InputError, match=r"data.choose must name one of structure_set, plan, dose"):
            checked_choices(choices)
        assert checked_choices(None) == {}


def test_doses_of_beams_go_together_and_yield_to_one_of_the_plan(tmp_path: Path) -> None:
    ONE.write(tmp_path, dose=False)
    for k in range(2):
        save(changed(ONE.dose(summation="BEAM"), f"beam {k}"), tmp_path / f"beam_{k}.dcm")
    assert names(chain_of(tmp_path)) == ("structures.dcm", "plan.dcm", ["beam_0.dcm", "beam_1.dcm"])
    save(ONE.dose(), tmp_path / "dose.dcm")
    chain = chain_of(tmp_path)
    assert names(chain) == WHOLE
    assert chain.notes == ("left out 2 doses of beams or fraction groups: there is one of the plan",)


# --- references that lead nowhere ----------------------------------------------------------------------------------


def _anonymised(data: FileDataset, keyword: str) -> FileDataset:
    getattr(data, keyword)[0].ReferencedSOPInstanceUID = uid("gone")
    return data


def test_a_dose_without_its_plan_is_taken_by_the_structure_set_or_the_frame(tmp_path: Path) -> None:
    ONE.write(tmp_path, plan=False)
    assert chain_of(tmp_path).notes == ()
    save(_anonymised(ONE.dose(), "ReferencedStructureSetSequence"), tmp_path / "dose.dcm")
    chain = chain_of(tmp_path)
    assert names(chain) == ("structures.dcm", "", ["dose.dcm"])
    assert chain.notes == ("the dose refers to no plan or structure set that is here; taken by its frame of reference",)


def test_a_plan_of_a_structure_set_that_is_not_here_is_taken_by_the_frame(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    save(_anonymised(ONE.plan(), "ReferencedStructureSetSequence"), tmp_path / "plan.dcm")
    chain = chain_of(tmp_path)
    assert names(chain) == WHOLE
    assert chain.notes == ("the plan refers to a structure set that is not here; taken by its frame of reference",)


def _without_images(data: FileDataset) -> FileDataset:
    del data.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
    for roi in data.ROIContourSequence:
        for contour in roi.ContourSequence:
            del contour.ContourImageSequence
    return data


def test_a_structure_set_without_images_is_taken_by_a_frame_that_one_ct_has_alone(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    save(_without_images(ONE.structure_set()), tmp_path / "structures.dcm")
    assert names(chain_of(tmp_path)) == WHOLE
    for k, data in enumerate(replace(ONE, name="second", frame="one").ct_slices()):
        save(data, tmp_path / "second" / f"{k}.dcm")
    with pytest.raises(CaseError, match="2 CT series, 1 structure sets"):
        cases_of(tmp_path)


def test_contours_alone_may_name_the_images(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    data = ONE.structure_set()
    del data.ReferencedFrameOfReferenceSequence
    save(data, tmp_path / "structures.dcm")
    assert cases_of(tmp_path)


def _foreign(data: FileDataset) -> FileDataset:
    data.PatientID = "someone else"
    return data


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("structures.dcm", DicomPhantom.structure_set),
        ("plan.dcm", DicomPhantom.plan),
        ("dose.dcm", DicomPhantom.dose),
    ],
)
def test_files_of_another_patient_are_refused_without_naming_either(
    tmp_path: Path, name: str, make: Callable[[DicomPhantom], FileDataset]
) -> None:
    ONE.write(tmp_path)
    save(_foreign(make(ONE)), tmp_path / name)
    with pytest.raises(CaseError, match=r"PatientID .0010,0020. must be that of the CT") as caught:
        chain_of(tmp_path)
    assert caught.value.path == tmp_path / name
    assert "someone" not in str(caught.value)
    assert "ID-one" not in str(caught.value)
