"""Reading JSON that people and foreign programs wrote: bounded, without duplicate keys, type by type.

Errors name the file and the place in it (`ScoreTemplates[3].ScorePoints[0].PointX`).
"""

import math
from pathlib import Path
from typing import Any

from dosewright.core import InputError
from dosewright.core.strict_json import read_strict_json

DEPTH_MAX = 32
NUMBER_MAX = 1e12  # beyond any dose, volume or score; keeps sums and slopes finite


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        InputError: If the file is missing, larger than 10 MB, nested deeper than 32, not JSON in UTF-8 (or UTF-16 or
            UTF-32, which JSON allows), or has NaN, an infinity or a key twice in one object.
    """
    path = Path(path)
    content = read_strict_json(path)
    try:
        _check_depth(content)
    except InputError as error:
        raise InputError.located(error, path) from error
    return content


def object_at(content: Any, where: str) -> dict[str, Any]:
    """Return `content`, an object.

    Raises:
        InputError: If it is anything else.
    """
    if not isinstance(content, dict):
        raise InputError("must be an object", argument=where, value=content)
    return content


def list_at(content: dict[str, Any], key: str, where: str = "") -> list[Any]:
    """Return the list under `key`; an absent or null one is empty.

    Raises:
        InputError: If it is anything else.
    """
    value = content.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError("must be a list", argument=_place(where, key), value=value)
    return value


def text_at(content: dict[str, Any], key: str, where: str = "") -> str:
    """Return the text under `key`; an absent or null one is "".

    Raises:
        InputError: If it is anything else.
    """
    value = content.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError("must be a text", argument=_place(where, key), value=value)
    return value


def number_at(content: dict[str, Any], key: str, where: str = "") -> float | int | None:
    """Return the number under `key`, None when it is absent or null.

    Raises:
        InputError: If it is anything else (a truth value is no number), or beyond ± 1e12.
    """
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("must be a number", argument=_place(where, key), value=value)
    if not -NUMBER_MAX <= value <= NUMBER_MAX:
        raise InputError(f"must be a number within ± {NUMBER_MAX:g}", argument=_place(where, key), value=value)
    return value


def required_number_at(content: dict[str, Any], key: str, where: str = "") -> float | int:
    """Return the number under `key`.

    Raises:
        InputError: If there is none; see `number_at`.
    """
    value = number_at(content, key, where)
    if value is None:
        raise InputError("must be given", argument=_place(where, key))
    return value


def integer_at(content: dict[str, Any], key: str, where: str = "") -> int | None:
    """Return the whole number under `key`, None when it is absent or null.

    Raises:
        InputError: If it is anything else.
    """
    value = number_at(content, key, where)
    if value is None:
        return None
    if value != int(value):
        raise InputError("must be a whole number", argument=_place(where, key), value=value)
    return int(value)


def flag_at(content: dict[str, Any], key: str, where: str = "") -> bool:
    """Return the truth value under `key`; an absent or null one is false.

    Raises:
        InputError: If it is anything else.
    """
    value = content.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InputError("must be true or false", argument=_place(where, key), value=value)
    return value


def _place(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _check_depth(content: Any) -> None:
    level: list[Any] = [content]
    for _ in range(DEPTH_MAX):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise InputError(f"must be nested at most {DEPTH_MAX} deep", argument="content")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, float) and not math.isfinite(value):  # 1e999 reads as infinity
        raise InputError("must hold finite numbers only", argument="content", value=value)
    return value if isinstance(value, list) else []
