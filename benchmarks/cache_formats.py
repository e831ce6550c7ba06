"""Size and speed of the prepared cache's format against other formats, for one whole patient.

    python benchmarks/cache_formats.py [--root DIR] [--case pt_1]

Each row writes the case into a file and reads it back into a checked `PatientCase` with bool masks. All give back the
same CT and masks; the dose is exact, or within 1 mGy where it is stored as 16 bits. Files are in the page cache when
read, and flushing to the disk is left out. DIR holds OpenKBP's `provided-data`; without it a phantom is measured.
"""

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import blosc2
import numpy as np
from safetensors.numpy import load_file, save_file

from dosewright.core import PatientCase
from dosewright.io.openkbp import OpenKBPReader
from dosewright.io.prepared import read_case, write_case
from harness.patients import openkbp_root, parser, source_of
from harness.timing import machine, medians_ms, print_table

PEER = "npz, deflated"
DOSE_TOLERANCE_GY = 1e-3
Arrays = dict[str, np.ndarray]
_ZSTD = {"codec": blosc2.Codec.ZSTD, "clevel": 5, "nthreads": 1}


class Format(NamedTuple):
    """How a case goes into a file and comes out of it."""

    name: str
    write: Callable[[Path, PatientCase], object]
    read: Callable[[Path, PatientCase], PatientCase]


def arrays_of(case: PatientCase) -> Arrays:
    """Return every volume of a case by name: `ct`, `dose`, `#body`, `#dose_mask`, and the structures."""
    volumes = {"ct": case.ct_hu, "dose": case.dose_gy, "#body": case.body, "#dose_mask": case.dose_mask}
    return {name: np.asarray(array) for name, array in (volumes | dict(case.structures)).items() if array is not None}


def built(arrays: Mapping[str, np.ndarray], like: PatientCase) -> PatientCase:
    """Return a case of these volumes; what is no volume comes from `like`, which costs the peers nothing."""
    special = {"ct", "dose", "#body", "#dose_mask"}
    return replace(
        like,
        ct_hu=arrays["ct"],
        dose_gy=arrays["dose"],
        body=arrays["#body"],
        dose_mask=arrays["#dose_mask"],
        structures={name: array for name, array in arrays.items() if name not in special},
    )


def npz(name: str, save: Callable[..., None]) -> Format:
    def read(path: Path, like: PatientCase) -> PatientCase:
        with np.load(path) as stored:
            return built({key: stored[key] for key in stored.files}, like)

    def write(path: Path, case: PatientCase) -> None:
        with path.open("wb") as stream:
            save(stream, **arrays_of(case))

    return Format(name, write, read)


def npz_packed() -> Format:
    """The prepared format's economies without Blosc2: 16-bit dose, masks packed eight to a byte, deflated."""

    def write(path: Path, case: PatientCase) -> None:
        arrays = arrays_of(case)
        scale = float(arrays["dose"].max()) / 65535
        packed: Arrays = {k: np.packbits(v, axis=-1) if v.dtype == bool else v for k, v in arrays.items()}
        packed["dose"] = np.round(arrays["dose"] / scale).astype(np.uint16)
        with path.open("wb") as stream:
            np.savez_compressed(stream, **packed, scale=np.float32(scale))  # type: ignore[arg-type]

    def read(path: Path, like: PatientCase) -> PatientCase:
        size = like.grid.shape_zyx[-1]
        with np.load(path) as stored:
            arrays = {k: stored[k] for k in stored.files}
        scale = arrays.pop("scale")
        unpacked = {
            k: np.unpackbits(v, axis=-1, count=size).view(bool) if v.dtype == np.uint8 else v for k, v in arrays.items()
        }
        unpacked["dose"] = unpacked["dose"].astype(np.float32) * scale
        return built(unpacked, like)

    return Format("npz, deflated, packed bits", write, read)


def safetensors_file() -> Format:
    return Format(
        "safetensors",
        lambda path, case: save_file({k: np.ascontiguousarray(v) for k, v in arrays_of(case).items()}, path),
        lambda path, like: built(load_file(path), like),
    )


def blosc2_each() -> Format:
    """One Blosc2 frame per volume, masks as they are, one after the other in a file."""

    def write(path: Path, case: PatientCase) -> None:
        frames = {
            k: bytes(blosc2.asarray(np.ascontiguousarray(v), cparams=_ZSTD).to_cframe())
            for k, v in arrays_of(case).items()
        }
        head = json.dumps({name: len(frame) for name, frame in frames.items()}).encode()
        path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(frames.values()))

    def read(path: Path, like: PatientCase) -> PatientCase:
        stream = io.BytesIO(path.read_bytes())
        sizes = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        return built({k: np.asarray(blosc2.ndarray_from_cframe(stream.read(n))[...]) for k, n in sizes.items()}, like)

    return Format("Blosc2, a frame per volume", write, read)


FORMATS = (
    Format("dosewright.io.prepared", lambda path, case: write_case(path, case), lambda path, _: read_case(path)),
    npz(PEER, np.savez_compressed),
    npz("npz, stored", np.savez),
    npz_packed(),
    safetensors_file(),
    blosc2_each(),
)


def check(name: str, found: PatientCase, case: PatientCase) -> None:
    theirs, ours = arrays_of(found), arrays_of(case)
    same = theirs.keys() == ours.keys() and all(np.array_equal(theirs[k], ours[k]) for k in ours if k != "dose")
    if not same or np.abs(theirs["dose"] - ours["dose"]).max() > DOSE_TOLERANCE_GY:
        raise SystemExit(f"{name}: the case read is not the one written")


def main() -> None:
    arguments = parser(__doc__ or "", repeats=9)
    arguments.add_argument("--case", default="pt_1", help="a training patient")
    options = arguments.parse_args()
    with openkbp_root(options.root) as root:
        case = OpenKBPReader(root).read(options.case)
    with tempfile.TemporaryDirectory() as folder, mock.patch("os.fsync"):
        paths = [Path(folder) / str(index) for index in range(len(FORMATS))]
        write_ms = medians_ms([partial(f.write, path, case) for f, path in zip(FORMATS, paths)], options.repeats)
        for form, path in zip(FORMATS, paths):
            check(form.name, form.read(path, case), case)
        read_ms = medians_ms([partial(f.read, path, case) for f, path in zip(FORMATS, paths)], options.repeats)
        sizes = [path.stat().st_size for path in paths]
    rows = list(zip((form.name for form in FORMATS), sizes, write_ms, read_ms))
    peer = next(row for row in rows if row[0] == PEER)
    print(machine("blosc2", "safetensors"))
    print(
        f"{source_of(options.root)}: {case.case_id}, {len(case.structures)} structures; median of {options.repeats}\n"
    )
    table = [
        (name, f"{size / 1e3:.0f}", f"{size / peer[1]:.2f}", f"{write:.1f}", f"{read:.1f}", f"{peer[3] / read:.1f}")
        for name, size, write, read in rows
    ]
    print_table(("format", "kB", "size ratio", "write ms", "read ms", "reads times faster"), table)
    print(f"\nratios against {PEER!r}")


if __name__ == "__main__":
    main()
