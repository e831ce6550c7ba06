"""Where the plan factory keeps what it made: prepared cases, and one record per batch that vouches for its plans."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dosewright.core.files import atomic_write
from dosewright.io.prepared import SUFFIX

RECORDS = "batches"


@dataclass(frozen=True)
class PlanRecord:
    """What is known of one plan.

    Args:
        index: Among those of its patient and beams.
        draw: What was asked for, see `planning.factory.draws.Draw`.
        measures: Indices of its dose.
        reasons: Why it was rejected; empty for a plan that is kept.
    """

    index: int
    draw: Mapping[str, Any]
    measures: Mapping[str, float]
    reasons: Sequence[str] = ()


@dataclass(frozen=True)
class BatchRecord:
    """What a batch made.

    Args:
        case_id: The patient.
        beam_set: Name of the beams.
        fingerprint: Changes when equal indices would give other plans.
        plans: One record per plan, kept or not.
        reference: Measures of the patient's own dose; empty without one.
        seconds: Step → wall time.
    """

    case_id: str
    beam_set: str
    fingerprint: str
    plans: tuple[PlanRecord, ...]
    reference: Mapping[str, float]
    seconds: Mapping[str, float]


class PlanStore:
    """One split's folder: `<plan>.case` files with their `<patient>.anatomy`, and `batches/`.

    Args:
        folder: `<out>/<split>`; `PreparedReader(out, split)` reads it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def plan_id(self, case_id: str, beam_set: str, index: int) -> str:
        """Return the case id of a plan.

        >>> PlanStore("out").plan_id("pt_1", "nine", 12)
        'pt_1.nine.p00012'
        """
        return f"{case_id}.{beam_set}.p{index:05d}"

    def plan_path(self, case_id: str, beam_set: str, index: int) -> Path:
        """Return the file of a plan."""
        return self.folder / f"{self.plan_id(case_id, beam_set, index)}{SUFFIX}"

    def write(self, record: BatchRecord) -> None:
        """Write a batch's record, after its plans.

        Raises:
            StorageError: If the disk is full.
        """
        first = min(plan.index for plan in record.plans)
        name = f"{record.case_id}.{record.beam_set}.b{first:05d}-{len(record.plans)}.json"
        atomic_write(self.folder / RECORDS / name, json.dumps(asdict(record)) + "\n")

    def records(self, case_id: str = "*", beam_set: str = "*", fingerprint: str | None = None) -> Iterator[BatchRecord]:
        """Yield whole records in alphabetical order, those of one fingerprint where it is given."""
        for path in self._paths(case_id, beam_set):
            record = _read(path)
            if record is not None and fingerprint in (None, record.fingerprint):
                yield record

    def others(self, case_id: str, beam_set: str, fingerprint: str) -> list[Path]:
        """Return the records of a unit's plans that other settings or an older source made."""
        return [
            path
            for path in self._paths(case_id, beam_set)
            if (record := _read(path)) is not None and record.fingerprint != fingerprint
        ]

    def remove(self, path: Path) -> None:
        """Remove the plans of a record, then the record."""
        if (record := _read(path)) is not None:
            for plan in record.plans:
                self.plan_path(record.case_id, record.beam_set, plan.index).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def done(self, case_id: str, beam_set: str, fingerprint: str) -> set[int]:
        """Return the indices that need not be made again: rejected ones, and those whose file is there."""
        found = set()
        for record in self.records(case_id, beam_set, fingerprint):
            found |= {
                plan.index
                for plan in record.plans
                if plan.reasons or self.plan_path(case_id, beam_set, plan.index).is_file()
            }
        return found

    def _paths(self, case_id: str, beam_set: str) -> list[Path]:
        return sorted((self.folder / RECORDS).glob(f"{case_id}.{beam_set}.b*.json"))


def _read(path: Path) -> BatchRecord | None:
    """Return a record, or None for a file that is not whole: its batch is made again."""
    try:
        content = json.loads(path.read_text())
        plans = tuple(PlanRecord(**plan) for plan in content.pop("plans"))
        return BatchRecord(plans=plans, **content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
