"""What is pickled in an NPZ is rebuilt like numpy's own reader does, and nothing else is ever done."""

import builtins
import codecs
import functools
import importlib
import operator
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dosewright.core import CaseError
from dosewright.io.gdp_hmm.npz import read_object
from gdp_hmm_files import as_numpy_1, entry_of, hostile, load, npy_bytes

RNG = np.random.default_rng(0)
GOOD: dict[str, Any] = {
    "volume": RNG.integers(-1000, 3000, (3, 4, 5)).astype(np.int32),
    "fortran": np.asfortranarray(RNG.normal(size=(3, 4, 5))),
    "cut": RNG.normal(size=(9, 9, 9))[1:4, 2:6, 3:8],
    "big_endian": RNG.normal(size=(2, 3)).astype(">f4"),
    "mask": RNG.random((3, 4, 5)) < 0.5,
    "empty": np.zeros((0, 3), np.uint8),
    "names": np.array(["PTV", "Körper"]),
    "objects": np.array(["PTV", 3, None], dtype=object),
    "plain": {"text": "ü", "none": None, "truth": True, "numbers": [1, -(2**40), 2.5, 70_000], "tuple": (1, (2, 3))},
    "scalars": [np.float32(2.5), np.float64(-1.0), np.int64(7), np.bool_(True)],
    "same": None,
}
GOOD["same"] = GOOD["volume"]


def write(path: Path, content: Any, protocol: int = 4) -> Path:
    """As numpy does, with the protocol of one's choice."""
    return hostile(path, pickle.dumps(np.array(content, dtype=object), protocol))


def assert_same(mine: Any, theirs: Any) -> None:
    if isinstance(theirs, np.ndarray) and theirs.dtype == object:
        assert mine == theirs.tolist()
    elif isinstance(theirs, np.ndarray):
        assert mine.dtype == theirs.dtype.newbyteorder("=")
        np.testing.assert_array_equal(mine, theirs)
    elif isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        for key, value in theirs.items():
            assert_same(mine[key], value)
    else:
        assert mine == theirs
        assert isinstance(mine, type(theirs)) or isinstance(theirs, list | np.generic)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_it_reads_what_numpy_reads(tmp_path: Path, protocol: int) -> None:
    content = {k: v for k, v in GOOD.items() if protocol > 2 or k not in ("scalars",)}
    if protocol == 2:  # Python's own way to write bytes then is a call of _codecs.encode, which is refused
        with pytest.raises(CaseError, match=r"_codecs\.encode"):
            read_object(write(tmp_path / "a.npz", content, protocol))
        return
    path = write(tmp_path / "a.npz", content, protocol)
    assert_same(read_object(path), load(path))


def test_it_reads_what_savez_writes_now_and_wrote_under_numpy_1(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, GOOD)
    assert_same(read_object(path), load(path))
    assert_same(read_object(as_numpy_1(path)), GOOD)
    np.savez(path, GOOD)
    assert_same(read_object(path), GOOD)


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


