"""A plan as RTPLAN: unapproved, of a machine that does not exist, with the intent "research"."""

from collections.abc import Mapping
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import RTPlanStorage, RTStructureSetStorage

from dosewright.core import InputError
from dosewright.io.dicom.write_dataset import (
    MANUFACTURER,
    MARK,
    WARNING,
    StudyHeader,
    decimal,
    identify,
    new_object,
    reference,
    save,
)
from dosewright.io.dicom.write_plan_types import RtBeam, RtPlan
from dosewright.io.dicom.write_rtplan_points import control_points
from dosewright.io.dicom.write_rtstruct import StructureSet

MACHINE = "RESEARCH"
_LONG_TEXT = 1024  # characters of VR ST


def write_rtplan(
    path: Path, plan: RtPlan, header: StudyHeader, structures: StructureSet, names: Mapping[str, str] | None = None
) -> str:
    """Write a plan and return its instance UID.

    Args:
        path: The file.
        plan: Beams, isocentre and prescription.
        header: Patient, study and frame of reference.
        structures: The structure set it is for; the prescription's targets are referenced by their ROI numbers, and
            named as sites where the structure set does not have them.
        names: TG-263 name → name in the structure set, for those that have another.

    Raises:
        InputError: If the comment is too long for the description.
        StorageError: If it cannot be written.
    """
    one = new_object(header, RTPlanStorage, "RTPLAN", "Dosewright plan", 3)
    one.RTPlanLabel = MARK
    one.RTPlanDescription = _description(plan)
    one.RTPlanDate = one.RTPlanTime = ""
    one.PlanIntent, one.RTPlanGeometry = "RESEARCH", "PATIENT"
    one.ApprovalStatus = "UNAPPROVED"
    one.ReferencedStructureSetSequence = [reference(RTStructureSetStorage, structures.uid)]
    one.DoseReferenceSequence = [
        _prescription(number, (names or {}).get(name, name), gy, structures)
        for number, (name, gy) in enumerate(plan.prescription_gy.items(), 1)
    ]
    one.FractionGroupSequence = [_fractions(plan)]
    one.PatientSetupSequence = [_setup()]
    if plan.beams:
        one.BeamSequence = [_beam(number, beam, plan) for number, beam in enumerate(plan.beams, 1)]
    uid = identify(one)
    save(one, path)
    return uid


def _description(plan: RtPlan) -> str:
    known = any(beam.points for beam in plan.beams)
    what = "" if known else " Prescription and beam angles only: no apertures, no monitor units."
    found = f"{WARNING}.{what} {plan.comment}".strip()
    if len(found) > _LONG_TEXT or not found.isprintable() or "\\" in found:
        rule = f"must leave the description at most {_LONG_TEXT} printable characters without backslashes"
        raise InputError(rule, argument="comment", value=plan.comment)
    return found


def _prescription(number: int, name: str, dose_gy: float, structures: StructureSet) -> Dataset:
    item = Dataset()
    item.DoseReferenceNumber = number
    item.DoseReferenceDescription = name
    item.DoseReferenceStructureType = "VOLUME" if name in structures.numbers else "SITE"
    if name in structures.numbers:
        item.ReferencedROINumber = structures.numbers[name]
    item.DoseReferenceType = "TARGET"
    item.TargetPrescriptionDose = decimal(dose_gy)
    return item


def _fractions(plan: RtPlan) -> Dataset:
    group = Dataset()
    group.FractionGroupNumber = 1
    group.NumberOfFractionsPlanned = plan.fractions
    group.NumberOfBeams, group.NumberOfBrachyApplicationSetups = len(plan.beams), 0
    if plan.beams:
        group.ReferencedBeamSequence = []
    for number, beam in enumerate(plan.beams, 1):
        item = Dataset()
        item.ReferencedBeamNumber = number
        if beam.points:
            item.BeamMeterset = decimal(beam.monitor_units)
        group.ReferencedBeamSequence.append(item)
    return group


def _setup() -> Dataset:
    item = Dataset()
    item.PatientSetupNumber, item.PatientPosition = 1, "HFS"
    return item


def _beam(number: int, beam: RtBeam, plan: RtPlan) -> Dataset:
    item = Dataset()
    item.Manufacturer = MANUFACTURER
    item.BeamNumber = number
    item.BeamName = f"Beam {number}"
    item.BeamDescription = MARK if beam.points else f"{MARK}: angles only, jaws closed"
    item.BeamType = "STATIC" if beam.is_static and beam.rotation == "NONE" else "DYNAMIC"
    item.RadiationType = "PHOTON"
    item.TreatmentMachineName = MACHINE
    item.PrimaryDosimeterUnit = "MU"
    item.SourceAxisDistance = decimal(plan.sad_mm)
    item.BeamLimitingDeviceSequence = _devices(beam)
    item.ReferencedPatientSetupNumber = 1
    item.TreatmentDeliveryType = "TREATMENT"
    item.NumberOfWedges = item.NumberOfCompensators = item.NumberOfBoli = item.NumberOfBlocks = 0
    if beam.points:
        item.FinalCumulativeMetersetWeight = decimal(1)
    item.ControlPointSequence = control_points(beam, plan)
    item.NumberOfControlPoints = len(item.ControlPointSequence)
    return item


def _devices(beam: RtBeam) -> list[Dataset]:
    found = []
    for name in ("ASYMX", "ASYMY", "MLCX"):
        if name == "MLCX" and not beam.points:
            continue
        device = Dataset()
        device.RTBeamLimitingDeviceType = name
        device.NumberOfLeafJawPairs = 1 if name != "MLCX" else len(beam.edges_mm) - 1
        if name == "MLCX":
            device.LeafPositionBoundaries = [decimal(round(edge, 4)) for edge in beam.edges_mm]
        found.append(device)
    return found
