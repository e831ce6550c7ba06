"""A case as a whole DICOM-RT study, or as new objects of an existing one."""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dosewright.core import InputError, PatientCase
from dosewright.core.structures import EXTERNAL
from dosewright.core.types import Mask
from dosewright.geometry.isocenter import isocenter_of
from dosewright.io.dicom.write_contours import Holes
from dosewright.io.dicom.write_ct import content_of, write_ct
from dosewright.io.dicom.write_dataset import MANUFACTURER, StudyHeader, content_uid, text
from dosewright.io.dicom.write_dose_types import RtDose
from dosewright.io.dicom.write_images import ImageSeries
from dosewright.io.dicom.write_plan_types import RtBeam, RtPlan
from dosewright.io.dicom.write_references import StudyReference
from dosewright.io.dicom.write_rtdose import write_rtdose
from dosewright.io.dicom.write_rtplan import write_rtplan
from dosewright.io.dicom.write_rtstruct import StructureSet, check_structures, write_rtstruct

_OURS = re.compile(r"(CT_[0-9]{4,}|RTSTRUCT|RTPLAN|RTDOSE_[a-z]+)\.dcm\Z")


@dataclass(frozen=True)
class PatientName:
    """What a study calls its patient.

    Args:
        name: DICOM person name, family name first, parts joined by `^`.
        id: Patient ID.

    Raises:
        InputError: If one is empty, longer than 64 characters or not fit for a DICOM string.
    """

    name: str
    id: str

    def __post_init__(self) -> None:
        for argument, value in (("patient.name", self.name), ("patient.id", self.id)):
            if not text(value, argument=argument):
                raise InputError("must not be empty", argument=argument, value=value)


