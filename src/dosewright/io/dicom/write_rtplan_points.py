"""The control points of a beam in RTPLAN: the first says everything, later ones what has changed."""

import numpy as np
from pydicom.dataset import Dataset

from dosewright.io.dicom.write_dataset import decimal, decimals
from dosewright.io.dicom.write_plan_types import RtBeam, RtControlPoint, RtPlan

_DIGITS = 4  # of a leaf's position, in mm
_CLOSED = (0.0, 0.0)


def control_points(beam: RtBeam, plan: RtPlan) -> list[Dataset]:
    """Return the items of the control point sequence.

    A beam of which only the angles are known has two points with closed jaws and without meterset weights.
    """
    nothing = np.empty(0)
    known = bool(beam.points)
    points = beam.points or (RtControlPoint(0.0, beam.gantry_angle_deg, nothing, nothing, _CLOSED, _CLOSED),) * 2
    items = []
    for index, point in enumerate(points):
        before = points[index - 1] if index else None
        item = Dataset()
        item.ControlPointIndex = index
        if before is None:
            _set_first(item, beam, plan)
        turns = beam.rotation if index < len(points) - 1 else "NONE"
        if before is None or before.gantry_angle_deg != point.gantry_angle_deg:
            item.GantryAngle = decimal(point.gantry_angle_deg)
        if before is None or "GantryAngle" in item or turns != beam.rotation:
            item.GantryRotationDirection = turns
        devices = _devices(point, before)
        if devices:
            item.BeamLimitingDevicePositionSequence = devices
        item.CumulativeMetersetWeight = _share(point, beam) if known else None
        items.append(item)
    return items


def _share(point: RtControlPoint, beam: RtBeam) -> str:
    return (
        decimal(1) if point.monitor_units == beam.monitor_units else decimal(point.monitor_units / beam.monitor_units)
    )


def _set_first(item: Dataset, beam: RtBeam, plan: RtPlan) -> None:
    item.NominalBeamEnergy = decimal(plan.energy_mv)
    if plan.dose_rate_mu_min is not None:
        item.DoseRateSet = decimal(plan.dose_rate_mu_min)
    item.BeamLimitingDeviceAngle, item.BeamLimitingDeviceRotationDirection = decimal(0), "NONE"
    item.PatientSupportAngle = decimal(beam.couch_angle_deg)
    item.PatientSupportRotationDirection = "NONE"
    item.TableTopEccentricAngle, item.TableTopEccentricRotationDirection = decimal(0), "NONE"
    item.TableTopVerticalPosition = item.TableTopLongitudinalPosition = item.TableTopLateralPosition = None
    item.IsocenterPosition = decimals(*plan.isocenter_xyz_mm)


def _devices(point: RtControlPoint, before: RtControlPoint | None) -> list[Dataset]:
    now, then = _positions(point), {} if before is None else _positions(before)
    found = []
    for name, positions in now.items():
        if not len(positions) or (name in then and np.array_equal(then[name], positions)):
            continue
        device = Dataset()
        device.RTBeamLimitingDeviceType = name
        device.LeafJawPositions = decimals(*positions.round(_DIGITS).tolist())
        found.append(device)
    return found


def _positions(point: RtControlPoint) -> dict[str, np.ndarray]:
    """Return each device's positions: those on the negative side first, from the lowest leaf up."""
    return {
        "ASYMX": np.array(point.jaws_x_mm),
        "ASYMY": np.array(point.jaws_y_mm),
        "MLCX": np.concatenate([point.left_mm, point.right_mm]),
    }
