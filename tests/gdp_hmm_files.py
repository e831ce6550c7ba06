"""Files of the GDP-HMM challenge for tests: whole ones from cases, changed ones, and ones somebody made to do harm."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dosewright.core import PatientCase
from dosewright.io.gdp_hmm import GdpHmmWriter

PLAN = "P001+9Ag+MOS_1"


def write_plans(folder: Path, *cases: PatientCase, **settings: Any) -> Path:
    """Write cases and their tables; helpers are left out unless asked for."""
    writer = GdpHmmWriter(**({"helpers": False} | settings))
    for case in cases:
        writer.write(case, folder)
    return folder


def load(path: Path) -> dict[str, Any]:
    """Read a file as the challenge's own loader does."""
    with np.load(path, allow_pickle=True) as stored:
        return stored["arr_0"].item()


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change a file's dictionary in place."""
    content = load(path)
    change(content)
    np.savez_compressed(path, content)
    return path


def entry_of(pickled: bytes, header: bytes | None = None) -> bytes:
    """An `arr_0.npy` with a pickle of one's own in it."""
    text = header or b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    text = text.ljust((len(text) + 10 + 64) // 64 * 64 - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + pickled


def hostile(path: Path, pickled: bytes, header: bytes | None = None) -> Path:
    """An NPZ around a pickle of one's own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", entry_of(pickled, header))
    return path


def as_numpy_1(path: Path) -> Path:
    """Rename the modules in a file's pickle to what numpy 1 writes."""
    with zipfile.ZipFile(path) as archive:
        content = archive.read("arr_0.npy")
    renamed = content
    for module in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        short = module.replace(b"_core", b"core")
        renamed = renamed.replace(b"\x8c" + bytes([len(module)]) + module, b"\x8c" + bytes([len(short)]) + short)
        renamed = renamed.replace(b"c" + module + b"\n", b"c" + short + b"\n")
    assert renamed != content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", renamed)
    return path


def npy_bytes(array: np.ndarray, **settings: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **settings)
    return stream.getvalue()