CALLS: dict[str, tuple[Callable[[str], Call], str]] = {
    "os.system": (lambda m: Call(os.system, f"touch {m}"), "posix.system|nt.system"),
    "subprocess": (lambda m: Call(subprocess.Popen, ["touch", m]), r"subprocess\.Popen"),
    "eval": (lambda m: Call(builtins.eval, f"open({m!r}, 'w')"), r"builtins\.eval"),
    "exec": (lambda m: Call(builtins.exec, f"open({m!r}, 'w')"), r"builtins\.exec"),
    "open": (lambda m: Call(builtins.open, m, "w"), r"io\.open|_io\.open"),
    "getattr": (lambda m: Call(builtins.getattr, "", "format"), r"builtins\.getattr"),
    "partial": (lambda m: Call(functools.partial, os.system, f"touch {m}"), r"functools\.partial"),
    "attrgetter": (lambda m: Call(operator.attrgetter, "system"), r"operator\.attrgetter"),
    "import": (lambda m: Call(importlib.import_module, "os"), r"importlib\.import_module"),
    "codecs": (lambda m: Call(codecs.encode, "a", "rot13"), r"_codecs\.encode"),
    "numpy.load": (lambda m: Call(np.load, m), r"numpy\.load|numpy\.lib\S*\.load"),
    "numpy.savetxt": (lambda m: Call(np.savetxt, m, [1]), r"numpy\.savetxt|numpy\.lib\S*\.savetxt"),
    "numpy.memmap": (lambda m: Call(np.memmap, m, "uint8", "w+", 0, (9,)), r"numpy\.memmap"),
    "numpy.fromfile": (lambda m: Call(np.fromfile, m), r"numpy\.\S*fromfile"),
    "numpy.zeros": (lambda m: Call(np.zeros, 10**12), r"numpy\.\S*zeros"),
    "runstring": (lambda m: Call(np.testing.runstring, "1", {}), r"numpy\.testing\S*\.runstring"),
    "OrderedDict": (lambda m: Call(OrderedDict), r"collections\.OrderedDict"),
    "bytearray": (lambda m: Call(bytearray, 10**12), r"builtins\.bytearray"),
    "ndarray called": (
        lambda m: Call(np.ndarray, (10**6, 10**6, 10**6)),
        r"must call numpy as numpy does; got 'ndarray",
    ),
    "dtype of dtypes": (lambda m: Call(np.dtype, [("a", "f8")], False, True), r"numpy as numpy does; got 'dtype\(\)'"),
    "dtype of text": (lambda m: Call(np.dtype, "f8,f8", False, True), r"got \"dtype\('f8,f8'\)\""),
    "subarray dtype": (lambda m: Call(np.dtype, "(99999,99999)f8", False, True), r"\(99999,99999\)f8"),
    "reconstruct a class": (
        lambda m: Call(np.core.multiarray._reconstruct, np.matrix, (0,), b"b"),
        r"numpy(\.matrixlib\S*)?\.matrix",
    ),
}


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("kind", CALLS)
def test_a_call_is_refused_by_name_and_not_made(tmp_path: Path, kind: str, protocol: int) -> None:
    make, named = CALLS[kind]
    marker = tmp_path / "marker"
    for content in ({"img": make(str(marker))}, make(str(marker)), {"a": [1, {"b": make(str(marker))}]}):
        path = write(tmp_path / "bad.npz", content, protocol)
        with pytest.raises(CaseError, match=rf"bad\.npz: (.|\n)*({named})"):
            read_object(path)
        with pytest.raises(CaseError, match=named):  # the array itself, not an object in one
            read_object(hostile(tmp_path / "bad.npz", pickle.dumps(content, protocol)))
    assert not marker.exists()


P = b"\x80\x04"
NDARRAY = b"cnumpy\nndarray\n"
RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n"
DTYPE = b"cnumpy\ndtype\n"
F8 = DTYPE + b"\x8c\x02f8\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
NEW = RECONSTRUCT + NDARRAY + b"K\x00\x85C\x01b\x87R"
FLAGS = b"\x89"  # not in Fortran order

