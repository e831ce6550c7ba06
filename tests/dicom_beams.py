"""Beams of a plan as items of DICOM sequences: what `dicom_files` makes plans of."""

from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True)
class PlanBeam:
    """A beam: its gantry angles by control point; more than one and a direction make an arc."""

    gantry_deg: tuple[float, ...] = (0.0,)
    couch_deg: float = 0.0
    rotation: str = "NONE"
    isocenter_xyz_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radiation: str = "PHOTON"
    delivery: str = "TREATMENT"
    beam_dose_gy: float | None = None


def beam_reference(number: int, beam: PlanBeam) -> Dataset:
    item = Dataset()
    item.ReferencedBeamNumber = number
    if beam.beam_dose_gy is not None:
        item.BeamDose = beam.beam_dose_gy
    item.BeamMeterset = 100.0
    return item


def beam_item(number: int, beam: PlanBeam) -> Dataset:
    item = Dataset()
    item.BeamNumber, item.BeamName = number, f"beam {number}"
    item.BeamType = "STATIC" if len(beam.gantry_deg) == 1 else "DYNAMIC"
    item.RadiationType, item.TreatmentDeliveryType = beam.radiation, beam.delivery
    item.ReferencedPatientSetupNumber = 1
    item.NumberOfControlPoints = max(2, len(beam.gantry_deg))
    points = []
    for index in range(item.NumberOfControlPoints):
        point = Dataset()
        point.ControlPointIndex = index
        point.CumulativeMetersetWeight = index / (item.NumberOfControlPoints - 1)
        if index < len(beam.gantry_deg):
            point.GantryAngle = beam.gantry_deg[index]
        if index == 0:
            point.NominalBeamEnergy = 6.0
            point.GantryRotationDirection = beam.rotation
            point.PatientSupportAngle = beam.couch_deg
            point.PatientSupportRotationDirection = "NONE"
            point.IsocenterPosition = list(beam.isocenter_xyz_mm)
        points.append(point)
    if beam.radiation == "PROTON":
        item.IonControlPointSequence = points
    else:
        item.ControlPointSequence = points
    return item
