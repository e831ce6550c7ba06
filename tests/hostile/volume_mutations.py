"""Mutations of NIfTI and NRRD files."""

import gzip
import random
import struct
from collections.abc import Callable

from hostile.mutation import Mutation, on_bytes

_NUMBERS = (0, 1, -1, 32767, -32768, 3, 1024)
_FLOATS = (float("nan"), float("inf"), 0.0, -1.0, 1e30, 1e-30, 352.0)


def _nifti_header(data: bytes, rng: random.Random) -> bytes:
    """A field of the header has another value; the file is packed again."""
    plain = bytearray(gzip.decompress(data))
    kind, places = rng.choice(
        (
            ("<h", tuple(range(40, 56, 2))),  # dim
            ("<h", (70, 72)),  # datatype, bitpix
            ("<f", tuple(range(76, 108, 4))),  # pixdim
            ("<f", (108, 112, 116)),  # vox_offset, slope, intercept
            ("<h", (252, 254)),  # codes
            ("<f", tuple(range(256, 328, 4))),  # quaternion, offsets and rows of the affine
            ("<i", (0,)),  # size of the header
        )
    )
    value = rng.choice(_FLOATS if kind == "<f" else _NUMBERS)
    struct.pack_into(kind, plain, rng.choice(places), value)
    return gzip.compress(bytes(plain), 1)


def _packed(change: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    return lambda data, rng: gzip.compress(change(gzip.decompress(data), rng), 1)


NIFTI = (
    on_bytes("header field", _nifti_header, may_differ=True),
    on_bytes("cut before it was packed", _packed(lambda data, rng: data[: rng.randrange(len(data))])),
    on_bytes("more than the header says", _packed(lambda data, rng: data + bytes(rng.choice((1, 4, 10**6))))),
    on_bytes("gzip bomb", lambda data, rng: data + gzip.compress(bytes(100_000_000), 1) * rng.choice((1, 30))),
    on_bytes("not packed", lambda data, rng: gzip.decompress(data)),
    on_bytes("packed twice", lambda data, rng: gzip.compress(data)),
    on_bytes(
        "another magic",
        _packed(lambda data, rng: data[:344] + rng.choice((b"ni1\0", b"n+2\0", b"\0" * 4)) + data[348:]),
    ),
)


def _field(data: bytes, rng: random.Random) -> bytes:
    head, blank, rest = data.partition(b"\n\n")
    lines = head.split(b"\n")
    at = rng.randrange(1, len(lines))
    line = rng.choice(
        (
            b"data file: {secret}",
            b"data file: LIST",
            b"datafile: /dev/zero",
            b"line skip: 1000000000000",
            b"byte skip: -1",
            b"sizes: 24 20 4000000000",
            b"sizes: 24 20",
            b"sizes: -24 -20 16",
            b"dimension: 99999999999",
            b"dimension: 2",
            b"type: block",
            b"type: double",
            b"encoding: bzip2",
            b"encoding: hex",
            b"encoding: raw",
            b"endian: big",
            b"space: scanner-xyz",
            b"space: 3D-right-handed",
            b"space origin: (nan,0,0)",
            b"space directions: (1e308,0,0) (0,1e308,0) (0,0,1e308)",
            b"space directions: none none none",
            b"space directions: (3,0,0) (3,0,0) (0,0,4)",
            b'space units: "m" "m" "m"',
            b"kinds: " + b"domain " * 100_000,
            b"x:=" + b"y" * 100_000,
            b": ",
            b":=",
            b"no colon",
        )
    )
    key = line.partition(b":")[0]
    replaced = [line if old.partition(b":")[0] == key else old for old in lines]
    if replaced == lines:
        replaced = [*lines[:at], line, *lines[at:]]
    return b"\n".join(replaced) + blank + rest


def _head(change: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    def apply(data: bytes, rng: random.Random) -> bytes:
        head, blank, rest = data.partition(b"\n\n")
        return change(head, rng) + blank + rest

    return apply


def _drop(head: bytes, rng: random.Random) -> bytes:
    lines = head.split(b"\n")
    del lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


NRRD = (
    on_bytes("header field", _field),
    on_bytes("header line missing", _head(_drop)),
    on_bytes("lines that end as on Windows", _head(lambda head, rng: head.replace(b"\n", b"\r\n"))),
    on_bytes("header without end", lambda data, rng: data.partition(b"\n\n")[0] + b"\n#" * 3_000_000),
    on_bytes("gzip bomb", lambda data, rng: data + gzip.compress(bytes(100_000_000), 1) * rng.choice((1, 30))),
    on_bytes("voxels missing", lambda data, rng: data.partition(b"\n\n")[0] + b"\n\n"),
)
VOLUMES: dict[str, tuple[Mutation, ...]] = {"nifti": NIFTI, "nrrd": NRRD}
