"""The one object in a GDP-HMM `.npz`, read without Python's unpickler."""

import io
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np

from dosewright.core import CaseError, InputError
from dosewright.io.gdp_hmm.bounded_stream import BoundedStream
from dosewright.io.gdp_hmm.pickle_machine import PickleMachine

ENTRY = "arr_0.npy"
MAX_BYTES = 1_000_000_000  # of the entry, unpacked; a published file has some 400 MB
MAX_HEADER = 10_000  # bytes of an .npy header
_MAX_RATIO = 1100  # deflate packs at most 1032 to 1
_MAGIC = b"\x93NUMPY"
_BROKEN = (OSError, EOFError, ValueError, LookupError, RuntimeError, NotImplementedError, MemoryError)


def read_object(path: str | Path) -> dict[str, Any]:
    """Return the dictionary that `np.savez_compressed(path, dictionary)` wrote.

    Its values are arrays, lists, tuples, text and numbers. Nothing in the file is run: see `pickle_machine`.

    Raises:
        CaseError: If the file is missing, broken or larger than 1 GB unpacked, holds no such dictionary, or does
            anything but rebuild arrays and plain data; the message names the file and what was refused.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_checked_entry(archive)) as source:
            stream = BoundedStream(cast(io.BufferedIOBase, source), archive.getinfo(ENTRY).file_size)
            shape, dtype, _ = read_header(stream)
            if not dtype.hasobject or shape != ():
                rule = "must be one object, a dictionary of arrays"
                raise CaseError(rule, argument=ENTRY, value=f"shape {shape} of {dtype}")
            found = PickleMachine(stream).run()
            stream.require_end()
    except FileNotFoundError:
        raise CaseError("must exist", argument="npz", value="no such file", path=path) from None
    except CaseError as error:
        raise CaseError.located(error, path) from error
    except (*_BROKEN, zipfile.BadZipFile, zlib.error) as error:
        raise CaseError("must be a whole .npz", argument="npz", value=str(error), path=path) from error
    if not isinstance(found, dict):
        raise CaseError("must be a dictionary", argument="arr_0", value=type(found).__name__, path=path)
    return found


def read_header(stream: BoundedStream) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Return shape, type and whether in Fortran order, from the header of an `.npy`.

    Raises:
        CaseError: If it is none, or longer than 10 kB.
    """
    start = bytes(stream.exactly(8))
    version = (start[6], start[7])
    if start[:6] != _MAGIC or version not in ((1, 0), (2, 0), (3, 0)):
        raise CaseError("must start as an .npy file", argument="npy", value=start)
    size = bytes(stream.exactly(2 if version == (1, 0) else 4))
    length = int.from_bytes(size, "little")
    if length > MAX_HEADER:
        raise CaseError(f"must have a header of at most {MAX_HEADER} bytes", argument="npy", value=length)
    content = io.BytesIO(size + bytes(stream.exactly(length)))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(content, max_header_size=MAX_HEADER)  # type: ignore[call-arg]
    except (*_BROKEN, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise CaseError("must have a readable header", argument="npy", value=str(error)[:100]) from error
    return shape, dtype, fortran


def _checked_entry(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the entry, if its claims are sound."""
    if ENTRY not in archive.namelist():
        raise CaseError(f"must hold {ENTRY}", argument="npz", value=archive.namelist()[:5])
    entry = archive.getinfo(ENTRY)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CaseError("must be stored or deflated", argument=ENTRY, value=f"method {entry.compress_type}")
    if entry.file_size > MAX_BYTES:
        raise CaseError(f"must unpack to at most {MAX_BYTES} bytes", argument=ENTRY, value=entry.file_size)
    if entry.file_size > _MAX_RATIO * (entry.compress_size + 1):
        told = f"{entry.file_size} from {entry.compress_size} bytes"
        raise CaseError("must unpack to what its packed bytes can hold", argument=ENTRY, value=told)
    return entry


def as_case_error(error: InputError, path: Path) -> CaseError:
    """Return an error about a file as a `CaseError` that names it, once."""
    if isinstance(error, CaseError) and error.path is not None:
        return error
    return CaseError(error.rule, argument=error.argument, value=error.value, path=error.path or path)
