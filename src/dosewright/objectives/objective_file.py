"""Objectives as a JSON file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dosewright.core import InputError
from dosewright.core.files import atomic_write
from dosewright.core.strict_json import read_strict_json
from dosewright.objectives.objective import Objective

SCHEMA_VERSION = 1
DOSE_UNIT = "Gy, total"
_KEYS = ("schema_version", "dose_unit", "objectives")


def write_objectives(path: str | Path, objectives: Iterable[Objective]) -> Path:
    """Write objectives to a JSON file in one step and return its path.

    Raises:
        StorageError: If the file cannot be written.
    """
    entries = ",\n    ".join(json.dumps(objective.to_dict(), ensure_ascii=False) for objective in objectives)
    head = f'{{\n  "schema_version": {SCHEMA_VERSION},\n  "dose_unit": "{DOSE_UNIT}",\n  "objectives": ['
    return atomic_write(path, f"{head}\n    {entries}\n  ]\n}}\n" if entries else f"{head}]\n}}\n")


def read_objectives(path: str | Path) -> tuple[Objective, ...]:
    """Return the objectives of a file that `write_objectives` or a person wrote.

    Raises:
        InputError: If the file is missing, not JSON of this schema, or an objective in it is not allowed; it names the
            file and the objective.
    """
    path = Path(path)
    content = read_strict_json(path)
    if not isinstance(content, dict) or sorted(content) != sorted(_KEYS):
        raise InputError(f"must be an object with the keys {_KEYS}", argument="content", value=content, path=path)
    version = content["schema_version"]
    if type(version) is not int or version != SCHEMA_VERSION:
        raise InputError(f"must be {SCHEMA_VERSION}", argument="schema_version", value=version, path=path)
    if content["dose_unit"] != DOSE_UNIT:
        raise InputError(f"must be {DOSE_UNIT!r}", argument="dose_unit", value=content["dose_unit"], path=path)
    if not isinstance(content["objectives"], list):
        raise InputError("must be a list", argument="objectives", value=content["objectives"], path=path)
    return tuple(_objective(entry, index, path) for index, entry in enumerate(content["objectives"]))


def _objective(entry: Any, index: int, path: Path) -> Objective:
    if not isinstance(entry, dict):
        raise InputError("must be an object", argument=f"objectives[{index}]", value=entry, path=path)
    try:
        return Objective.from_dict(entry)
    except InputError as error:
        named = InputError(error.rule, argument=f"objectives[{index}]: {error.argument}", value=error.value)
        raise InputError.located(named, path) from error
