"""The user's own names: a file that has the last word."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from dosewright.core.errors import InputError
from dosewright.core.files import read_at_most
from dosewright.core.strict_json import read_strict_json
from dosewright.io.tg263.name_cells import shown_source
from dosewright.io.tg263.standard import is_legal

BYTES_MAX = 1_000_000
ROWS_MAX = 20_000
SOURCE_MAX = 256


def read_overrides(path: str | Path) -> dict[str, str]:
    """Return the user's names: source → TG-263 name, "" for a structure to leave out.

    A CSV has columns `source` and `name`, others are disregarded: a report of `write_names` with its gaps filled will
    do, and what is still unmatched or guessed in it stays so. A JSON file is one object, `null` for a structure
    to leave out.

    Raises:
        InputError: If the file is missing, neither .csv nor .json, larger than 1 MB, not UTF-8, lacks a column, has a
            source twice (case and blanks do not count) or too long, or a name that no structure may have.
    """
    path = Path(path)
    try:
        if path.suffix.lower() not in (".csv", ".json"):
            raise InputError("must end on .csv or .json", argument="file name", value=path.name)
        overrides = _read_json(path) if path.suffix.lower() == ".json" else _read_csv(path)
        checked_overrides(overrides)
        return overrides
    except InputError as error:
        raise error if error.path else InputError.located(error, path) from None


def checked_overrides(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return overrides by what counts of their sources.

    Raises:
        InputError: See `read_overrides`.
    """
    checked: dict[str, str] = {}
    for source, name in overrides.items():
        if not isinstance(source, str) or not source.strip() or len(source) > SOURCE_MAX:
            raise InputError(f"must be a text of 1 to {SOURCE_MAX} characters", argument="source", value=source)
        if not isinstance(name, str) or (name and not is_legal(name)):
            raise InputError(
                "must be a structure name (a letter, then letters, digits or _.&~^+-!), or empty to leave it out",
                argument=f"name of {source!r}",
                value=name,
            )
        if override_key(source) in checked:
            raise InputError("must occur once; case and blanks do not count", argument="source", value=source)
        checked[override_key(source)] = name
    return checked


def override_key(source: str) -> str:
    """Return what counts of a source's name.

    >>> override_key(" Lt  LUNG ")
    'lt lung'
    """
    return " ".join(source.split()).casefold()


def _read_json(path: Path) -> dict[str, str]:
    content = read_strict_json(path)
    if not isinstance(content, dict):
        raise InputError("must be an object: source → name", argument="content", value=type(content).__name__)
    _check_count(len(content))
    for source, name in content.items():
        if not isinstance(name, str | None):
            raise InputError("must be a structure name or null", argument=f"name of {source!r}", value=name)
    return {source: name or "" for source, name in content.items()}


def _read_csv(path: Path) -> dict[str, str]:
    try:
        text = read_at_most(path, BYTES_MAX).decode("utf-8-sig")
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows, columns = list(table), table.fieldnames or ()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", argument="file", path=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"must be CSV in UTF-8 ({error})", argument="content", path=path) from error
    if not {"source", "name"} <= set(columns):  # an empty file is no list of no names
        raise InputError("must have columns source and name", argument="header", value=list(columns)[:8], path=path)
    _check_count(len(rows))
    return _from_rows(rows)


def _from_rows(rows: list[dict[str, str]]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        source, name = row.get("source"), row.get("name")
        if source is None or name is None:
            raise InputError("must have columns source and name", argument=f"row {line}", value=row)
        source, name = " ".join(shown_source(source).split()), name.strip()
        if not name and row.get("how") in ("unmatched", "fuzzy"):
            continue
        if source in overrides:
            raise InputError("must occur once; case and blanks do not count", argument="source", value=source)
        overrides[source] = name
    return overrides


def _check_count(count: int) -> None:
    if count > ROWS_MAX:
        raise InputError(f"must be at most {ROWS_MAX}", argument="number of names", value=count)
