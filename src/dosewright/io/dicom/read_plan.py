"""RTPLAN: beams, isocentre, fractions and what is prescribed.

Angles are turned to what they would be for a supine patient, head first, the only position a `Beam` knows: lying feet
first is the couch turned by 180°, lying prone is the gantry turned by 180° and the couch the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dosewright.core import Beam
from dosewright.core.case import Technique
from dosewright.core.types import Triple
from dosewright.io.dicom.read_elements import Attributes, read_dataset
from dosewright.io.dicom.read_scan import MAX_PLAN_BYTES

ISOCENTER_TOLERANCE_MM = 1.0
MAX_BEAMS = 1000
_DIGITS = 4  # angles that agree to so many are one
_DIRECTIONS = {"NONE": 0, "CW": 1, "CC": -1, "CCW": -1}
_RADIATION: dict[str, Literal["photon", "proton"]] = {"PHOTON": "photon", "PROTON": "proton"}
# Patient position → (added to the gantry angle, sign of the couch angle, added to it)
_POSITIONS = {"HFS": (0.0, 1.0, 0.0), "FFS": (0.0, 1.0, 180.0), "HFP": (180.0, -1.0, 0.0), "FFP": (180.0, -1.0, 180.0)}


@dataclass(frozen=True)
class DoseReference:
    """An item of the Dose Reference Sequence with a target's dose.

    Args:
        structure_type: "VOLUME", "SITE", "POINT" or "COORDINATES".
        roi_number: The structure it is for, or None.
        dose_gy: Target prescription dose in Gy.
    """

    structure_type: str
    roi_number: int | None
    dose_gy: float


@dataclass(frozen=True)
class DicomPlan:
    """What a plan says.

    Args:
        path: The file.
        beams: Treatment beams; arcs as beams every few degrees.
        isocenter_xyz_mm: LPS mm, or None when there is no treatment beam.
        technique: "VMAT" when the gantry turns while it beams, "proton" for protons, else "IMRT".
        fractions: Number of fractions.
        dose_references: Doses prescribed to targets.
        beam_dose_gy: Total of the doses that the beams give to their reference points, or None.
        beam_numbers: Beam number of each treatment beam in the file.
    """

    path: Path
    beams: tuple[Beam, ...]
    isocenter_xyz_mm: Triple | None
    technique: Technique
    fractions: int
    dose_references: tuple[DoseReference, ...]
    beam_dose_gy: float | None
    beam_numbers: tuple[int, ...]


def read_plan(path: Path, ct_frame: str, ct_position: str, arc_spacing_deg: float = 20.0) -> DicomPlan:
    """Return a plan.

    Args:
        path: RT Plan or RT Ion Plan.
        ct_frame: Frame of reference of the CT.
        ct_position: Patient position of the CT, for plans that do not give it.
        arc_spacing_deg: Most degrees between the beams that stand for an arc.

    Raises:
        CaseError: If the plan is broken, in another frame of reference, of another radiation than photons or protons,
            of several isocentres, of several fraction groups, or for a patient on the side.
    """
    data = read_dataset(path, MAX_PLAN_BYTES)
    frame = data.text("FrameOfReferenceUID", "")
    if frame and frame != ct_frame:
        raise data.error("FrameOfReferenceUID", f"must be the CT's, {ct_frame or 'which has none'}", frame)
    group, fractions = _fraction_group(data)
    setups = {
        s.integer("PatientSetupNumber"): s.text("PatientPosition", "") for s in data.items("PatientSetupSequence")
    }
    ion = bool(data.items("IonBeamSequence"))
    every = data.items("IonBeamSequence" if ion else "BeamSequence")
    _check_beams(group, every)
    items = [
        item
        for item in every
        if item.text("TreatmentDeliveryType", "TREATMENT").upper() in ("TREATMENT", "CONTINUATION")
    ]
    points = "IonControlPointSequence" if ion else "ControlPointSequence"
    ways = [_way(item, points, setups, ct_position) for item in items]
    beams = _beams(ways, arc_spacing_deg)
    if len(beams) > MAX_BEAMS:
        raise data.error("BeamSequence", f"must have at most {MAX_BEAMS} beams", len(beams))
    technique: Technique = "VMAT" if any(way.span_deg for way in ways) else "IMRT"
    return DicomPlan(
        path=path,
        beams=beams,
        isocenter_xyz_mm=_isocenter(data, ways),
        technique="proton" if any(way.modality == "proton" for way in ways) else technique,
        fractions=fractions,
        dose_references=_dose_references(data),
        beam_dose_gy=_beam_dose_gy(group, fractions),
        beam_numbers=tuple(item.integer("BeamNumber") for item in items),
    )


def _fraction_group(data: Attributes) -> tuple[Attributes, int]:
    """Return the one fraction group, and its number of fractions."""
    groups = data.items("FractionGroupSequence", required=True)
    if len(groups) != 1:
        raise data.error("FractionGroupSequence", "must have one item: several make several courses", len(groups))
    fractions = groups[0].integer("NumberOfFractionsPlanned")
    if fractions < 1:
        raise data.error("NumberOfFractionsPlanned", "must be positive", fractions)
    return groups[0], fractions


def _check_beams(group: Attributes, beams: Sequence[Attributes]) -> None:
    """Refuse a plan that lacks beams, or beams that lack control points: a part of the file is missing."""
    wanted = sorted(item.integer("ReferencedBeamNumber") for item in group.items("ReferencedBeamSequence"))
    count = group.integer("NumberOfBeams", len(wanted))
    if count != len(wanted):
        raise group.error("ReferencedBeamSequence", f"must have {count} items, its Number of Beams", len(wanted))
    found = [beam.integer("BeamNumber") for beam in beams]
    if len(set(found)) != len(found) or not set(wanted) <= set(found):
        raise group.error("BeamSequence", f"must have each beam once that the fraction group has, {wanted}", found)


@dataclass(frozen=True)
class _Way:
    """The gantry's way during one beam: where it starts, and how far it turns, negative counter-clockwise."""

    start_deg: float
    span_deg: float
    couch_deg: float
    modality: Literal["photon", "proton"]
    isocenter_xyz_mm: Triple


