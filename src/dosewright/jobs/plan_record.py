"""The record of one plan as plain data: what report.json holds and the HTML report shows."""

import importlib.metadata
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import dosewright
from dosewright.core import PatientCase
from dosewright.dose.case_dose import CaseDose
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.status import Result
from dosewright.jobs.plan_comparison import PlanDoses, compare
from dosewright.objectives.criteria import evaluate_criteria
from dosewright.planning.plan_case import Plan

Record = dict[str, Any]

SCHEMA = 2  # raise when a record of the same settings would hold something else
RESEARCH_NOTE = (
    "For research only: this dose comes from a pencil-beam model with generic machine data and no commissioning. It "
    "must not be used to treat patients."
)
_PACKAGES = ("torch", "numpy", "scipy", "pyRadPlan")


def make_record(
    case: PatientCase,
    plan: Plan,
    doses: PlanDoses,
    influence: DoseInfluence,
    *,
    dose_source: str,
    made_with: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> Record:
    """Return all that is told of a plan.

    Args:
        case: The patient.
        plan: The plan.
        doses: Its doses, the one asked for and the reference.
        influence: Dose influence it was made with.
        dose_source: Where the dose asked for comes from.
        made_with: Settings and fingerprints; the plan need not be made again while they are the same.
        seconds: Step → wall time.
    """
    comparison = compare(doses)
    delivered = plan.delivered
    return {
        "schema": SCHEMA,
        "made_with": dict(made_with),
        "dose_source": dose_source,
        "prescription_gy": {name: case.prescription_gy[name] for name in case.targets},
        "beams": _beams(influence),
        "planned": list(doses.planned),
        "final": doses.planned[-1],
        **comparison.to_plain(),
        "criteria": criteria_rows(doses),
        "solve": _solve(plan.result, influence),
        "objectives": [
            {"description": objective.describe(), "value": value, **objective.to_dict()}
            for objective, value in plan.objectives
        ],
        "skipped": [objective.describe() for objective in plan.skipped],
        "remarks": list(plan.remarks),
        "complexity": dict(plan.complexity),
        "sequencing": None
        if delivered is None
        else {"segments": len(delivered.apertures), "mu": delivered.monitor_units},
        "seconds": dict(seconds),
        "peak_memory_gb": peak_memory_gb(),
        "versions": versions(),
        "note": RESEARCH_NOTE,
    } | ({} if plan.trace is None else {"trace": plan.trace.to_plain()})


def _solve(result: Result, influence: DoseInfluence) -> dict[str, Any]:
    """Return how the solve went, and its size."""
    return {
        "status": result.status.value,
        "value": float(result.value[0]),
        "kkt_residual": float(result.kkt_residual[0]),
        "evaluations": result.evaluations,
        "seconds": result.seconds,
        "voxels": influence.shape[0],
        "beamlets": influence.shape[1],
        "entries": influence.nnz,
    }


def criteria_rows(doses: PlanDoses) -> list[dict[str, Any]]:
    """Return every clinical criterion of the case's structures: its value for each dose, and whether it is met."""
    results = {label: evaluate_criteria(CaseDose.of(doses.case, dose_gy)) for label, dose_gy in doses.doses.items()}
    rows = []
    for of_doses in zip(*results.values(), strict=True):
        criterion = of_doses[0].criterion
        if of_doses[0].value is None:
            continue  # the case lacks the structure
        by_label = dict(zip(results, of_doses, strict=True))
        rows.append(
            {
                "criterion": criterion.describe(),
                "structure": criterion.structure,
                "unit": criterion.parsed.unit,
                "values": {label: result.value for label, result in by_label.items()},
                "met": {label: bool(result.met) for label, result in by_label.items()},
            }
        )
    return rows


def criteria_met(record: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return label → (criteria met, criteria that apply); empty where none applies.

    >>> criteria_met({"labels": ["achieved"], "criteria": [{"met": {"achieved": True}}, {"met": {"achieved": False}}]})
    {'achieved': (1, 2)}
    """
    rows: Sequence[Mapping[str, Any]] = record["criteria"]
    if not rows:
        return {}
    return {label: (sum(bool(row["met"][label]) for row in rows), len(rows)) for label in record["labels"]}


def versions() -> dict[str, str]:
    """Return the versions of what computes a plan, and of the system it ran on."""
    found = {"dosewright": dosewright.__version__, "Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found | {"system": f"{platform.system()} {platform.machine()}"}


def peak_memory_gb() -> float:
    """Return the most memory this process has held so far, in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9  # macOS counts bytes, Linux KiB


def _beams(influence: DoseInfluence) -> str:
    """Return the beams as a phrase."""
    angles = ", ".join(f"{beam.gantry_angle_deg:g}°" for beam in influence.beams)
    size, spacing = influence.beamlets.size_mm, "×".join(f"{v:g}" for v in influence.grid.spacing_xyz_mm)
    kind = influence.beams[0].modality
    return f"{len(influence.beams)} {kind} beams at {angles}; beamlets of {size:g} mm; dose grid of {spacing} mm"
