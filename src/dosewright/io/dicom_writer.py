"""Cases written as DICOM-RT studies."""

from collections.abc import Mapping
from pathlib import Path
from typing import final

from dosewright.core import CaseError, PatientCase
from dosewright.io.dicom.write_dose_types import RtDose
from dosewright.io.dicom.write_references import StudyReference, read_study_reference
from dosewright.io.dicom.write_study import PatientName, write_study
from dosewright.io.writer import AbstractWriter, Origin


@final
class StudyWriter(AbstractWriter):
    """Writes `<case_id>/` with CT, RTSTRUCT, RTPLAN and RTDOSE, see `io.dicom.write_study`.

    Args:
        belong: Whether a case that was read from DICOM is written as new objects of its own study (its dose, and what
            the study lacks) instead of as a study of its own.
        patient: What to call the patient of a study of its own, name and id alike; None takes the case id.
        names: TG-263 name → ROI name.
    """

    def __init__(self, belong: bool = True, patient: str | None = None, names: Mapping[str, str] | None = None) -> None:
        self.belong, self.patient, self.names = belong, patient, dict(names or {})

    def write(self, case: PatientCase, folder: Path, origin: Origin | None = None) -> tuple[Path, ...]:
        """Write one case; see `AbstractWriter.write`.

        Raises:
            CaseError: If the case's own study has all there is to write, or cannot be referred to.
        """
        origin = origin or Origin()
        reference: StudyReference | None = None
        if self.belong and origin.files:
            reference = read_study_reference(origin.files)
        patient = None if self.patient is None or reference else PatientName(self.patient, self.patient)
        doses = () if case.dose_gy is None else (RtDose(case.dose_gy, origin.dose),)
        names = {name: self.names[name] for name in self.names if name in case.structures} or None
        own = folder / case.case_id
        study = write_study(case, own, doses=doses, names=names, reference=reference, patient=patient, overwrite=True)
        if not study.paths:
            raise CaseError("has nothing that its own study lacks: give it a dose", argument=case.case_id, path=own)
        return study.paths