OPERATIONS: dict[str, tuple[bytes, str]] = {
    "INST": (P + b"(S'touch x'\nios\nsystem\n.", "INST|STRING"),
    "OBJ": (P + b"(cos\nsystem\no.", r"posix\.system|os\.system"),
    "NEWOBJ": (P + NDARRAY + b")\x81.", "got 'NEWOBJ'"),
    "NEWOBJ_EX": (P + NDARRAY + b")}\x92.", "got 'NEWOBJ_EX'"),
    "EXT1": (P + b"\x82\x01.", "got 'EXT1'"),
    "PERSID": (P + b"Pfile:x\n.", "got 'PERSID'"),
    "BINPERSID": (P + b"N\x51.", "got 'BINPERSID'"),
    "NEXT_BUFFER": (b"\x80\x05\x97.", "got 'NEXT_BUFFER'"),
    "DUP": (P + b"N2.", "got 'DUP'"),
    "unknown": (P + b"\xff.", "got 255"),
    "protocol 0": (b"(dp0\n.", "got 'PUT'"),
    "protocol 9": (b"\x80\x09N.", "must be of pickle protocol 2 to 5; got 9"),
    "no stop": (P + b"}", "must not end"),
    "nothing": (b"", "must not end"),
    "stop on nothing": (P + b".", "must not take what is not there"),
    "stop on a mark": (P + b"(.", "must not take a mark"),
    "more after the end": (P + b"}." + b"cos\nsystem\n", "must end with its pickle"),
    "a list": (P + b"].", "must be a dictionary; got 'list'"),
    "a global alone": (P + NDARRAY + b".", "must hold values only; got 'Global'"),
    "a type alone": (P + F8 + b".", "must hold values only; got 'PendingDtype'"),
    "an array without values": (P + NEW + b".", "must give every array its values"),
    "bytes that are not there": (P + b"\x8e" + struct.pack("<Q", 1 << 40) + b".", "must not end"),
    "a bytearray that is not there": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b".", "must not end"),
    "text that is not there": (P + b"\x8d" + struct.pack("<Q", 1 << 40) + b".", "texts of at most"),
    "text in no encoding": (P + b"\x8c\x02\xff\xfe.", "texts in UTF-8"),
    "an integer that is not there": (P + b"\x8b" + struct.pack("<i", 1 << 30) + b".", "integers of at most 16 bytes"),
    "an integer of negative length": (P + b"\x8b" + struct.pack("<i", -1) + b".", "integers of at most 16 bytes"),
    "a global without end": (P + b"c" + b"a" * 5000, "lines of at most 200 bytes"),
    "a global in no ASCII": (P + b"c\xff\n\xff\n.", "name globals in ASCII"),
    "a global by number": (P + b"K\x01K\x02\x93.", "must name globals by text; got 'int'"),
    "a global by a dotted name": (P + b"\x8c\x05numpy\x8c\x0endarray.tofile\x93.", r"numpy\.ndarray\.tofile"),
    "a memo not kept": (P + b"h\x05.", "recall what was not remembered; got 5"),
    "a key of bytes": (P + b"}C\x01aK\x01s.", "dictionaries of text keys"),
    "an odd dictionary": (P + b"}(\x8c\x01au.", "dictionaries of text keys"),
    "items without a mark": (P + b"}u.", "mark where a container starts"),
    "append to a dictionary": (P + b"}Na.", "must fill a list; got 'dict'"),
    "state on a dictionary": (P + b"}}b.", "must set no state but an array's; got 'dict'"),
    "state on a function": (P + RECONSTRUCT + b"N}\x86b.", "got '_reconstruct'"),
    "a call of text": (P + b"\x8c\x0c_reconstruct)R.", r"numpy as numpy does; got 'str\(\)'"),
    "an array of no bytes": (
        P
        + NEW
        + b"(K\x01J"
        + struct.pack("<i", 10**9)
        + b"K\x09K\x09\x87"
        + F8
        + FLAGS
        + b"C\x08"
        + b"\0" * 8
        + b"tb.",
        r"must have the 8 bytes that are there; got 'shape \(1000000000, 9, 9\) of float64'",
    ),
    "a negative shape": (P + NEW + b"(K\x01J\xff\xff\xff\xff\x85" + F8 + FLAGS + b"C\x00tb.", "whole numbers; got"),
    "five dimensions": (
        P + NEW + b"(K\x01(K\x01K\x01K\x01K\x01K\x01t" + F8 + FLAGS + b"C\x08" + b"\0" * 8 + b"tb.",
        "at most 4 whole numbers",
    ),
    "values twice": (P + NEW + (b"(K\x01K\x01\x85" + F8 + FLAGS + b"C\x08" + b"\0" * 8 + b"tb") * 2 + b".", "no state"),
    "objects that are too few": (
        P + NEW + b"(K\x01K\x09\x85" + DTYPE + b"\x8c\x02O8\x89\x88\x87R" + FLAGS + b"]tb.",
        "must hold 9 objects; got 0",
    ),
    "objects from bytes": (
        P + NEW + b"(K\x01K\x01\x85" + DTYPE + b"\x8c\x02O8\x89\x88\x87R" + FLAGS + b"C\x08" + b"\x41" * 8 + b"tb.",
        "must be made of bytes",
    ),
    "an object scalar": (
        P + b"cnumpy._core.multiarray\nscalar\n" + DTYPE + b"\x8c\x02O8\x89\x88\x87RC\x08" + b"\x41" * 8 + b"\x86R.",
        r"numpy as numpy does; got 'scalar\(\)'",
    ),
    "a structured type": (
        P + DTYPE + b"\x8c\x02V8\x89\x88\x87R.",
        r"numpy as numpy does; got \"dtype\('V8'\)\"",
    ),
    "a type with fields": (
        P + DTYPE + b"\x8c\x02f8\x89\x88\x87R(K\x03\x8c\x01<N\x8c\x01a\x85}K\x08K\x08K\x00tb.",
        "must set no state",
    ),
    "deep lists": (P + b"]" * 1000 + b"a" * 999 + b".", "steps|nested at most"),
    "deep tuples": (P + b")" + b"\x85" * 1000 + b".", "must be nested at most"),
    "a list in itself": (P + b"]\x94h\x00a.", "must be nested at most"),
    "a dictionary in itself": (P + b"}\x94\x8c\x01ah\x00s.", "must be nested at most"),
    "a million laughs": (
        P
        + b"]\x94"
        + b"".join(b"](" + b"h" + bytes([n]) * 1 + (b"h" + bytes([n])) * 60 + b"e\x94" for n in range(6))
        + b".",
        "must be nested at most",
    ),
    "endless steps": (P + b"(" * 6000, "at most 5000 steps"),
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_an_operation_out_of_place_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.io.gdp_hmm.pickle_machine.MAX_STEPS", 5000)
    content, message = OPERATIONS[kind]
    path = hostile(tmp_path / "bad.npz", content)
    tracemalloc.start()
    try:
        with pytest.raises(CaseError, match=rf"bad\.npz: (.|\n)*({message})"):
            read_object(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_memo_of_any_index_costs_nothing(tmp_path: Path) -> None:
    """Python's unpickler allocates 64 GB for this one."""
    path = hostile(tmp_path / "a.npz", P + b"}r\xff\xff\xff\xff.")
    tracemalloc.start()
    assert read_object(path) == {}
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def zipped(path: Path, content: bytes, name: str = "arr_0.npy", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)
    return path


def claiming(path: Path, size: int) -> Path:
    """A small entry whose directory claims to unpack to `size` bytes."""
    zipped(path, entry_of(P + b"}."))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(bytes(data))
    return path


def damaged(path: Path) -> Path:
    np.savez(path, GOOD)
    data = bytearray(path.read_bytes())
    at = data.index(GOOD["volume"].tobytes()) + 11
    data[at] ^= 1
    path.write_bytes(bytes(data))
    return path


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda p: None, "must exist"),
    "empty": (lambda p: p.write_bytes(b""), "must be a whole .npz"),
    "text": (lambda p: p.write_text("PID,PlanID"), "must be a whole .npz"),
    "a folder": (lambda p: p.mkdir(), "must be a whole .npz"),
    "cut off": (lambda p: (np.savez(p, GOOD), p.write_bytes(p.read_bytes()[:-30])), "must be a whole .npz"),
    "a flipped bit": (damaged, "must be a whole .npz"),
    "no arr_0": (lambda p: np.savez(p, img=np.zeros(3)), r"must hold arr_0\.npy; got \['img\.npy'\]"),
    "a plain array": (lambda p: np.savez(p, np.zeros(3)), r"must be one object.*'shape \(3,\) of float64'"),
    "an array of objects": (lambda p: np.savez(p, np.array([{}, {}])), r"must be one object.*shape \(2,\) of object"),
    "an object that is none": (lambda p: np.savez(p, np.array(None)), "must be a dictionary; got 'NoneType'"),
    "no npy": (lambda p: zipped(p, b"cos\nsystem\n(S'x'\ntR."), "must start as an .npy file"),
    "a header of code": (
        lambda p: hostile(p, P + b"}.", b"{'descr': __import__('os').system('x'), 'shape': ()}"),
        "must have a readable header",
    ),
    "a header of brackets": (lambda p: hostile(p, P + b"}.", b"(" * 5000), "must have a readable header"),
    "a header that is too long": (
        lambda p: zipped(p, b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31)),
        "must have a header of at most 10000 bytes; got 2147483648",
    ),
    "LZMA, whose dictionary may be 4 GB": (
        lambda p: zipped(p, entry_of(P + b"}."), method=zipfile.ZIP_LZMA),
        "must be stored or deflated; got 'method 14'",
    ),
    "a bomb": (lambda p: claiming(p, 2_000_000_000), "must unpack to at most 1000000000 bytes; got 2000000000"),
    "a claim": (lambda p: claiming(p, 1_000_000_000), "must unpack to what its packed bytes can hold"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_broken_file_is_refused(tmp_path: Path, kind: str) -> None:
    make, message = FILES[kind]
    path = tmp_path / "bad.npz"
    make(path)
    with pytest.raises(CaseError, match=rf"bad\.npz: (.|\n)*{message}"):
        read_object(path)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_mutated_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    """Bytes changed, cut out and doubled, with the checksum of what they have become."""
    rng = np.random.default_rng(seed)
    small = {"a": np.arange(6.0).reshape(1, 2, 3), "n": ["x", 1], "s": np.float32(2), "o": np.array(["q"], object)}
    good = npy_bytes(np.array(small, dtype=object), allow_pickle=True)
    path, refused = tmp_path / "bad.npz", 0
    for _ in range(60):
        data = bytearray(good)
        for _ in range(int(rng.integers(1, 4))):
            at, kind = int(rng.integers(100, len(data))), rng.integers(3)
            if kind == 0:
                data[at] = int(rng.integers(256))
            elif kind == 1:
                del data[at : at + int(rng.integers(1, 9))]
            else:
                data[at:at] = data[at : at + int(rng.integers(1, 9))]
        zipped(path, bytes(data), method=zipfile.ZIP_STORED)
        outcome = outcome_of(path)
        if isinstance(outcome, CaseError):
            refused += 1
            assert str(outcome).startswith(f"{path}: ")
        else:
            assert isinstance(outcome, dict)
    assert refused > 30


def outcome_of(path: Path) -> object:
    try:
        return read_object(path)
    except CaseError as error:
        return error
