"""The readers under attack: how to make a good source, which files of it to break, and how to read it."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cases import make_case
from dosewright.core import PatientCase
from hostile.byte_mutations import DAMAGE, NO_FILE, TRUNCATION
from hostile.mutation import Mutation
from hostile.text_mutations import ENCODINGS, JSON, TEXT, XML

TESTS = Path(__file__).resolve().parents[1]
for folder in (TESTS, *(TESTS / name for name in ("objectives", "objectives/formats", "scorecards"))):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
COMMON = (*NO_FILE, *TRUNCATION, *DAMAGE)


@dataclass(frozen=True)
class Subject:
    """A reader.

    Args:
        name: Of the reader.
        make: Makes a good source in an empty folder.
        read: Returns what the reader makes of the folder's content.
        targets: Pattern of files → mutations that may befall one of them.
        optional: Patterns of files of which a part, or nothing, makes another valid source.
        unknowable: Mutations that leave a valid source of other values, and why no reader can know.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    targets: Mapping[str, tuple[Mutation, ...]]
    optional: tuple[str, ...] = ()
    unknowable: Mapping[str, str] = field(default_factory=dict)


def digest(value: Any) -> str:
    """A hash of a case or of any plain result, by all that is in it."""
    seen = hashlib.sha256()
    _feed(seen, value)
    return seen.hexdigest()


