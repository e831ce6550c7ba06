"""Attributes of a DICOM dataset, each read with a check and with an error that names file and tag.

A hostile or broken file must not do more than raise: files are opened through `_ClampedFile`, so that a length in a
header never asks for more memory than the file has bytes, deflated files are refused as they can grow without limit,
and whatever pydicom raises becomes a CaseError.
"""

import io
import math
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from jaxtyping import Float
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dosewright.core import CaseError

UNDEFINED_LENGTH = 0xFFFFFFFF
DEFLATED = "1.2.840.10008.1.2.1.99"

# All that pydicom's parser and its value conversions raise on broken files.
LIBRARY_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    struct.error,
)


class Attributes:
    """A dataset, or an item of one of its sequences, whose attributes are read by keyword.

    Args:
        dataset: As pydicom read it.
        path: Its file, for messages.
    """

    def __init__(self, dataset: Dataset, path: Path) -> None:
        self.dataset, self.path = dataset, path

    def has(self, keyword: str) -> bool:
        """Whether the attribute is there and not empty."""
        return self._value(keyword) not in (None, "")

    def text(self, keyword: str, default: str | None = None) -> str:
        """Return a text, stripped.

        Raises:
            CaseError: If it is absent or empty and has no default.
        """
        value = self._value(keyword)
        text = "" if value is None else _joined(value).strip(" \0")
        if text or default is not None:
            return text or str(default)
        raise self.error(keyword, "must be given", "nothing")

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return one finite number.

        Raises:
            CaseError: If it is absent without a default, no number, several, or not finite.
        """
        if not self.has(keyword) and default is not None:
            return default
        return float(self.numbers(keyword, 1)[0])

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Return one integer.

        Raises:
            CaseError: See `number`; or it is not whole.
        """
        value = self.number(keyword, None if default is None else float(default))
        if value != int(value):
            raise self.error(keyword, "must be a whole number", value)
        return int(value)

    def numbers(self, keyword: str, count: int | None = None) -> Float[np.ndarray, " n"]:
        """Return finite numbers.

        Args:
            keyword: The attribute.
            count: How many there must be; None for any number of them, but one at least.

        Raises:
            CaseError: If the attribute is absent, not of numbers, of another count, or not finite.
        """
        value = self._raw(keyword)
        try:
            numbers = _parsed(value)
        except LIBRARY_ERRORS as error:
            raise self.error(keyword, "must be numbers", value) from error
        if numbers.size == 0 or (count is not None and numbers.size != count):
            expected = "given" if count is None else f"{count} number{'s' if count > 1 else ''}"
            raise self.error(keyword, f"must be {expected}", f"{numbers.size} numbers")
        if not np.isfinite(numbers).all():
            raise self.error(keyword, "must be finite", f"{np.count_nonzero(~np.isfinite(numbers))} that are not")
        return numbers

    def items(self, keyword: str, required: bool = False) -> "list[Attributes]":
        """Return the items of a sequence; none when it is absent and not required.

        Raises:
            CaseError: If it is required and absent or empty, or no sequence.
        """
        value = self._value(keyword)
        if not value:
            if required:
                raise self.error(keyword, "must have an item", "none")
            return []
        if not isinstance(value, pydicom.Sequence):
            raise self.error(keyword, "must be a sequence", type(value).__name__)
        for item in value:
            check_whole(item, self.path)
        return [Attributes(item, self.path) for item in value]

    def references(self, keyword: str) -> tuple[str, ...]:
        """Return the SOP instance UIDs that the items of a sequence refer to."""
        return tuple(item.text("ReferencedSOPInstanceUID") for item in self.items(keyword))

    def error(self, keyword: str, rule: str, value: object) -> CaseError:
        """Return an error about an attribute of this file."""
        return CaseError(rule, argument=named(keyword), value=value, path=self.path)

    def _value(self, keyword: str) -> Any:
        with library_errors(self.path, named(keyword)):
            return self.dataset.get(keyword)

    def _raw(self, keyword: str) -> Any:
        """Return the value as it is in the file, unless it has been converted: contours have millions of numbers."""
        with library_errors(self.path, named(keyword)):
            tag = tag_for_keyword(keyword) or 0
            element = None if tag not in self.dataset else self.dataset.get_item(tag)
            if element is None or element.value is None:
                return b""
            textual = element.VR in ("DS", "IS") or (element.VR in (None, "UN") and dictionary_VR(tag) in ("DS", "IS"))
            return element.value if textual else self.dataset[tag].value


