"""Plans of a cohort, one case at a time, each kept with all that is told of it."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dosewright.core import Beam, PatientCase
from dosewright.core.files import atomic_path, atomic_write
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.io.predictions import write_prediction
from dosewright.io.reader import AbstractReader
from dosewright.jobs.dose_source import AbstractDoseSource
from dosewright.jobs.plan_comparison import PlanDoses
from dosewright.jobs.plan_figures import save_figures
from dosewright.jobs.plan_record import SCHEMA, Record, make_record
from dosewright.jobs.plan_report import write_report
from dosewright.jobs.plan_trace import write_trace
from dosewright.planning.arc_beams import ArcBeams
from dosewright.planning.arc_delivery import delivered_arcs
from dosewright.planning.beam_setup import AbstractBeamSetup, CaseBeams
from dosewright.planning.checkpoint import Checkpoint
from dosewright.planning.deliver import Delivered, Delivery
from dosewright.planning.goals import AbstractPlanner
from dosewright.planning.plan_case import OptimiserSettings, Plan, plan_case

INFLUENCE = "dose influence"
DICOM, DICOM_RECORD = "dicom", "dicom.json"  # a case's study, see `jobs.plan_dicom`

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanJob:
    """What makes the plans of a cohort.

    Args:
        reader: Where the cases come from.
        source: Where the doses asked for come from.
        influence: Case → its dose influence.
        planner: What is asked of the dose.
        optimiser: How the fluence is optimised.
        delivery: How it is sequenced; None for fluence only.
        settings: All of these as plain data; a plan made with the same is not made again.
        out: Folder of all results.
        overwrite: Plan again what is there.
        beams: Which beams are used.
    """

    reader: AbstractReader
    source: AbstractDoseSource
    influence: Callable[[PatientCase], DoseInfluence]
    planner: AbstractPlanner
    optimiser: OptimiserSettings
    delivery: Delivery | None
    settings: Mapping[str, Any]
    out: Path
    overwrite: bool = False
    beams: AbstractBeamSetup = field(default_factory=CaseBeams)

    def plan_one(self, case_id: str) -> Record:
        """Return a case's record: the one that is there if it is of the same settings, else a new one."""
        made_with = self._made_with(case_id)
        found = None if self.overwrite else stored_record(self._folder(case_id), self._dose_file(case_id), made_with)
        if found is None:
            return self._planned(case_id, made_with)
        log.info("%s: planned before with the same settings", case_id)
        return found

    def _planned(self, case_id: str, made_with: Mapping[str, Any]) -> Record:
        folder, clock = self._folder(case_id), _Clock()
        begin_anew(folder)
        case = self.beams.applied(self.reader.read(case_id))
        clock.lap("reading the case")
        wanted_gy = self.source.dose_gy(case)
        clock.lap("dose asked for")
        influence = self.influence(case)
        clock.lap(INFLUENCE)
        checkpoint = Checkpoint(folder / "course.npz", json.dumps(made_with, sort_keys=True))
        plan = plan_case(case, wanted_gy, influence, self.planner, self.optimiser, self.delivery, checkpoint)
        clock.lap("planning", plan.seconds)
        delivered_gy = None if plan.delivered is None else plan.delivered.dose_gy
        doses = PlanDoses.of(case, wanted_gy, plan.dose_gy, delivered_gy, self.source.label)
        write_prediction(self.out / "doses", case_id, case.grid, doses.doses[doses.planned[-1]])
        write_plan(folder / "plan.npz", influence, plan)
        if plan.delivered is not None:
            write_apertures(folder / "apertures.json", plan.delivered)
        pictures = save_figures(doses, influence.beams, influence.beamlets, plan.fluence, folder)
        if plan.trace is not None:
            pictures["trace"] = write_trace(plan.trace, folder)
        clock.lap("doses and pictures")
        record = make_record(
            case, plan, doses, influence, dose_source=self.source.describe(), made_with=made_with, seconds={}
        )
        clock.lap("indices and scores")
        record["arcs"] = self._arcs(case, plan)
        record["seconds"] = clock.seconds | {"in all": clock.total}
        write_report(record, pictures, folder / "report.html")
        atomic_write(folder / "report.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
        checkpoint.remove()
        return record

    def _arcs(self, case: PatientCase, plan: Plan) -> list[dict[str, float | int]]:
        """Return what each arc takes to deliver, where the beams stand for arcs; nothing for fields."""
        setup = self.beams.chosen(case)
        if not isinstance(setup, ArcBeams) or plan.delivered is None or self.delivery is None:
            return []
        arcs = delivered_arcs(setup, plan.delivered, self.delivery.sequencer.mlc)
        return [arc.to_plain() for arc in arcs]

    def _made_with(self, case_id: str) -> dict[str, Any]:
        parts = {
            "schema": SCHEMA,
            "settings": dict(self.settings),
            "case": self.reader.fingerprint(case_id),
            "dose": self.source.fingerprint(case_id),
            "goals": self.planner.fingerprint(case_id),
        }
        return dict(json.loads(json.dumps(parts)))

    def _folder(self, case_id: str) -> Path:
        return self.out / "cases" / case_id

    def _dose_file(self, case_id: str) -> Path:
        return self.out / "doses" / f"{case_id}.npz"


def begin_anew(folder: Path) -> None:
    """Remove what tells of an earlier plan of a case: report.json, which says that all else is there, and the rest."""
    for name in ("report.json", "apertures.json", DICOM_RECORD):
        (folder / name).unlink(missing_ok=True)
    for path in (folder / DICOM).glob("*.dcm"):
        path.unlink()


def stored_record(folder: Path, dose_file: Path, made_with: Mapping[str, Any]) -> Record | None:
    """Return the record of a folder if it is whole, was made with these settings, and the files beside it are there."""
    files = (folder / "report.html", folder / "plan.npz", dose_file)
    try:
        record: Record = json.loads((folder / "report.json").read_text())
        same = record["made_with"] == made_with
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if same and all(path.is_file() for path in files) else None


def write_plan(path: Path, influence: DoseInfluence, plan: Plan) -> Path:
    """Write a plan's fluence and apertures as numbers, in the beams' eye view, and return the file.

    The file holds gantry_angle_deg and couch_angle_deg (beams,), beam, u_mm, v_mm and fluence (beamlets,), and where
    it was sequenced `sequenced_fluence` (beamlets,).
    """
    beams: Sequence[Beam] = influence.beams
    arrays = {
        "gantry_angle_deg": np.array([beam.gantry_angle_deg for beam in beams]),
        "couch_angle_deg": np.array([beam.couch_angle_deg for beam in beams]),
        "beam": influence.beamlets.beam,
        "u_mm": influence.beamlets.u_mm,
        "v_mm": influence.beamlets.v_mm,
        "size_mm": np.array(influence.beamlets.size_mm),
        "fluence": plan.fluence,
    }
    if plan.delivered is not None:
        arrays["sequenced_fluence"] = plan.delivered.fluence
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    return path


def write_apertures(path: Path, delivered: Delivered) -> Path:
    """Write the apertures of a plan as JSON and return the file: leaf positions in mm at start and end of each."""
    per_weight = delivered.monitor_units / sum(aperture.weight for aperture in delivered.apertures)
    apertures = [
        {
            "beam": aperture.beam,
            "monitor_units": round(aperture.weight * per_weight, 4),
            "jaws_mm": list(aperture.jaws_mm),
            "edges_mm": aperture.edges_mm.round(6).tolist(),
            "left_mm": aperture.left_mm.round(3).tolist(),
            "right_mm": aperture.right_mm.round(3).tolist(),
        }
        for aperture in delivered.apertures
    ]
    lines = ",\n  ".join(json.dumps(aperture) for aperture in apertures)
    return atomic_write(path, f'{{"monitor_units": "of one fraction", "apertures": [\n  {lines}\n]}}\n')


class _Clock:
    """Wall time, step by step."""

    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    def lap(self, name: str, parts: Mapping[str, float] | None = None) -> None:
        """End a step; where its parts are known, they stand in its place with what is left of it."""
        now = time.perf_counter()
        rest = now - self.last - sum((parts or {}).values())
        self.seconds |= dict(parts or {}) | {name if not parts else f"rest of {name}": rest}
        self.last = now