def _feed(seen: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        seen.update(f"{value.dtype}{value.shape}".encode())
        seen.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for key in value:
            seen.update(repr(key).encode("utf-8", "backslashreplace"))
            _feed(seen, value[key])
    elif isinstance(value, list | tuple):
        seen.update(f"{len(value)}[".encode())
        for entry in value:
            _feed(seen, entry)
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            seen.update(part.name.encode())
            _feed(seen, getattr(value, part.name))
    else:
        seen.update(repr(value).encode("utf-8", "backslashreplace"))


# OpenKBP


def _openkbp(folder: Path) -> None:
    from openkbp_files import write_split

    write_split(folder, "train", "pt_1")


def _read_openkbp(folder: Path) -> PatientCase:
    from dosewright.io.openkbp import OpenKBPReader

    return OpenKBPReader(folder, "train").read("pt_1")


# Prepared cases and predictions


def _prepared(folder: Path) -> None:
    from dosewright.io.prepared import write_case

    write_case(folder / "case_1.case", make_case())


def _plan(folder: Path) -> None:
    from dosewright.io.prepared_plan import write_anatomy, write_plan

    case = make_case()
    anatomy = write_anatomy(folder, make_case("patient"))
    write_plan(folder / "case_1.case", case, anatomy, {"made": "by hand"}, np.zeros(3))


def _read_prepared(folder: Path) -> PatientCase:
    from dosewright.io.prepared import PreparedReader

    return PreparedReader(folder).read("case_1")


def _npz(folder: Path) -> None:
    from dosewright.io.predictions import write_prediction

    case = make_case()
    assert case.dose_gy is not None
    write_prediction(folder, "case_1", case.grid, case.dose_gy)


def _read_prediction(folder: Path) -> np.ndarray:
    from dosewright.io.predictions import list_predictions, read_prediction

    list_predictions(folder)
    return read_prediction(folder, make_case())


def _volume(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from dosewright.io.volumes.nifti import write_nifti
        from dosewright.io.volumes.nrrd_file import write_nrrd

        case = make_case()
        assert case.dose_gy is not None
        if kind == "nifti":
            write_nifti(folder / "case_1.nii.gz", case.dose_gy, case.grid)
        else:
            write_nrrd(folder / "case_1.nrrd", case.dose_gy, case.grid)

    return make


# Objectives, scorecards, names


def _objectives(folder: Path) -> None:
    from objective_samples import ALL

    from dosewright.objectives.objective_file import write_objectives

    write_objectives(folder / "objectives.json", ALL)


def _read_objectives(folder: Path) -> Any:
    from dosewright.objectives.objective_file import read_objectives

    return read_objectives(folder / "objectives.json")


def _eclipse(folder: Path) -> None:
    from export_samples import content, line

    from dosewright.objectives import Objective
    from dosewright.objectives.formats.eclipse import EclipseFormat

    objectives = (
        Objective("PTV", "squared_underdose", 70.7, priority=300),
        Objective("PTV", "squared_overdose", 73.5, priority=300),
        Objective("SpinalCord", "max_dvh", 30.0, 20.0, priority=50),
        Objective("Parotid_L", "mean_upper", 24.0, priority=80),
        Objective("Larynx", "geud_upper", 40.0, exponent=8.0, priority=60),
    )
    written = EclipseFormat().write(folder, content([*objectives, *line("Brain")]))
    (folder / written.files[0]).rename(folder / "template.xml")


def _read_eclipse(folder: Path) -> Any:
    from dosewright.objectives.formats.eclipse_reader import read_eclipse

    return read_eclipse(folder / "template.xml")


def _card(folder: Path) -> None:
    from scorecard_samples import plan_score_card_json

    (folder / "card.json").write_text(json.dumps(plan_score_card_json(), indent=1))


def _proknow(folder: Path) -> None:
    rule = {"label": "IDEAL", "color": [0, 128, 0], "max": 45}
    metrics = [
        {"type": "DOSE_VOLUME_PERCENT_ROI", "roi_name": "PTV", "arg_1": 95, "arg_2": None, "objectives": [rule]},
        {"type": "MEAN_DOSE_ROI", "roi_name": "Parotid_L", "arg_1": None, "arg_2": None, "objectives": [rule]},
    ]
    (folder / "card.json").write_text(json.dumps({"computed": metrics, "custom": []}, indent=1))


def _read_card(folder: Path) -> Any:
    from dosewright.scorecards import read_score_card

    return read_score_card(folder / "card.json")


def _names(folder: Path) -> None:
    rows = ("PAROTIS LI,Parotid_L", "Parotis re,Parotid_R", "Myelon,SpinalCord", "PTV 70,PTV_High", "Tisch,")
    (folder / "names.csv").write_text("source,name\n" + "".join(f"{row}\n" for row in rows))


def _read_names(folder: Path) -> Any:
    from dosewright.io.tg263 import read_overrides

    return read_overrides(folder / "names.csv")


# DICOM and GDP-HMM


def _dicom(folder: Path) -> None:
    from dicom_files import DicomPhantom
    from dosewright.core import Grid

    DicomPhantom(
        grid=Grid((6, 22, 24), (6.0, 7.0, 8.0), (-70.0, -72.0, -18.0)),
        dose_grid=Grid((6, 16, 18), (8.0, 9.0, 9.0), (-69.3, -70.1, -21.7)),
    ).write(folder)


def _read_dicom(folder: Path) -> Any:
    from dosewright.io.dicom import DicomReader

    reader = DicomReader(folder, plan="require", dose="require", site="HeadNeck")
    cases = [reader.read_with_report(case_id) for case_id in reader.case_ids]
    return [
        (case.ct_hu, case.structures, case.body, case.dose_gy, case.grid, case.prescription_gy) for case, _ in cases
    ]


def _gdp_hmm(folder: Path) -> None:
    from dosewright.io.gdp_hmm import GdpHmmWriter

    GdpHmmWriter(split="train").write(make_case(), folder)


def _read_gdp_hmm(folder: Path) -> Any:
    from dosewright.io.gdp_hmm import GdpHmmReader

    reader = GdpHmmReader(folder, "train")
    for case_id in reader.case_ids:
        reader.objective_structures(case_id)
    return list(reader)


def subjects() -> tuple[Subject, ...]:
    """All readers."""
    from hostile.dicom_mutations import DICOM
    from hostile.volume_mutations import NIFTI, NRRD
    from hostile.zip_mutations import ARRAYS, CASE_HEADER, PICKLES, ZIP

    text = (*COMMON, *TEXT, *ENCODINGS)
    json_text = (*text, *JSON)
    case_file = (*COMMON, *ZIP, *PICKLES, *CASE_HEADER)
    array_file = (*COMMON, *ZIP, *PICKLES, *ARRAYS)
    swapped = {"entries swapped": "masks and dose may have the same type"}
    return (
        Subject(
            "OpenKBP CSV",
            _openkbp,
            _read_openkbp,
            {"**/*.csv": text},
            optional=("*Parotid.csv", "PTV70.csv"),
            unknowable={"another file's content": "a file does not say which structure it is, or whether CT or dose"},
        ),
        Subject("prepared case", _prepared, _read_prepared, {"*.case": case_file}, unknowable=swapped),
        Subject(
            "prepared plan",
            _plan,
            _read_prepared,
            {"*.case": case_file, "*.anatomy": case_file},
            unknowable=swapped,
        ),
        Subject("prediction npz", _npz, _read_prediction, {"*.npz": array_file}),
        Subject("dose NIfTI", _volume("nifti"), _read_prediction, {"*.nii.gz": (*COMMON, *NIFTI)}),
        Subject("dose NRRD", _volume("nrrd"), _read_prediction, {"*.nrrd": (*COMMON, *NRRD)}),
        Subject("objective JSON", _objectives, _read_objectives, {"*.json": json_text}),
        Subject("Eclipse XML", _eclipse, _read_eclipse, {"*.xml": (*text, *XML)}),
        Subject("PlanScoreCard", _card, _read_card, {"*.json": json_text}),
        Subject("ProKnow card", _proknow, _read_card, {"*.json": json_text}),
        Subject("names CSV", _names, _read_names, {"*.csv": text}, optional=("*.csv",)),
        Subject("DICOM-RT", _dicom, _read_dicom, {"*.dcm": (*COMMON, *DICOM)}),
        Subject(
            "GDP-HMM",
            _gdp_hmm,
            _read_gdp_hmm,
            {"*.npz": (*array_file, *array_file), "*.csv": text, "*.json": json_text},
            optional=("Pat_Obj_DICT.json",),
        ),
    )
