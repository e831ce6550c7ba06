"""Reading JSON that people and foreign programs wrote: bounded, without NaN and without a key twice in an object."""

import json
from pathlib import Path
from typing import Any, NoReturn

from dosewright.core.errors import InputError
from dosewright.core.files import read_at_most

BYTES_MAX = 10_000_000


def read_strict_json(path: str | Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        InputError: If the file is missing, larger than 10 MB, not JSON in UTF-8 (or UTF-16 or UTF-32, which JSON
            allows), nested beyond what the parser takes, or has NaN, an infinity or a key twice in one object.
    """
    path = Path(path)
    try:
        content = read_at_most(path, BYTES_MAX)
        return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", argument="file", path=path) from error
    except InputError as error:
        raise InputError.located(error, path) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"must be JSON in UTF-8 ({error})", argument="content", path=path) from error


def _refuse_constant(name: str) -> NoReturn:
    raise InputError("must hold finite numbers only", argument="content", value=name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise InputError("must occur once in an object", argument="key", value=key)
        content[key] = value
    return content
