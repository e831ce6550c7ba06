"""Mutations of zip archives, of arrays in them, and attacks through pickles."""

import io
import json
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hostile.mutation import Mutation, on_bytes

#: Folder that an attack makes when its code runs; set by the runner before good files are made.
CANARY = Path("canary-that-must-never-be")

Entries = list[tuple[str, bytes]]
EntryChange = Callable[[Entries, random.Random], Entries]


def entries_of(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def zipped(entries: list[tuple[str, bytes]], how: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, how)
    return stream.getvalue()


def _on_entries(
    name: str,
    change: EntryChange,
    may_differ: bool = False,
) -> Mutation:
    return on_bytes(name, lambda data, rng: zipped(change(entries_of(data), rng)), may_differ)


def _slip(entries: Entries, rng: random.Random) -> Entries:
    at = rng.randrange(len(entries))
    path = rng.choice(("../../slipped/", "/usr/slipped/", "..\\..\\slipped\\", "C:\\slipped\\"))
    return [(path + n if i == at else n, c) for i, (n, c) in enumerate(entries)] + [(f"{path}more", b"slipped")]


def _without(entries: Entries, rng: random.Random) -> Entries:
    at = rng.randrange(len(entries))
    return entries[:at] + entries[at + 1 :]


def _swapped(entries: Entries, rng: random.Random) -> Entries:
    contents = [content for _, content in entries]
    rng.shuffle(contents)
    return [(name, content) for (name, _), content in zip(entries, contents, strict=True)]


def _twice(entries: Entries, rng: random.Random) -> Entries:
    name, _ = rng.choice(entries)
    return [*entries, (name, rng.randbytes(100))]


def _spoilt(entries: Entries, rng: random.Random) -> Entries:
    """An entry damaged before its checksum is taken: the zip itself is whole."""
    at = rng.randrange(len(entries))
    content = bytearray(entries[at][1])
    for _ in range(rng.choice((1, 4, 32))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return [(n, bytes(content) if i == at else c) for i, (n, c) in enumerate(entries)]


def _spoilt_head(entries: Entries, rng: random.Random) -> Entries:
    at = rng.randrange(len(entries))
    content = bytearray(entries[at][1])
    for _ in range(rng.choice((1, 2))):
        if content:
            content[rng.randrange(min(len(content), 128))] = rng.randrange(256)
    return [(n, bytes(content) if i == at else c) for i, (n, c) in enumerate(entries)]


def _cut_entry(entries: Entries, rng: random.Random) -> Entries:
    at = rng.randrange(len(entries))
    cut = entries[at][1][: rng.randrange(max(1, len(entries[at][1])))]
    return [(n, cut if i == at else c) for i, (n, c) in enumerate(entries)]


def _zeros(count: int) -> bytes:
    """About `count` zeros, packed, without packing them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(10_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (count // 10_000_000) + packer.flush()


def _bomb(data: bytes, rng: random.Random) -> bytes:
    """One entry unpacks to many more bytes than it ought to; its declared size says so, or does not."""
    entries = entries_of(data)
    at = rng.randrange(len(entries))
    count = rng.choice((200_000_000, 3_000_000_000))
    packed = _zeros(count)
    bomb = bytearray(zipped([(n, packed if i == at else c) for i, (n, c) in enumerate(entries)]))
    declared = rng.choice((count, len(entries[at][1])))
    with zipfile.ZipFile(io.BytesIO(bytes(bomb))) as archive:
        local = archive.infolist()[at].header_offset
    central = [i for i in range(len(bomb) - 46) if bomb[i : i + 4] == b"PK\x01\x02"][-len(entries) :][at]
    for start, method, size in ((local, 8, 22), (central, 10, 24)):
        struct.pack_into("<H", bomb, start + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", bomb, start + size, declared)
    return bytes(bomb)


def _declared(data: bytes, rng: random.Random) -> bytes:
    """Sizes in the directory that are not those of the entries."""
    spoilt = bytearray(data)
    at = [i for i in range(len(data) - 46) if data[i : i + 4] == b"PK\x01\x02"]
    place = rng.choice(at) + rng.choice((20, 24, 42))  # packed size, size, place of the entry
    struct.pack_into("<I", spoilt, place, rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFE)))
    return bytes(spoilt)


def _method(data: bytes, rng: random.Random) -> bytes:
    """Encrypted, or packed in a way nobody knows."""
    spoilt = bytearray(data)
    at = [i for i in range(len(data) - 46) if data[i : i + 4] == b"PK\x01\x02"]
    place, value = rng.choice(((8, 1), (10, 99), (10, 12), (10, 14), (10, 8)))
    struct.pack_into("<H", spoilt, rng.choice(at) + place, value)
    return bytes(spoilt)


ZIP = (
    _on_entries("zip slip", _slip),
    _on_entries("entry missing", _without, may_differ=True),
    _on_entries("entries swapped", _swapped),
    _on_entries("entry twice", _twice),
    _on_entries("entry spoilt, checksum right", _spoilt, may_differ=True),
    _on_entries("head of an entry spoilt, checksum right", _spoilt_head, may_differ=True),
    _on_entries("entry truncated, checksum right", _cut_entry),
    on_bytes("zip bomb", _bomb),
    on_bytes("declared sizes", _declared),
    on_bytes("encrypted or of unknown method", _method),
)


def _header_value(key: str, value: Any) -> EntryChange:
    def change(entries: Entries, _: random.Random) -> Entries:
        header = json.loads(dict(entries)["case.json"])
        header[key] = value
        return [(n, json.dumps(header).encode() if n == "case.json" else c) for n, c in entries]

    return change


CASE_HEADER = tuple(
    _on_entries(f"header: {key} = {str(value)[:24]}", _header_value(key, value))
    for key, value in (
        *(("shape_zyx", v) for v in ([10**6, 10**6, 10**6], [-16, 20, 24], [16, 20], "x", None, [1.5, 2, 3])),
        *(("spacing_xyz_mm", v) for v in ([float("nan"), 3, 4], [0, 3, 4], [1e400, 3, 4], [], "abc", {})),
        *(("origin_xyz_mm", v) for v in ([float("inf"), 0, 0], [None, 0, 0], 3)),
        *(
            ("boxes", v)
            for v in ({}, {"#body": [[0, 1]]}, {"#body": [[-9, 9], [0, 9], ["a", 9]]}, [], None, {"../x": []})
        ),
        *(("beams", v) for v in ([[720, 0, "photon"]], [["a"]], 3, [[0, 0, "neutron"]], [[float("nan"), 0, "photon"]])),
        *(("prescription_gy", v) for v in ({}, {"PTV_High": -1}, {"PTV_High": float("nan")}, {"Nothing": 3}, [], None)),
        *(("case_id", v) for v in ("../../x", "", None, "a\0b", "x" * 10, 3)),
        *(("anatomy", v) for v in ("../x.anatomy", "x.anatomy", 3, "", ["a"])),
        *(("fractions", v) for v in (0, -1, 1.5, float("inf"), "x")),
        *(("technique", "magic"), ("format", 99), ("dose_scale_gy", float("nan")), ("dose_scale_gy", 1e30)),
        *(("dose_scale_gy", -1.0), ("dose_scale_gy", "x"), ("isocenter_xyz_mm", [1, 2]), ("isocenter_xyz_mm", "abc")),
    )
)


class _Call:
    """Pickles as a call of something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def attacks() -> list[tuple[str, bytes]]:
    """Pickles that make the canary's folder when they are loaded as pickles are."""
    import functools
    import os
    import subprocess

    place = str(CANARY)
    code = f"__import__('os').mkdir({place!r})"
    by_name = {
        "os.mkdir": pickle.dumps(_Call(os.mkdir, place), 2),
        "os.system": pickle.dumps(_Call(os.system, f"mkdir {place}"), 4),
        "eval": pickle.dumps(_Call(eval, code), 0),
        "exec": pickle.dumps(_Call(exec, code), 5),
        "subprocess": pickle.dumps(_Call(subprocess.call, ["mkdir", place]), 3),
        "partial": pickle.dumps(functools.partial(os.mkdir, place), 4),
        "getattr": b"cbuiltins\ngetattr\n(cos\nmkdir\nS'__call__'\ntR(S" + repr(place).encode() + b"\ntR.",
        "builtins through numpy": b"cnumpy.core._internal\n__builtins__\n.",
        "numpy.load of a pickle": pickle.dumps(_Call(np.load, place, None, True), 4),
        "numpy.f2py": b'cnumpy.f2py.crackfortran\nmyeval\n(S\'__import__("os").mkdir("' + place.encode() + b"\")'\ntR.",
        "in a dict": pickle.dumps({"img": _Call(os.mkdir, place)}, 4),
        "in an array": pickle.dumps(np.array([_Call(os.mkdir, place)], object), 4),
        "setstate": b"cbuiltins\neval\n(S" + repr(code).encode() + b"\ntR.",
        "extension code": b"\x80\x02\x82\x01.",
        "persistent id": b"Pos.system\n.",
        "stack underflow": b"\x80\x04R.",
        "endless memo": b"\x80\x04" + b"\x94" * 500_000 + b".",
        "many marks": b"(" * 500_000 + b".",
        "huge string": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.",
        "huge frame": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"N.",
        "huge array": b"\x80\x02cnumpy\nzeros\n(J\xff\xff\xff\x7ftR.",
        "huge long": b"\x80\x02\x8b\xff\xff\xff\x7f\x00.",
        "billion laughs": _laughs(),
        "recursion": _deep(),
    }
    return list(by_name.items())


def _laughs() -> bytes:
    """Lists of lists that are one object each, but endless when walked."""
    level: list[Any] = ["ha"]
    for _ in range(60):
        level = [level] * 10
    return pickle.dumps({"img": level}, 4)


def _deep() -> bytes:
    return b"\x80\x04" + b"]" * 20_000 + b"a" * 19_999 + b"."


def npy_of_pickle(pickled: bytes, shape: str = "()") -> bytes:
    """A .npy file of objects with a given pickle behind its header."""
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + pickled


def _attack(data: bytes, rng: random.Random) -> bytes:
    entries = entries_of(data)
    at = rng.randrange(len(entries))
    name, pickled = rng.choice(attacks())
    content = rng.choice((npy_of_pickle(pickled), npy_of_pickle(pickled, "(1,)"), pickled))
    if entries[at][0] == "case.json" and name:
        content = pickled
    return zipped([(n, content if i == at else c) for i, (n, c) in enumerate(entries)])


def _bare_pickle(_: bytes, rng: random.Random) -> bytes:
    return rng.choice(attacks())[1]


def _npy_header(data: bytes, rng: random.Random) -> bytes:
    """A .npy header that is none, or that asks for more than there is."""
    entries = entries_of(data)
    at = rng.randrange(len(entries))
    text = rng.choice(
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2), }",
            "{'descr': '|V1000000000', 'fortran_order': False, 'shape': (4,), }",
            "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (4,), }",
            "{'descr': '<c16', 'fortran_order': False, 'shape': (4,), }",
            "{'descr': '<M8[s]', 'fortran_order': True, 'shape': (4,), }",
            "__import__('os').mkdir('" + str(CANARY) + "')",
            "{" * 5000,
            "[" * 100_000,
            "{'descr': '<f4', 'fortran_order': 1, 'shape': 3}",
            "",
        )
    )
    header = text.encode() + b"\n"
    content = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header + entries[at][1][128:]
    return zipped([(n, content if i == at else c) for i, (n, c) in enumerate(entries)])


PICKLES = (on_bytes("pickle attack", _attack), on_bytes("a bare pickle", _bare_pickle))
ARRAYS = (on_bytes("array header", _npy_header),)