def _way(item: Attributes, points_keyword: str, setups: dict[int, str], ct_position: str) -> _Way:
    radiation = item.text("RadiationType").upper()
    if radiation not in _RADIATION:
        raise item.error("RadiationType", "must be PHOTON or PROTON", radiation)
    position = setups.get(item.integer("ReferencedPatientSetupNumber", 0), "") or ct_position
    if not position and len(set(setups.values())) == 1:
        position = next(iter(setups.values()))
    if position not in _POSITIONS:
        raise item.error("PatientPosition", f"must be one of {', '.join(_POSITIONS)}", position or "nothing")
    points = item.items(points_keyword, required=True)
    if item.integer("NumberOfControlPoints", len(points)) != len(points):
        raise item.error("NumberOfControlPoints", f"must be the number of its items, {len(points)}", "another")
    gantry = [p.number("GantryAngle") for p in points if p.has("GantryAngle")]
    couches = {round(p.number("PatientSupportAngle") % 360, _DIGITS) for p in points if p.has("PatientSupportAngle")}
    if not gantry:
        raise item.error("GantryAngle", "must be given", "nothing")
    if len(couches) > 1:
        raise item.error("PatientSupportAngle", "must not change during a beam", sorted(couches))
    centres = {tuple(p.numbers("IsocenterPosition", 3).tolist()) for p in points if p.has("IsocenterPosition")}
    if len(centres) != 1:
        raise item.error("IsocenterPosition", "must be given once for a beam", sorted(centres))
    directions = [p.text("GantryRotationDirection", "").upper() for p in points]
    add, sign, turn = _POSITIONS[position]
    x, y, z = next(iter(centres))
    couch = (sign * next(iter(couches), 0.0) + turn) % 360
    span = _span_deg(item, gantry, directions)
    return _Way((gantry[0] + add) % 360, span, round(couch, _DIGITS) % 360, _RADIATION[radiation], (x, y, z))


def _span_deg(item: Attributes, gantry: Sequence[float], directions: Sequence[str]) -> float:
    """Return how far the gantry turns, positive clockwise; the directions say which way."""
    named = [d for d in directions if d]
    if any(d not in _DIRECTIONS for d in named):
        raise item.error("GantryRotationDirection", f"must be one of {', '.join(_DIRECTIONS)}", named)
    signs = {_DIRECTIONS[d] for d in named} - {0}
    steps = np.diff(np.asarray(gantry) % 360)
    if not signs:
        if np.abs(steps).max(initial=0.0) > 10.0**-_DIGITS:
            raise item.error("GantryRotationDirection", "must be CW or CC where the gantry turns", named)
        return 0.0
    if len(signs) > 1:
        raise item.error("GantryRotationDirection", "must not change during a beam", named)
    sign = next(iter(signs))
    turned = (sign * steps) % 360
    turned[turned > 360 - 10.0**-_DIGITS] = 0.0  # rounding backwards is no full turn
    total = float(turned.sum())
    if len(gantry) == 2 and total == 0:  # a full turn in two control points
        total = 360.0
    if total > 720:
        raise item.error("GantryAngle", "must turn by at most two turns in a beam", f"{total:g}°")
    return sign * total


def _beams(ways: Sequence[_Way], arc_spacing_deg: float) -> tuple[Beam, ...]:
    beams: dict[tuple[float, float], Beam] = {}
    for way in ways:
        sectors = max(1, int(np.ceil(abs(way.span_deg) / arc_spacing_deg - 1e-9)))
        for sector in range(sectors):
            angle = way.start_deg + way.span_deg * (sector + 0.5) / sectors
            gantry = round(angle % 360, _DIGITS) % 360
            beams.setdefault((gantry, way.couch_deg), Beam(gantry, way.couch_deg, way.modality))
    return tuple(beams.values())


def _isocenter(data: Attributes, ways: Sequence[_Way]) -> Triple | None:
    if not ways:
        return None
    centres = np.array([way.isocenter_xyz_mm for way in ways])
    if np.abs(centres - centres[0]).max() > ISOCENTER_TOLERANCE_MM:
        rule = "must be one for all beams, within 1 mm: plans of several isocentres are not read (data.plan=ignore)"
        raise data.error("IsocenterPosition", rule, np.unique(centres.round(1), axis=0).tolist())
    return ways[0].isocenter_xyz_mm


def _dose_references(data: Attributes) -> tuple[DoseReference, ...]:
    found = []
    for item in data.items("DoseReferenceSequence"):
        if item.text("DoseReferenceType", "").upper() != "TARGET" or not item.has("TargetPrescriptionDose"):
            continue
        roi = item.integer("ReferencedROINumber") if item.has("ReferencedROINumber") else None
        kind = item.text("DoseReferenceStructureType", "").upper()
        dose = item.number("TargetPrescriptionDose")
        if dose > 0:
            found.append(DoseReference(kind, roi, dose))
    return tuple(found)


def _beam_dose_gy(group: Attributes, fractions: int) -> float | None:
    doses = [b.number("BeamDose") for b in group.items("ReferencedBeamSequence") if b.has("BeamDose")]
    return fractions * sum(doses) if doses and sum(doses) > 0 else None
