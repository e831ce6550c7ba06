"""Mutations that need no knowledge of the format.

`DAMAGE` hits bytes anywhere: in a format without checksums it may hit a value, so the result may differ.
"""

import random
import shutil
from pathlib import Path

from hostile.mutation import Mutation, on_bytes


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 8, 64))):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _flip_in_head(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        spoilt[rng.randrange(min(512, len(spoilt)))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 4, 16, 256, 4096)))


def _shuffle(data: bytes, rng: random.Random) -> bytes:
    start, stop = _span(data, rng)
    block = bytearray(data[start:stop])
    rng.shuffle(block)
    return data[:start] + bytes(block) + data[stop:]


def _zero(data: bytes, rng: random.Random) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + bytes(stop - start) + data[stop:]


def _ones(data: bytes, rng: random.Random) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + b"\xff" * (stop - start) + data[stop:]


def _delete(data: bytes, rng: random.Random) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + data[stop:]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, stop = _span(data, rng)
    return data[:stop] + data[start:]


def _noise(data: bytes, rng: random.Random) -> bytes:
    start, _ = _span(data, rng)
    return data[:start] + rng.randbytes(rng.choice((1, 3, 64, 1024))) + data[start:]


def _length(data: bytes, rng: random.Random) -> bytes:
    """A 32-bit number somewhere becomes huge: a length, a count or a size, if it is one."""
    start = rng.randrange(max(1, len(data) - 4))
    huge = rng.choice((0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0x80000000, 0x40000000, 0))
    return data[:start] + huge.to_bytes(4, "little") + data[start + 4 :]


def _no_file(path: Path, _: random.Random) -> None:
    path.unlink()


def _folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to(path)


def _dangling(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _device(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _other_file(path: Path, rng: random.Random) -> None:
    siblings = sorted(p for p in path.parent.iterdir() if p.is_file() and p != path)
    if siblings:
        shutil.copyfile(rng.choice(siblings), path)
    else:
        path.write_bytes(rng.randbytes(2000))


DAMAGE = (
    on_bytes("flipped bits", _flip_bits, may_differ=True),
    on_bytes("flipped bits in the head", _flip_in_head, may_differ=True),
    on_bytes("shuffled bytes", _shuffle, may_differ=True),
    on_bytes("zeroed bytes", _zero, may_differ=True),
    on_bytes("bytes of ones", _ones, may_differ=True),
    on_bytes("deleted bytes", _delete, may_differ=True),
    on_bytes("repeated bytes", _repeat, may_differ=True),
    on_bytes("inserted noise", _noise, may_differ=True),
    on_bytes("huge number", _length, may_differ=True),
)
TRUNCATION = (on_bytes("truncated", _cut),)
NO_FILE = (
    on_bytes("empty", lambda data, rng: b""),
    on_bytes("one byte", lambda data, rng: data[:1]),
    on_bytes("noise alone", lambda data, rng: rng.randbytes(rng.choice((10, 348, 5000)))),
    on_bytes("zeros alone", lambda data, rng: bytes(len(data))),
    on_bytes("twice in a row", lambda data, rng: data + data),
    Mutation("missing", _no_file),
    Mutation("a folder in its place", _folder),
    Mutation("a link to itself", _loop),
    Mutation("a link to nowhere", _dangling),
    Mutation("a link to an endless device", _device),
    Mutation("another file's content", _other_file),
)
