"""Files of `dosewright objectives`: per case JSON, CSV and Markdown, for the cohort a table of structures."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dosewright.core.files import atomic_write
from dosewright.jobs.tables import csv_text, markdown_table
from dosewright.objectives.criteria import CriterionResult
from dosewright.objectives.extraction import Derived, Extraction
from dosewright.objectives.objective_file import write_objectives
from dosewright.objectives.parts import Status, StructureNote

JSON, CSV, MARKDOWN, STRUCTURES = "objectives.json", "objectives.csv", "objectives.md", "structures.csv"
SUMMARY, MANIFEST = "summary.json", "manifest.json"
ANATOMY = "anatomy.json"  # where goals follow the anatomy
PLAIN = {"json": JSON, "csv": CSV, "markdown": MARKDOWN}  # as `format=` names them

_OBJECTIVE_COLUMNS = (
    *("structure", "part", "kind", "volume_percent", "dose_gy", "priority"),
    *("origin", "measure", "dose_has_gy", "margin_gy", "rule"),
)
_STRUCTURE_COLUMNS = (
    *("structure", "part", "status", "reason", "voxels", "volume_cc"),
    *("in_targets_percent", "outside_body_percent"),
)


@dataclass(frozen=True)
class CaseSummary:
    """What a case's files hold.

    Args:
        case_id: The case.
        objectives: How many there are.
        structures: Rows of its structures.csv.
        criteria_met: How many criteria the dose meets.
        criteria: Of how many the case has the structure for.
        files: Names of its files.
        changes: How many changes of goals the anatomy led to.
        reviews: What a person must look at.
        exports: Format of a planning system → how many objectives it leaves out and changes.
    """

    case_id: str
    objectives: int
    structures: tuple[tuple[str, ...], ...]
    criteria_met: int
    criteria: int
    files: tuple[str, ...] = (JSON, CSV, MARKDOWN, STRUCTURES)
    changes: int = 0
    reviews: tuple[str, ...] = ()
    exports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "CaseSummary":
        """Return the summary of `to_plain`'s data after a way through JSON."""
        rows = tuple(tuple(row) for row in content["structures"])
        lists = {name: tuple(content[name]) for name in ("files", "reviews")}
        return cls(**{**content, "structures": rows} | lists)

    def named(self, status: Status) -> list[str]:
        """Return the structures of a status, each with its reason."""
        return [f"{row[0]} ({row[3]})" for row in self.structures if row[2] == status.value]


def summary_of(extraction: Extraction, criteria: Sequence[CriterionResult]) -> CaseSummary:
    """Return the summary of a case."""
    known = [result.met for result in criteria if result.met is not None]
    anatomy = extraction.anatomy
    return CaseSummary(
        case_id=extraction.case.case_id,
        objectives=len(extraction.derived),
        structures=tuple(_structure_row(note) for note in extraction.structures),
        criteria_met=sum(known),
        criteria=len(known),
        files=CaseSummary.files if anatomy is None else (*CaseSummary.files, ANATOMY),
        changes=0 if anatomy is None else sum(change.applied for change in anatomy.changes),
        reviews=() if anatomy is None else tuple(review.explain() for review in anatomy.reviews),
    )


def write_case_files(
    folder: Path,
    extraction: Extraction,
    criteria: Sequence[CriterionResult],
    dose: str,
    plain: Collection[str] = tuple(PLAIN),
) -> None:
    """Write the files of one case.

    Args:
        folder: The case's folder.
        extraction: Its objectives.
        criteria: How its dose does.
        dose: What the dose is, in words.
        plain: Which of JSON, CSV and Markdown to write.
    """
    if "json" in plain:
        write_objectives(folder / JSON, extraction.objectives)
    if "csv" in plain:
        atomic_write(folder / CSV, csv_text(_OBJECTIVE_COLUMNS, map(_objective_row, extraction.derived)))
    atomic_write(folder / STRUCTURES, csv_text(_STRUCTURE_COLUMNS, map(_structure_row, extraction.structures)))
    if extraction.anatomy is not None:
        atomic_write(folder / ANATOMY, json.dumps(extraction.anatomy.to_plain(), indent=1, ensure_ascii=False) + "\n")
    if "markdown" in plain:
        atomic_write(folder / MARKDOWN, _markdown(extraction, criteria, dose))


