"""`dosewright deidentify`: copies of DICOM-RT files without what tells whose they are."""

import logging
import re
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

from dosewright.core import InputError
from dosewright.core.files import atomic_write
from dosewright.io.dicom.write_deidentified import Deidentified, deidentify

NAMES = "structure_names.txt"
DATES = ("remove", "shift")
MOST_TOLD = 20  # files that were left out

_OURS = re.compile(r"(CT|RTSTRUCT|RTPLAN|RTDOSE)\.2\.25\.[0-9]+\.dcm|\.(CT|RTSTRUCT|RTPLAN|RTDOSE)\..*\.part\.dcm")

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, int]:
    """De-identify as configured; return how many files, patients, renamed structures and left out files there are.

    A file that cannot be cleaned costs no other. Nothing that is logged, and no message, holds anything of the files or
    their names: files go by their number among all files below the folder, sorted by path.

    Args:
        cfg: conf/deidentify.yaml.

    Raises:
        InputError: If an option is of the wrong kind, the folder is missing or holds nothing that can be written, or
            `out` lies within it or holds other things than an earlier run's.
        StorageError: If a file cannot be written.
    """
    for name in ("keep_structure_names", "overwrite"):
        if not isinstance(cfg[name], bool):
            raise InputError("must be true or false", argument=name, value=type(cfg[name]).__name__)
    if cfg.dates not in DATES:
        raise InputError(f"must be one of {DATES}", argument="dates", value=cfg.dates)
    if cfg.key is not None and not isinstance(cfg.key, str):
        rule = "must be a text: put a number into quotes, key=\"'123'\""
        raise InputError(rule, argument="key", value=type(cfg.key).__name__)
    folder, out = Path(str(cfg.folder)).expanduser(), Path(str(cfg.out)).expanduser()
    if cfg.overwrite:
        clear(folder, out)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("de-identifying", total=None)
        found = deidentify(
            folder,
            out,
            key=cfg.key,
            dates=cfg.dates,
            keep_structure_names=cfg.keep_structure_names,
            progress=lambda done, count: bar.update(task, completed=done, total=count),
        )
    _tell(found, out)
    return {
        "files": len(found.written),
        "patients": found.patients,
        "renamed": found.renamed,
        "left_out": len(found.left_out),
    }


def clear(folder: Path, out: Path) -> None:
    """Remove what an earlier run wrote.

    Args:
        folder: That is read.
        out: Where to write.

    Raises:
        InputError: If `out` and `folder` lie within each other, or there is anything else in `out`.
    """
    source, target = folder.resolve(), out.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise InputError("must not lie within the other", argument="folder and out", value="one within the other")
    if not out.is_dir():
        return
    files = [path for path in out.rglob("*") if not path.is_dir() or path.is_symlink()]
    other = [path for path in files if not _is_ours(path.relative_to(out))]
    if other:
        rule = "must hold nothing but what an earlier run wrote, to be overwritten"
        raise InputError(rule, argument="out", value=f"{len(other)} other files", path=out)
    for path in files:
        path.unlink()
    for path in sorted((path for path in out.rglob("*") if path.is_dir()), reverse=True):
        path.rmdir()


def _is_ours(path: Path) -> bool:
    return path == Path(NAMES) or (len(path.parts) == 2 and _OURS.fullmatch(path.name) is not None)


def _tell(found: Deidentified, out: Path) -> None:
    """Write the names of structures, to be looked through, and log what can be told."""
    log.info(found.describe())
    for number, reason in list(found.left_out.items())[:MOST_TOLD]:
        log.warning("file %d of %d, sorted by path: left out, %s", number, found.files, reason)
    if len(found.left_out) > MOST_TOLD:
        log.warning("%d more files were left out", len(found.left_out) - MOST_TOLD)
    if found.names:
        atomic_write(out / NAMES, "".join(f"{name}\n" for name in found.names))
        log.warning("names of structures are free text: look through %s before files are given away", out / NAMES)
