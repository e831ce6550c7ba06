#!/usr/bin/env python3
"""Refuse files that must never be committed: patient data, and anything above 20 MB.

Called with the files to look at; prints one line for each it refuses and then exits with 1. Standard library only, so
that it runs before anything is installed.
"""

import re
import sys
from pathlib import Path

LARGEST_MB = 20
# What patients come in, weights that are pickles (safetensors may be published), folders of the published data sets.
VOLUMES = (".dcm", ".ima", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".npz", ".npy", ".b2nd", ".case")
PICKLES = (".ckpt", ".pt", ".pth", ".pkl")
SUFFIXES = (*VOLUMES, *PICKLES, ".tar.xz")
FOLDERS = re.compile(r"(^|/)(provided-data|(train|validation|test)-pats|pt_\d+)/")
SPARSE_CSV_HEADER = b",data"  # OpenKBP's volumes and every submission to it


def refusal(path: Path) -> str | None:
    """Return why `path` must not be committed, or None when it may be."""
    if not path.is_file():
        return None
    size_mb = path.stat().st_size / 1e6
    if size_mb > LARGEST_MB:
        return f"{size_mb:.1f} MB, above {LARGEST_MB} MB"
    if path.name.lower().endswith(SUFFIXES) or FOLDERS.search(path.as_posix()):
        return "looks like patient data or a pickle by its name"
    with path.open("rb") as stream:
        head = stream.read(132)
    if head[128:] == b"DICM":
        return "is a DICOM file"
    if path.suffix.lower() == ".csv" and head.startswith(SPARSE_CSV_HEADER):
        return "is a sparse volume in OpenKBP's format"
    return None


def main(names: list[str]) -> int:
    """Print a line for every refused file; return 1 when there is one."""
    refused = [(name, why) for name in names if (why := refusal(Path(name)))]
    for name, why in refused:
        print(f"{name}: {why}; it must not be committed")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
