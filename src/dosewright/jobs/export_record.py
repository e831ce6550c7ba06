"""What `dosewright export` remembers of a case: its files, and what they were made from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dosewright.core.files import atomic_write

MANIFEST, RECORDS = "export.json", "records"


@dataclass(frozen=True)
class ExportRecord:
    """The files of a case.

    Args:
        made_from: All that the files depend on, as plain data.
        files: File, relative to the folder of the export → its size in bytes; None for one that cases share.
    """

    made_from: Mapping[str, Any]
    files: Mapping[str, int | None]

    @classmethod
    def of(
        cls, made_from: Mapping[str, Any], paths: Iterable[Path], out: Path, shared: Iterable[str] = ()
    ) -> "ExportRecord":
        """Return the record of files that were just written."""
        own = {path.relative_to(out).as_posix(): path for path in paths}
        return cls(made_from, {name: None if name in shared else path.stat().st_size for name, path in own.items()})

    def fits(self, made_from: Mapping[str, Any], out: Path) -> bool:
        """Whether the files were made from the same, and are all there, in the size they had."""
        if json.loads(json.dumps(made_from)) != self.made_from:
            return False
        paths = {out / name: size for name, size in self.files.items()}
        return bool(paths) and all(
            path.is_file() and (size is None or path.stat().st_size == size) for path, size in paths.items()
        )

    def remove_stale(self, newer: "ExportRecord", out: Path) -> None:
        """Remove the files of this record that the newer one has no more, and folders that this empties."""
        for name in sorted(name for name in set(self.files) - set(newer.files) if self.files[name] is not None):
            path = out / name
            path.unlink(missing_ok=True)
            if path.parent != out and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()


def record_path(out: Path, case_id: str) -> Path:
    """Return the file of a case's record."""
    return out / RECORDS / f"{case_id}.json"


def write_record(out: Path, case_id: str, record: ExportRecord) -> None:
    """Write a record in one step."""
    content = {"made_from": record.made_from, "files": dict(record.files)}
    atomic_write(record_path(out, case_id), json.dumps(content, indent=1) + "\n")


def read_record(out: Path, case_id: str) -> ExportRecord | None:
    """Return a case's record; None if there is none, or none that names files inside `out`."""
    try:
        content = json.loads(record_path(out, case_id).read_text())
        files = {str(name): None if size is None else int(size) for name, size in content["files"].items()}
        record = ExportRecord(dict(content["made_from"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    inside = all(not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts for name in files)
    return record if inside else None
