"""Objectives of `dosewright objectives` in the formats of planning systems, and a record of what these cannot say."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dosewright.core import InputError, PatientCase
from dosewright.core.files import atomic_write
from dosewright.jobs.hydra_task import build
from dosewright.jobs.objective_names import read_own_names
from dosewright.jobs.objectives_files import PLAIN, CaseSummary
from dosewright.objectives.derived import Derived, Extraction
from dosewright.objectives.extraction_rules import Origin
from dosewright.objectives.formats.content import ExportContent, ExportItem
from dosewright.objectives.formats.format import AbstractFormat
from dosewright.objectives.formats.names import own_names
from dosewright.objectives.formats.outcome import Written
from dosewright.objectives.formats.registry import CLASSES, NAMES

EXPORTS = "exports.json"
EXPORT_VERSION = 1  # raise when the same objectives give other files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectiveExport:
    """Which formats a job writes, and under which names.

    Args:
        plain: Of our own formats, which are written.
        formats: Those of planning systems.
        names: CSV of the user's own names, or a folder with CASE.csv for each case; None keeps TG-263 names.
        settings: What changes the files, as plain data.
    """

    plain: frozenset[str]
    formats: tuple[AbstractFormat, ...]
    names: Path | None
    settings: dict[str, Any]

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "ObjectiveExport":
        """Return what `format` and `names` of a configuration say.

        Raises:
            InputError: If no format is named or one is none for objectives, a setting of one is not allowed, or there
                are no names.
        """
        chosen = _chosen(cfg.get("format"))
        formats = tuple(build(cfg.format[name], _convert_="all") for name in chosen if name not in PLAIN)
        names = None if cfg.names is None else Path(cfg.names)
        if names is not None and not names.exists():
            raise InputError("must be a file or a folder", argument="names", value="nothing there", path=names)
        settings = OmegaConf.to_container(cfg.format, resolve=True)
        return cls(frozenset(chosen) & frozenset(PLAIN), formats, names, {"formats": settings})

    def made_with(self, case_id: str) -> dict[str, Any]:
        """Return what a case's files depend on besides its objectives; nothing where only our own formats are."""
        if not self.formats and self.plain == frozenset(PLAIN):
            return {}
        path = self._names_of(case_id) if self.formats else None
        content = path.read_bytes() if path is not None and path.is_file() else b""
        own = hashlib.sha256(content).hexdigest() if path is not None else None
        return {"export": {**self.settings, "names": own, "version": EXPORT_VERSION}}

    def write(self, folder: Path, case: PatientCase, extraction: Extraction, summary: CaseSummary) -> CaseSummary:
        """Write the files of the formats; return the summary with them.

        Files of formats that are not asked for are removed: they would tell of other objectives.

        Args:
            folder: The case's folder.
            case: The case as it was read.
            extraction: Its objectives.
            summary: Of the objectives and our own files.

        Raises:
            InputError: If a structure has no name of the user's own, or a format does not take a name or a number.
            StorageError: If a file cannot be written.
        """
        unwanted = {PLAIN[name] for name in PLAIN if name not in self.plain}
        formats = [kind.name for kind in self.formats]
        others = {file for kind in CLASSES if kind.name not in formats for file in kind.files}
        for file in (*unwanted, *others, *(() if formats else (EXPORTS,))):
            (folder / file).unlink(missing_ok=True)
        files = tuple(file for file in summary.files if file not in unwanted)
        if not self.formats:
            return replace(summary, files=files)
        longest = min(kind.name_rule.longest for kind in self.formats)
        content = _content(case, extraction, self._names_of(case.case_id), longest)
        written = {kind.name: kind.write(folder, content) for kind in self.formats}
        atomic_write(folder / EXPORTS, json.dumps(_record(content, written), indent=1, ensure_ascii=False) + "\n")
        for name, found in written.items():
            _tell(case.case_id, name, found)
        exported = tuple(file for found in written.values() for file in found.files)
        counts = {name: {s: found.count(s) for s in ("left out", "changed")} for name, found in written.items()}
        return replace(summary, files=(*files, *exported, EXPORTS), exports=counts)

    def _names_of(self, case_id: str) -> Path | None:
        if self.names is None or not self.names.is_dir():
            return self.names
        return self.names / f"{case_id}.csv"


def _chosen(formats: DictConfig | None) -> list[str]:
    """Return the formats of a configuration by name; `dosewright export` has others in the same group."""
    chosen = [str(name) for name in formats or ()]
    known = (*PLAIN, *NAMES)
    if not chosen or not set(chosen) <= set(known):
        raise InputError(f"must be one or several of {known}", argument="format", value=chosen)
    return chosen


def _content(case: PatientCase, extraction: Extraction, names: Path | None, longest: int) -> ExportContent:
    items = _items(extraction.derived)
    made = [name for name in extraction.case.structures if name not in case.structures]
    structures = dict.fromkeys(item.objective.structure for item in items)
    try:
        named = own_names(structures, None if names is None else read_own_names(names), made, longest)
    except InputError as error:
        raise error if names is None or error.path else InputError.located(error, names) from error
    return ExportContent(
        case_id=case.case_id,
        items=items,
        names=named,
        fractions=case.fractions,
        prescription_gy=case.prescription_gy,
        targets=frozenset(item.objective.structure for item in extraction.derived if item.part in ("target", "core")),
    )


def _items(derived: Sequence[Derived]) -> tuple[ExportItem, ...]:
    """Return objectives with the lines among them; a line of one point is a point."""
    on_lines = [item.objective.structure for item in derived if item.origin is Origin.LINE]
    lines = [name for name in dict.fromkeys(on_lines) if on_lines.count(name) > 1]
    numbers = {name: number for number, name in enumerate(lines, start=1)}
    return tuple(
        ExportItem(item.objective, numbers.get(item.objective.structure) if item.origin is Origin.LINE else None)
        for item in derived
    )


def _record(content: ExportContent, written: dict[str, Written]) -> dict[str, Any]:
    return {
        "case": content.case_id,
        "objectives": len(content.items),
        "fractions": content.fractions,
        "names": dict(content.names),
        "formats": {name: found.to_plain() for name, found in written.items()},
    }


def _tell(case_id: str, name: str, written: Written) -> None:
    left_out, changed = written.count("left out"), written.count("changed")
    if left_out or changed:
        level = logging.WARNING if left_out else logging.INFO
        log.log(level, "%s: %s leaves out %d objectives and changes %d: %s", case_id, name, left_out, changed, EXPORTS)
