"""What every submission in a flat zip must be: a whole zip of plain files, without folders and litter.

The archive is never unpacked to disk; one entry at a time is read into memory.
"""

import stat
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from dosewright.core import SubmissionError
from dosewright.submission.problem import Problem

EPOCH = (1980, 1, 1, 0, 0, 0)  # earliest date a zip can hold: equal doses give equal bytes
_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_ENCRYPTED = 0x1


def new_entry(name: str) -> zipfile.ZipInfo:
    """Return an entry to write, the same bytes on every platform and day."""
    entry = zipfile.ZipInfo(name, date_time=EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix on every platform
    entry.external_attr = 0o100644 << 16
    return entry


def check_archive(path: Path) -> list[Problem]:
    """Return what is wrong with the file as a zip."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except FileNotFoundError:
        return [Problem(path.name, "must exist", value="no such file")]
    except OSError as error:
        return [Problem(path.name, "must be a readable file", value=error.strerror or str(error))]
    try:
        with zipfile.ZipFile(path):
            return []
    except (OSError, zipfile.BadZipFile):
        if start == b"PK\x03\x04":
            return [Problem(path.name, "must be a complete zip: its end is missing, so it was cut short")]
        return [Problem(path.name, "must be a zip", value=f"a file starting with {start!r}")]


def check_name(entry: zipfile.ZipInfo, is_expected: Callable[[zipfile.ZipInfo], bool], form: str) -> list[Problem]:
    """Return what is wrong with the name of an entry, which should have a form such as "pt_N.csv"."""
    name, parts = entry.filename, PurePosixPath(entry.filename).parts
    if ".." in parts or name.startswith("/") or "\\" in entry.orig_filename or ":" in name:
        return [Problem(name, "must not point outside the folder it is unpacked in")]
    if is_litter(name):
        return [Problem(name, "must not be there: it is a hidden file of the operating system")]
    if entry.is_dir():
        return [Problem(name, "must not be there: zip the files themselves, not their folder")]
    if len(parts) > 1:
        return [Problem(name, "must not be inside a folder: zip the files themselves, not their folder")]
    if not is_expected(entry):
        return [Problem(name, f"must be named {form}")]
    return []


def is_litter(name: str) -> bool:
    """Whether a file is one that operating systems leave behind."""
    return any(part.startswith(".") or part in _LITTER for part in PurePosixPath(name).parts)


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes | list[Problem]:
    """Return the content of an entry, or why it is not read: it unpacks to more than `most` bytes, or is damaged."""
    if entry.file_size > most:
        rule = f"must unpack to at most {most // 10**6} MB; it was not unpacked"
        return [Problem(entry.filename, rule, value=f"{entry.file_size / 1e6:.0f} MB")]
    if entry.flag_bits & _ENCRYPTED:
        return [Problem(entry.filename, "must not be encrypted")]
    if stat.S_ISLNK(entry.external_attr >> 16):
        return [Problem(entry.filename, "must be a file, not a link")]
    try:
        return archive.read(entry)
    except (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        return [Problem(entry.filename, "must be undamaged", value=str(error))]


def require_none(problems: Collection[Problem], path: str | Path) -> list[Problem]:
    """Return the warnings among the problems of a submission.

    Raises:
        SubmissionError: If there is an error among them; the message lists every one.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        listed = "\n".join(f"  {problem}" for problem in errors)
        raise SubmissionError(f"{len(errors)} problem{'s' if len(errors) > 1 else ''}\n{listed}", path=path)
    return list(problems)