def write_cohort_files(out: Path, done: Sequence[CaseSummary], failed: Mapping[str, str], dose: str) -> None:
    """Write structures.csv, one row per case and structure, and manifest.json, what was used, dropped and absent."""
    rows = ((summary.case_id, *row) for summary in done for row in summary.structures)
    atomic_write(out / STRUCTURES, csv_text(("case_id", *_STRUCTURE_COLUMNS), rows))
    manifest = {
        "dose": dose,
        "cases": {
            summary.case_id: {
                "objectives": summary.objectives,
                "criteria_met": summary.criteria_met,
                "criteria": summary.criteria,
                "anatomy_changes": summary.changes,
                "reviews": list(summary.reviews),
                **({"exports": summary.exports} if summary.exports else {}),
                **{status.value: summary.named(status) for status in (Status.DROPPED, Status.ABSENT, Status.REPLACED)},
            }
            for summary in done
        },
        "failed": dict(failed),
    }
    atomic_write(out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def _objective_row(item: Derived) -> tuple[str, ...]:
    objective = item.objective
    volume = "" if objective.volume_percent is None else f"{objective.volume_percent:g}"
    return (
        objective.structure,
        item.part.value,
        objective.kind,
        volume,
        f"{objective.dose_gy:g}",
        f"{objective.priority:g}",
        item.origin.value,
        item.measure,
        f"{item.dose_has_gy:.3f}",
        f"{item.margin_gy:.3f}",
        item.rule,
    )


def _structure_row(note: StructureNote) -> tuple[str, ...]:
    shares = (note.in_targets_percent, note.outside_body_percent)
    return (
        note.name,
        note.part.value if note.part else "",
        note.status.value,
        note.reason,
        str(note.voxels),
        f"{note.volume_cc:.3f}",
        *("" if share is None else f"{share:.2f}" for share in shares),
    )


def _markdown(extraction: Extraction, criteria: Sequence[CriterionResult], dose: str) -> str:
    case = extraction.case
    prescriptions = ", ".join(f"{name} {case.prescription_gy[name]:g} Gy" for name in case.targets)
    objectives = [
        (
            item.objective.describe(),
            f"{item.measure} {item.dose_has_gy:.2f}",
            f"{item.margin_gy:+.2f}",
            item.rule,
        )
        for item in extraction.derived
    ]
    structures = [
        (note.name, note.part.value if note.part else "", f"{note.volume_cc:.1f}", note.status.value, note.reason)
        for note in extraction.structures
    ]
    judged = [
        (
            result.criterion.describe(),
            "absent" if result.value is None else f"{result.value:.2f}",
            {True: "met", False: "not met", None: ""}[result.met],
        )
        for result in criteria
    ]
    parts = (
        f"# Objectives of {case.case_id}\n\nPrescription: {prescriptions}. Dose: {dose}. All doses are total Gy.\n",
        *_anatomy_parts(extraction),
        "## Objectives\n",
        markdown_table(("objective", "the dose has", "margin", "rule"), objectives),
        "## Structures\n",
        markdown_table(("structure", "part", "cc", "", "reason"), structures),
        "## Criteria, as the dose does\n",
        markdown_table(("criterion", "value", ""), judged),
    )
    return "\n".join(parts)


def _anatomy_parts(extraction: Extraction) -> Iterable[str]:
    """Return what the anatomy did, in sentences; nothing where it was not asked."""
    anatomy = extraction.anatomy
    if anatomy is None:
        return
    side = anatomy.side
    demand = f"**REVIEW REQUIRED: {len(anatomy.reviews)}.** " if anatomy.reviews else ""
    yield (
        f"## Anatomy\n\n{demand}Highest target: {side.side.value} ({side.left_percent:.0f} % of it left of the "
        f"midline: {side.midline_from}).\n"
    )
    yield "".join(f"- {sentence}\n" for sentence in anatomy.sentences) or "- Nothing to change.\n"