@dataclass(frozen=True)
class WrittenStudy:
    """The files of a study.

    Args:
        ct: Slices from the lowest to the highest; none where an existing study is referenced.
        structures: RTSTRUCT, or None where the existing one serves.
        plan: RTPLAN, or None where the existing one serves.
        doses: RTDOSE in the order asked for.
    """

    ct: tuple[Path, ...]
    structures: Path | None
    plan: Path | None
    doses: tuple[Path, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return (*self.ct, *(path for path in (self.structures, self.plan) if path is not None), *self.doses)


def write_study(
    case: PatientCase,
    folder: str | Path,
    *,
    doses: Sequence[RtDose] | None = None,
    plan: RtPlan | None = None,
    helpers: Mapping[str, Mask] | None = None,
    names: Mapping[str, str] | None = None,
    reference: StudyReference | None = None,
    patient: PatientName | None = None,
    date: datetime.date | None = None,
    holes: Holes = "keyhole",
    overwrite: bool = False,
) -> WrittenStudy:
    """Write a case as CT, RTSTRUCT, RTPLAN and RTDOSE that reference each other, all marked as research.

    Of an existing study the CT is not written again, and its structure set and plan are used: a new RTSTRUCT holds the
    helpers alone, a new RTPLAN is written only where `plan` is given or the study has none.

    Args:
        case: The patient; beams as for one supine and head first, as they are in all cases.
        folder: Where to; absent or empty. File names hold nothing of the patient.
        doses: Total doses, one of each kind at most; None takes the case's own, if any, as "reference".
        plan: Beams with apertures; None writes the prescription and, of photons, the beams' angles only.
        helpers: Further structures on the case's grid.
        names: TG-263 name → the user's own, for the ROI names.
        reference: An existing study to belong to; the case's grid is in its frame of reference.
        patient: What to call the patient; None takes the case id. Not with `reference`, which says it.
        date: Of the study; None leaves dates empty, so that the same case gives the same files any day. Not with
            `reference`.
        holes: How holes are written, see `contours_mm`.
        overwrite: Whether an earlier study in `folder` is removed first; other files there are still refused.

    Raises:
        InputError: If the folder is not empty, two doses are of one kind, a structure is there twice, the plan
            prescribes to a structure the case does not have, the case leaves the referenced CT, or a plan is to
            be written for a patient who lies otherwise there.
        GridMismatchError: If a dose or mask is on another grid than it should be.
        StorageError: If a file cannot be written.
    """
    folder, helpers = Path(folder), dict(helpers or {})
    chosen = _doses(case, doses)
    _check(case, plan, helpers, reference, patient)
    check_structures({EXTERNAL: case.body, **case.structures, **helpers}, case.grid, names or {})
    for dose in chosen:
        dose.check_shape(case.grid)
    _prepare(folder, overwrite)
    header = reference.header if reference else header_of(case, patient, date)
    images, ct = (reference.images, ()) if reference else write_ct(case, folder, header)
    structures, structures_path = _structures(case, folder, header, images, helpers, names, reference, holes)
    plan_uid, plan_path = reference.plan_uid if reference else None, None
    if plan is not None or plan_uid is None:
        plan_path = folder / "RTPLAN.dcm"
        plan_uid = write_rtplan(plan_path, plan or angles_only(case), header, structures, names)
    paths = []
    for dose in chosen:
        paths.append(folder / f"RTDOSE_{dose.kind}.dcm")
        masks = _masks_of(dose, case, helpers, structures, names or {})
        write_rtdose(paths[-1], dose, case.grid, header, plan_uid, structures.uid, masks)
    return WrittenStudy(ct, structures_path, plan_path, tuple(paths))


def header_of(case: PatientCase, patient: PatientName | None = None, date: datetime.date | None = None) -> StudyHeader:
    """Return the header of a case's own study: the same case gives the same UIDs, whatever its structures and doses."""
    patient = patient or PatientName(f"{case.case_id}^{MANUFACTURER}", case.case_id)
    study = content_uid("study", patient.id, content_of(case))
    day = "" if date is None else date.strftime("%Y%m%d")
    return StudyHeader(patient.name, patient.id, study, content_uid("frame", study), study_date=day)


def angles_only(case: PatientCase) -> RtPlan:
    """Return a case's prescription and photon beams as a plan without apertures, which nothing can deliver."""
    beams = () if case.technique == "proton" else case.beams
    return RtPlan(
        beams=tuple(RtBeam(float(one.gantry_angle_deg), float(one.couch_angle_deg)) for one in beams),
        isocenter_xyz_mm=isocenter_of(case),
        prescription_gy=case.prescription_gy,
        fractions=case.fractions,
    )


def _structures(
    case: PatientCase,
    folder: Path,
    header: StudyHeader,
    images: ImageSeries,
    helpers: Mapping[str, Mask],
    names: Mapping[str, str] | None,
    reference: StudyReference | None,
    holes: Holes,
) -> tuple[StructureSet, Path | None]:
    """Write the structures that are not there yet; return the structure set that plan and dose reference."""
    there = reference.structures if reference else None
    masks = dict(helpers) if there else {EXTERNAL: case.body, **case.structures, **helpers}
    if there and not masks:
        return there, None
    path = folder / "RTSTRUCT.dcm"
    written = write_rtstruct(path, masks, case.grid, header, images, names, holes)
    return there or written, path


def _masks_of(
    dose: RtDose, case: PatientCase, helpers: Mapping[str, Mask], structures: StructureSet, names: Mapping[str, str]
) -> dict[int, Mask]:
    """Return the masks whose DVHs go with a dose, by ROI number; none for a dose on a grid of its own."""
    if dose.grid is not None and dose.grid != case.grid:
        return {}
    masks = {EXTERNAL: case.body, **case.structures, **helpers}
    written = {names.get(name, name): mask for name, mask in masks.items()}
    return {structures.numbers[name]: mask for name, mask in written.items() if name in structures.numbers}


def _doses(case: PatientCase, doses: Sequence[RtDose] | None) -> tuple[RtDose, ...]:
    if doses is None:
        return () if case.dose_gy is None else (RtDose(case.dose_gy, "reference"),)
    kinds = [dose.kind for dose in doses]
    if len(set(kinds)) < len(kinds):
        raise InputError("must be of different kinds", argument="doses", value=kinds)
    return tuple(doses)


def _check(
    case: PatientCase,
    plan: RtPlan | None,
    helpers: Mapping[str, Mask],
    reference: StudyReference | None,
    patient: PatientName | None,
) -> None:
    twice = sorted(set(helpers) & {EXTERNAL, *case.structures})
    if twice:
        raise InputError("must not be structures of the case", argument="helpers", value=twice)
    stray = sorted(set(plan.prescription_gy if plan else ()) - set(case.structures))
    if stray:
        raise InputError("must be to structures of the case", argument="plan.prescription_gy", value=stray)
    if reference is None:
        return
    if reference.position != "HFS" and (plan is not None or reference.plan_uid is None):
        rule = "must be HFS for a plan to be written: bring the study's own plan, and no other"
        raise InputError(rule, argument="PatientPosition", value=reference.position, path=reference.path)
    if patient is not None:
        raise InputError("must not be given with a reference, which says it", argument="patient", value=patient.id)
    low, high = reference.images.instances[0][1], reference.images.instances[-1][1]
    margin = case.grid.spacing_xyz_mm[2]
    heights = case.grid.axis_mm("z")
    if heights[0] < low - margin or heights[-1] > high + margin:
        rule = f"must lie within the referenced CT, z = {low:g} to {high:g} mm"
        raise InputError(rule, argument="case.grid", value=(float(heights[0]), float(heights[-1])), path=reference.path)


def _prepare(folder: Path, overwrite: bool) -> None:
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    ours = [path for path in there if _OURS.match(path.name) and path.is_file()]
    other = [path.name for path in there if path not in ours]
    if other or (ours and not overwrite):
        rule = "must be absent or empty" if not overwrite else "must hold nothing but an earlier export"
        raise InputError(rule, argument="folder", value=(other or [p.name for p in ours])[:5], path=folder)
    for path in ours:
        path.unlink()
