"""The DICOM-RT study of a plan, beside its report, made of what is stored of the plan whenever it was planned."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dosewright.core import Beam, CaseError, PatientCase
from dosewright.core.files import atomic_write
from dosewright.core.types import FloatVolume, Mask
from dosewright.fluence.apertures import Aperture
from dosewright.io.dicom.write_dose_types import RtDose
from dosewright.io.dicom.write_plan_types import RtPlan
from dosewright.io.dicom.write_references import read_study_reference
from dosewright.io.dicom.write_study import angles_only, write_study
from dosewright.io.predictions import read_prediction
from dosewright.jobs.export_record import ExportRecord
from dosewright.jobs.plan_cohort import DICOM, DICOM_RECORD, PlanJob
from dosewright.jobs.plan_comparison import REFERENCE, SEQUENCED
from dosewright.planning.arc_beams import ArcBeams
from dosewright.planning.beam_setup import Modality
from dosewright.planning.deliver import Delivered
from dosewright.planning.dicom_plan import rt_plan_of, rt_plan_of_arcs

VERSION = 1  # raise when the same plan gives other files

_REMARKS = {
    "proton": "Spots of protons are not written (there is no RT Ion Plan): RTPLAN holds the prescription alone.",
    "fluence": "The fluence was not sequenced: RTPLAN holds the angles it was planned for, without monitor units.",
    "fields": "Arcs of the case were planned as fields at rest.",
    "arcs": "The dose was computed for apertures at rest in the middle of their sectors.",
}

log = logging.getLogger(__name__)


def write_plan_dicom(job: PlanJob, case_id: str) -> tuple[Path, ...]:
    """Write the study of a plan that is there, unless it is written already, and return its files.

    `cases/<case_id>/dicom/` gets CT, structures with the helpers that the objectives name, RTPLAN, the plan's dose and
    the dose asked for unless that is the case's own; `dicom.json` beside it, written last, says of which plan they are.
    Of a case that was read from DICOM they belong to its own study, and its CT and structures are not written again.

    Args:
        job: What planned the case.
        case_id: The case.

    Raises:
        CaseError: If files of the plan are not as they were written.
        InputError: If something does not fit into DICOM, see `write_study`.
        StorageError: If a file cannot be written.
    """
    folder = job.out / "cases" / case_id
    stored = _Stored.read(folder)
    made_from = {"version": VERSION, "plan": stored.digest}
    known = _known(folder, made_from)
    if known is not None:
        return known
    (folder / DICOM_RECORD).unlink(missing_ok=True)
    case = stored.with_beams(job.beams.applied(job.reader.read(case_id)))
    plan, remarks = _rt_plan(job, case, stored)
    wanted_gy = job.source.dose_gy(case)
    files = job.reader.source_files(case_id)
    study = write_study(
        case,
        folder / DICOM,
        doses=_doses(stored, wanted_gy, read_prediction(job.out / "doses", case)),
        plan=plan,
        helpers=_helpers(job, case, wanted_gy, stored.record),
        reference=read_study_reference(files) if files else None,
        overwrite=True,
    )
    record = ExportRecord.of(made_from, study.paths, folder)
    content = {"use": "research only", "made_from": made_from, "files": dict(record.files), "remarks": remarks}
    atomic_write(folder / DICOM_RECORD, json.dumps(content, indent=1) + "\n")
    for remark in remarks:
        log.warning("%s, DICOM: %s", case_id, remark)
    return study.paths


@dataclass(frozen=True, eq=False)
class _Stored:
    """What the files beside a report hold.

    Args:
        folder: Of the case.
        record: report.json.
        digest: Of report.json, which holds times: no two plannings have the same.
        beams: That were planned with.
        fluence: Of the apertures, per beamlet; None where there are none.
        apertures: In the order of delivery, weights in monitor units of one fraction; none of a fluence.
    """

    folder: Path
    record: Mapping[str, Any]
    digest: str
    beams: tuple[tuple[float, float], ...]
    fluence: np.ndarray | None
    apertures: tuple[Aperture, ...]

    @classmethod
    def read(cls, folder: Path) -> "_Stored":
        try:
            content = (folder / "report.json").read_bytes()
            record = json.loads(content)
            with np.load(folder / "plan.npz", allow_pickle=False) as arrays:
                angles = zip(arrays["gantry_angle_deg"].tolist(), arrays["couch_angle_deg"].tolist(), strict=True)
                sequenced = record["sequencing"] is not None
                fluence = arrays["sequenced_fluence"].astype(float) if sequenced else None
            apertures = read_apertures(folder / "apertures.json") if sequenced else ()
            return cls(folder, record, hashlib.sha256(content).hexdigest(), tuple(angles), fluence, apertures)
        except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
            rule = f"must be as they were written ({error}); plan again with overwrite=true"
            raise CaseError(rule, argument="files of the plan", path=folder) from error

    def with_beams(self, case: PatientCase) -> PatientCase:
        """Return the case with the beams that it was planned with."""
        kind: Modality = "proton" if case.technique == "proton" else "photon"
        return replace(case, beams=tuple(Beam(gantry, couch, kind) for gantry, couch in self.beams))


def read_apertures(path: Path) -> tuple[Aperture, ...]:
    """Return what `plan_cohort.write_apertures` wrote; weights are monitor units of one fraction.

    Raises:
        InputError: If an aperture is not possible.
        OSError: If the file cannot be read; LookupError, TypeError or ValueError if it is of another kind.
    """
    return tuple(
        Aperture(
            beam=int(one["beam"]),
            edges_mm=np.array(one["edges_mm"], float),
            left_mm=np.array(one["left_mm"], float),
            right_mm=np.array(one["right_mm"], float),
            jaws_mm=(float(one["jaws_mm"][0]), float(one["jaws_mm"][1])),
            weight=float(one["monitor_units"]),
        )
        for one in json.loads(path.read_text())["apertures"]
    )


def _known(folder: Path, made_from: Mapping[str, Any]) -> tuple[Path, ...] | None:
    """Return the files of the study that is there, if it is whole and of this plan."""
    try:
        content = json.loads((folder / DICOM_RECORD).read_text())
        record = ExportRecord(content["made_from"], {str(name): int(size) for name, size in content["files"].items()})
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return tuple(folder / name for name in record.files) if record.fits(made_from, folder) else None


def _rt_plan(job: PlanJob, case: PatientCase, stored: _Stored) -> tuple[RtPlan, list[str]]:
    """Return as much of the plan as RTPLAN can hold, and what the user should know of it."""
    setup = job.beams.chosen(case)
    if case.technique == "proton":
        plan, about = angles_only(case), "proton"
    elif stored.fluence is None or job.delivery is None:
        plan, about = angles_only(case), "fluence"
    else:
        units, mlc = float(stored.record["sequencing"]["mu"]), job.delivery.sequencer.mlc
        if isinstance(setup, ArcBeams):
            empty = np.zeros(case.grid.shape_zyx, np.float32)  # the dose goes into RTDOSE
            delivered = Delivered(stored.apertures, stored.fluence, empty, units, {})
            plan, about = rt_plan_of_arcs(case, setup, delivered, mlc), "arcs"
        else:
            plan = rt_plan_of(case, stored.apertures, units, mlc)
            about = "fields" if case.technique == "VMAT" else ""
    remarks = [_REMARKS[about]] if about else []
    return replace(plan, comment=" ".join(remarks)), remarks


def _doses(stored: _Stored, wanted_gy: FloatVolume, planned_gy: FloatVolume) -> list[RtDose]:
    """Return the plan's dose, and the one asked for unless it is the reference."""
    what = "of the apertures" if stored.record["final"] == SEQUENCED else "of the optimised fluence"
    doses = [RtDose(planned_gy, "planned", comment=f"Dose {what}; zero where dose is not scored.")]
    if stored.record["wanted"] != REFERENCE:
        comment = "Dose asked for; the plan that is referenced was made for it, and does not give it."
        doses.append(RtDose(wanted_gy, "predicted", comment=comment))
    return doses


def _helpers(job: PlanJob, case: PatientCase, wanted_gy: FloatVolume, record: Mapping[str, Any]) -> dict[str, Mask]:
    """Return the helper structures that objectives of the plan name; none is empty or one of the case's."""
    named = {str(objective["structure"]) for objective in record["objectives"]} - set(case.structures)
    found = job.planner.goals(case, wanted_gy).helpers if named else {}
    return {name: mask for name, mask in found.items() if name in named and mask.any()}
