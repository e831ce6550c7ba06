"""Stored pixel values of one file, checked against its header before anything is allocated."""

import numpy as np
from jaxtyping import Integer
from pydicom.uid import UID

from dosewright.core import CaseError
from dosewright.io.dicom.read_elements import Attributes, library_errors, named

EXPANSION = 2  # a compressed image may have so many times the bytes of the plain one, a decoder's working memory


def stored_values(attributes: Attributes, allowed_bits: tuple[int, ...]) -> Integer[np.ndarray, "frames rows columns"]:
    """Return the stored values, widest integers that hold them: no rescaling, one frame per plane.

    Args:
        attributes: A dataset read with its pixels.
        allowed_bits: Bits Allocated that its kind may have.

    Raises:
        CaseError: If the header contradicts itself or the pixel data, or no decoder is installed.
    """
    rows, columns, frames = (attributes.integer(k, d) for k, d in _SIZES)
    if min(rows, columns, frames) < 1:
        raise attributes.error("Rows", "must be positive, as Columns and NumberOfFrames", (rows, columns, frames))
    for keyword, wanted in (("SamplesPerPixel", 1), ("PhotometricInterpretation", "MONOCHROME2")):
        value = attributes.text(keyword, str(wanted))
        if value != str(wanted):
            raise attributes.error(keyword, f"must be {wanted}", value)
    bits = attributes.integer("BitsAllocated")
    if bits not in allowed_bits:
        raise attributes.error("BitsAllocated", f"must be one of {allowed_bits}", bits)
    signed = attributes.integer("PixelRepresentation")
    if signed not in (0, 1):
        raise attributes.error("PixelRepresentation", "must be 0 or 1", signed)
    syntax = transfer_syntax(attributes)
    expected = rows * columns * frames * bits // 8
    content = _content(attributes)
    if syntax.is_compressed:
        return _decoded(attributes, expected, len(content)).reshape(frames, rows, columns)
    if len(content) not in (expected, expected + expected % 2):
        raise attributes.error(
            "PixelData", f"must have {expected} bytes for {frames} × {rows} × {columns} pixels", f"{len(content)} bytes"
        )
    order = "<" if syntax.is_little_endian else ">"
    values = np.frombuffer(content, f"{order}{'i' if signed else 'u'}{bits // 8}", rows * columns * frames)
    return _used_bits(attributes, values, bits).reshape(frames, rows, columns)


_SIZES: tuple[tuple[str, int | None], ...] = (("Rows", None), ("Columns", None), ("NumberOfFrames", 1))


def transfer_syntax(attributes: Attributes) -> UID:
    """Return how the file is encoded.

    Raises:
        CaseError: If the file does not say so, or names a private or unknown syntax.
    """
    meta = Attributes(attributes.dataset.file_meta, attributes.path)
    syntax = UID(meta.text("TransferSyntaxUID"))
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise meta.error("TransferSyntaxUID", "must be a standard transfer syntax", str(syntax))
    return syntax


def _content(attributes: Attributes) -> bytes:
    with library_errors(attributes.path, named("PixelData")):
        element = attributes.dataset.get("PixelData")
    if not isinstance(element, bytes):
        raise attributes.error("PixelData", "must be given", "nothing")
    return element


def _used_bits(attributes: Attributes, values: Integer[np.ndarray, " n"], bits: int) -> Integer[np.ndarray, " n"]:
    """Return values without what lies above Bits Stored (old files keep overlays there)."""
    stored, high = attributes.integer("BitsStored", bits), attributes.integer("HighBit", bits - 1)
    if not 1 <= stored <= bits or high != stored - 1:
        raise attributes.error("BitsStored", f"must be in [1, {bits}], and HighBit one less", (stored, high))
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native if stored == bits else (native << (bits - stored)) >> (bits - stored)


def _decoded(attributes: Attributes, expected: int, compressed: int) -> Integer[np.ndarray, " n"]:
    if compressed > EXPANSION * expected + 65536:
        raise attributes.error("PixelData", f"must have some {expected} bytes", f"{compressed} bytes, compressed")
    try:
        with library_errors(attributes.path, named("PixelData")):
            values = attributes.dataset.pixel_array
    except CaseError as error:
        name = transfer_syntax(attributes).name
        rule = f"must be decodable: {name} needs a plug-in of pydicom, or decompress the files first (gdcmconv --raw)"
        raise attributes.error("PixelData", rule, error.value) from error
    if not np.issubdtype(values.dtype, np.integer) or values.nbytes != expected:
        raise attributes.error("PixelData", f"must decode to {expected} bytes of integers", values.nbytes)
    return np.ascontiguousarray(values).ravel()
