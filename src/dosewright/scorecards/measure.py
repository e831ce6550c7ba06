"""The value of a scorecard's metric.

Definitions follow PlanScoreCard (Varian Medical Affairs; MAAS-PlanScoreCard, PlanScoreModel and
PlanScoreCalculationServices), which reads a DVH in bins where this reads voxels, so values differ by up to a bin. With
V(d) the volume of a structure at dose d or more, V its volume, D(v) the least dose of its hottest v, B the body:

    min_dose, max_dose, mean_dose  of the voxels
    dose_at_volume                 D(input), as `dose.dvh` defines it: % by percentile, CC by counting voxels
    volume_at_dose                 V(input), in % of V or in CC
    volume                         V in CC
    volume_of_regret               V(input) of the body outside the structure, in CC
    conformation_number            V(input)² / (V · V_B(input)): van 't Riet 1997, Paddick 2000
    conformity_index               V_B(input) / V: RTOG, Shaw 1993
    homogeneity_index              (D(hi_high %) − D(hi_low %)) / hi_target
    inhomogeneity_index            (maximum − minimum) / mean
    modified_gradient_index        V(hi_low) / V(hi_high), both within the structure, not the body
    dose_at_subvolume              D(V − input): what all of the structure but its coldest `input` CC gets

Doses are total; % of a dose is of the prescription. V_B counts body and structure together. Where PlanScoreCard is at
odds with its own definitions this keeps to the definitions: DoseAtVolume at 100 CC is not the minimum; a structure
smaller than the volume asked for has its minimum there, not 0; the conformation number takes absolute volumes whatever
the output unit; regret and homogeneity index in % are refused, as their formulas there mix units; Volume has a value.
"""

import numpy as np
from jaxtyping import Float, Num, Shaped

from dosewright.core import Grid, GridMismatchError, InputError
from dosewright.dose.checks import check_positive
from dosewright.scorecards.metric import Metric, Unit
from dosewright.scorecards.structure_dose import StructureDose

# Checked here, with a message, as they come from outside: shape and type.
AnyDose = Num[np.ndarray, "..."]
AnyMask = Shaped[np.ndarray, "..."]

NEEDS_BODY = ("volume_of_regret", "conformation_number", "conformity_index")


def measure(
    metric: Metric,
    dose_gy: AnyDose,
    mask: AnyMask,
    grid: Grid,
    *,
    prescription_gy: float | None = None,
    body: AnyMask | None = None,
) -> float:
    """Return a metric's value for one structure, in the metric's output unit.

    Args:
        metric: What to measure; see the module for the definitions.
        dose_gy: Total dose in Gy, floats (z, y, x).
        mask: Voxels of the structure, booleans.
        grid: The grid of all three arrays.
        prescription_gy: What % of a dose refers to.
        body: Where regret, conformation number and conformity index count; None means every voxel.

    Raises:
        GridMismatchError: If an array has another shape than the grid.
        InputError: If an array is of another type, the dose has NaN or infinities, the structure is empty, or the
            metric cannot be measured: not known, a unit or number that does not fit, a percent dose without
            prescription, a division by zero.

    >>> grid = Grid((1, 1, 4), (10.0, 10.0, 10.0))
    >>> dose, mask = np.array([[[10.0, 20.0, 30.0, 40.0]]]), np.ones((1, 1, 4), bool)
    >>> measure(Metric("volume_at_dose", 20.0, "Gy", "CC"), dose, mask, grid)
    3.0
    >>> measure(Metric("dose_at_volume", 50.0, "%", "%"), dose, mask, grid, prescription_gy=50.0)
    50.0
    """
    flat = checked_dose(dose_gy, grid)
    for name, array in (("mask", mask), ("body", body)):
        if array is not None and array.dtype != np.bool_:
            raise InputError("must be a boolean array", argument=name, value=array.dtype)
        if array is not None and array.shape != grid.shape_zyx:
            raise GridMismatchError(f"must have the grid's shape {grid.shape_zyx}", argument=name, value=array.shape)
    outside = ~mask if body is None else body & ~mask
    inside = StructureDose(flat[mask.reshape(-1)], grid.voxel_volume_cc)
    return measure_voxels(metric, inside, flat[outside.reshape(-1)], prescription_gy)


