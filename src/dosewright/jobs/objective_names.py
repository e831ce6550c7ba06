"""The user's own structure names, from a CSV that says what each stands for."""

import csv
from pathlib import Path

from dosewright.core import InputError

BYTES_MAX = 1_000_000
GUESS = "fuzzy"  # in the column `how` of a names report


def read_own_names(path: str | Path) -> dict[str, str]:
    """Return TG-263 name → the user's own name.

    Args:
        path: CSV with the columns source (the own name) and name (TG-263), in UTF-8; others are allowed. A row without
            a name counts as not matched. Of several rows for one name, those that `how` calls fuzzy give way.

    Raises:
        InputError: If the file cannot be read or is larger than 1 MB, a column is missing, or two rows say different
            things.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > BYTES_MAX:
            raise InputError(f"must have at most {BYTES_MAX} bytes", argument="names", value=size, path=path)
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            missing = {"source", "name"} - set(reader.fieldnames or ())
            if missing:
                rule = "must have the columns source and name"
                raise InputError(rule, argument="names", value=reader.fieldnames, path=path)
            rows = list(reader)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", argument="names", path=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"must be a CSV in UTF-8 ({error})", argument="names", path=path) from error
    certain = _by_name([row for row in rows if row.get("how") != GUESS], path)
    guessed = _by_name([row for row in rows if row.get("how") == GUESS and row["name"] not in certain], path)
    return guessed | certain


def _by_name(rows: list[dict[str, str]], path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for row in rows:
        source, name = row["source"] or "", row["name"] or ""
        if name and names.setdefault(name, source) != source:
            pair = (names[name], source)
            raise InputError("must have one row for each name", argument=f"names: {name}", value=pair, path=path)
    sources = list(names.values())
    twice = sorted({source for source in sources if sources.count(source) > 1})
    if twice:
        raise InputError("must give each source one name", argument="names", value=twice, path=path)
    return names