def read_dataset(path: Path, max_bytes: int, keywords: Sequence[str] | None = None, pixels: bool = False) -> Attributes:
    """Return the attributes of one DICOM file.

    Args:
        path: The file.
        max_bytes: Most bytes the file may have; with `keywords` only what is read counts.
        keywords: Attributes to read; None for all.
        pixels: Whether to read the pixel data too.

    Raises:
        CaseError: If the file is not DICOM, broken, deflated or too large.
    """
    with library_errors(path, "file"), path.open("rb") as stream:
        clamped = _ClampedFile(stream)
        if keywords is None and clamped.size > max_bytes:
            rule = f"must have at most {max_bytes / 1e6:.0f} MB"
            raise CaseError(rule, argument="file", value=f"{clamped.size / 1e6:.0f} MB", path=path)
        meta = read_file_meta_info(path)
        if str(meta.get("TransferSyntaxUID", "")).strip() == DEFLATED:
            rule = "must not be deflated: such files can grow without limit when read; write them uncompressed"
            raise CaseError(rule, argument=named("TransferSyntaxUID"), value=DEFLATED, path=path)
        dataset = pydicom.dcmread(
            clamped,
            stop_before_pixels=not pixels,
            specific_tags=None if keywords is None else list(keywords),
        )
    check_whole(dataset, path)
    return Attributes(dataset, path)


def check_whole(dataset: Dataset, path: Path) -> None:
    """Refuse a dataset that ends within an element: pydicom takes what is there.

    Raises:
        CaseError: If an element has fewer bytes than it says.
    """
    for tag in dataset.keys():  # noqa: SIM118  iterating a dataset converts its elements
        element = dataset.get_item(tag)
        length = getattr(element, "length", UNDEFINED_LENGTH)  # of elements not yet converted
        if length != UNDEFINED_LENGTH and len(element.value or b"") < length:
            rule = f"must have the {length} bytes it says: the file is cut off"
            raise CaseError(rule, argument=f"element {tag}", value=f"{len(element.value or b'')} bytes", path=path)


def named(keyword: str) -> str:
    """Return a keyword with its tag.

    >>> named("DoseGridScaling")
    'DoseGridScaling (3004,000E)'
    """
    tag = tag_for_keyword(keyword)
    return keyword if tag is None else f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


@contextmanager
def library_errors(path: Path, argument: str) -> Iterator[None]:
    """Turn what pydicom raises into a CaseError about `path`, and keep its warnings, which quote values, to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except CaseError:
        raise
    except LIBRARY_ERRORS as error:
        reason = "out of memory" if isinstance(error, MemoryError) else type(error).__name__
        raise CaseError("must be readable as DICOM", argument=argument, value=reason, path=path) from error


class _ClampedFile:
    """A file that never reads past its end, so that no buffer is larger than what is left of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.size - self._stream.tell())
        return self._stream.read(left if size is None or size < 0 else min(size, left))


def _joined(value: Any) -> str:
    return "\\".join(map(str, value)) if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else str(value)


def _parsed(value: Any) -> Float[np.ndarray, " n"]:
    if isinstance(value, bytes):
        text = value.strip(b" \0")
        return np.array(text.split(b"\\")).astype(float) if text else np.empty(0)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return np.empty(0)
    return np.atleast_1d(np.asarray(value, dtype=float)).ravel()