def checked_dose(dose_gy: AnyDose, grid: Grid) -> Float[np.ndarray, " n"]:
    """Return a dose as a flat array.

    Raises:
        GridMismatchError: If it has another shape than the grid.
        InputError: If it is not of a floating type, or a voxel is NaN or infinite.
    """
    if not np.issubdtype(dose_gy.dtype, np.floating):
        raise InputError("must be an array of floats", argument="dose_gy", value=dose_gy.dtype)
    if dose_gy.shape != grid.shape_zyx:
        raise GridMismatchError(f"must have the grid's shape {grid.shape_zyx}", argument="dose_gy", value=dose_gy.shape)
    flat = dose_gy.reshape(-1)
    if not np.isfinite(flat.sum(dtype=np.float64)):  # one pass without a temporary; a NaN or infinity always shows
        bad = int(np.count_nonzero(~np.isfinite(flat)))
        raise InputError("must be finite", argument="dose_gy", value=f"{bad} voxels NaN or infinite")
    return flat


def measure_voxels(
    metric: Metric,
    inside: StructureDose,
    outside_gy: Float[np.ndarray, " m"] | None = None,
    prescription_gy: float | None = None,
) -> float:
    """Return a metric's value from a structure's voxels; see `measure`.

    Args:
        metric: What to measure.
        inside: The structure's dose.
        outside_gy: Dose of the body's voxels outside the structure; needed by the metrics in `NEEDS_BODY`.
        prescription_gy: What % of a dose refers to.

    Raises:
        InputError: If the metric cannot be measured.
    """
    kind = metric.kind
    if kind == "undefined":
        named = f" ({metric.source_name})" if metric.source_name else ""
        raise InputError(f"is not one this package knows{named}", argument="metric type")
    if kind in NEEDS_BODY:
        return _of_body(metric, inside, outside_gy, prescription_gy)
    if kind in ("homogeneity_index", "inhomogeneity_index", "modified_gradient_index"):
        return _ratio(metric, inside, prescription_gy)
    if kind in ("volume", "volume_at_dose"):
        return _volume(metric, inside, prescription_gy)
    return _dose_in(metric.output_unit, _dose_gy(metric, inside), prescription_gy)


def _dose_gy(metric: Metric, inside: StructureDose) -> float:
    if metric.kind == "min_dose":
        return inside.min_gy
    if metric.kind == "max_dose":
        return inside.max_gy
    if metric.kind == "mean_dose":
        return inside.mean_gy
    volume, unit = _number(metric), metric.input_unit
    if metric.kind == "dose_at_subvolume":
        if unit not in ("CC", None):
            raise InputError("must be CC", argument="input unit", value=unit)
        if volume >= inside.volume_cc:
            rule = f"must be less than the structure's {inside.volume_cc:.4g} cc"
            raise InputError(rule, argument="input value", value=volume)
        return inside.at_position(volume / inside.voxel_volume_cc)
    if unit == "%":
        return inside.at_position((100.0 - _percent(volume, "input value")) / 100.0 * (inside.count - 1))
    if unit == "CC":
        return inside.at_position(inside.count - max(volume / inside.voxel_volume_cc, 1.0))
    raise InputError("must be % or CC", argument="input unit", value=unit)


def _volume(metric: Metric, inside: StructureDose, prescription_gy: float | None) -> float:
    if metric.kind == "volume":
        if metric.output_unit not in ("CC", None):
            raise InputError("must be CC", argument="output unit", value=metric.output_unit)
        return inside.volume_cc
    count = inside.count_at_or_above(_isodose_gy(metric, prescription_gy))
    if metric.output_unit == "%":
        return 100.0 * count / inside.count
    if metric.output_unit == "CC":
        return count * inside.voxel_volume_cc
    raise InputError("must be % or CC", argument="output unit", value=metric.output_unit)


def _of_body(
    metric: Metric,
    inside: StructureDose,
    outside_gy: Float[np.ndarray, " m"] | None,
    prescription_gy: float | None,
) -> float:
    if outside_gy is None:
        raise InputError(f"must be given for {metric.describe()}", argument="outside_gy")
    isodose_gy = _isodose_gy(metric, prescription_gy)
    if metric.kind != "volume_of_regret":
        check_positive("isodose_gy", isodose_gy)
    covered = inside.count_at_or_above(isodose_gy)
    regret = int(np.count_nonzero(outside_gy >= outside_gy.dtype.type(isodose_gy)))
    if metric.kind == "volume_of_regret":
        if metric.output_unit not in ("CC", None):
            raise InputError("must be CC", argument="output unit", value=metric.output_unit)
        return regret * inside.voxel_volume_cc
    if metric.kind == "conformity_index":
        return (covered + regret) / inside.count
    return covered / inside.count * covered / (covered + regret) if covered else 0.0


def _ratio(metric: Metric, inside: StructureDose, prescription_gy: float | None) -> float:
    if metric.kind == "inhomogeneity_index":
        return _quotient(inside.max_gy - inside.min_gy, inside.mean_gy, "the mean dose")
    if metric.kind == "modified_gradient_index":
        low, high = (
            inside.count_at_or_above(_in_gy(dose, metric.input_unit, prescription_gy, "input unit"))
            for dose in (metric.hi_low, metric.hi_high)
        )
        return _quotient(float(low), float(high), f"the volume at {metric.hi_high:g} {metric.input_unit}")
    if metric.output_unit == "%":
        raise InputError("must be nothing for a homogeneity index", argument="output unit", value="%")
    last = inside.count - 1
    d_high, d_low = (
        inside.at_position((100.0 - _percent(v, "volume")) / 100.0 * last) for v in (metric.hi_high, metric.hi_low)
    )
    target_gy = _in_gy(metric.hi_target, metric.hi_target_unit, prescription_gy, "target unit")
    return _quotient(d_high - d_low, target_gy, "the target dose")


def _isodose_gy(metric: Metric, prescription_gy: float | None) -> float:
    return _in_gy(_number(metric), metric.input_unit, prescription_gy, "input unit")


def _in_gy(dose: float | int, unit: Unit | None, prescription_gy: float | None, argument: str) -> float:
    if not dose >= 0:
        raise InputError("must be a dose of zero or more", argument=argument.replace("unit", "value"), value=dose)
    if unit == "Gy":
        return float(dose)
    if unit == "cGy":
        return dose / 100.0
    if unit == "%":
        return dose * _prescription(prescription_gy) / 100.0
    raise InputError("must be Gy, cGy or %", argument=argument, value=unit)


def _dose_in(unit: Unit | None, dose_gy: float, prescription_gy: float | None) -> float:
    if unit == "Gy":
        return dose_gy
    if unit == "cGy":
        return 100.0 * dose_gy
    if unit == "%":
        return 100.0 * dose_gy / _prescription(prescription_gy)
    raise InputError("must be Gy, cGy or %", argument="output unit", value=unit)


def _prescription(prescription_gy: float | None) -> float:
    if prescription_gy is None:
        raise InputError("must be known for a dose in %: dose per fraction × fractions", argument="prescription")
    check_positive("prescription_gy", prescription_gy)
    return prescription_gy


def _number(metric: Metric) -> float:
    if metric.input_value is None or metric.input_value < 0:
        raise InputError("must be zero or more", argument="input value", value=metric.input_value)
    return float(metric.input_value)


def _percent(volume: float | int, argument: str) -> float:
    if not 0 <= volume <= 100:
        raise InputError("must be in [0, 100] %", argument=argument, value=volume)
    return float(volume)


def _quotient(above: float, below: float, named: str) -> float:
    if below == 0:
        raise InputError("must not be 0 to divide by", argument=named, value=below)
    return above / below
