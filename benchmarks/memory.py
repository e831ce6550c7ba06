"""Peak memory of a worker that prepares patients, and of whole-volume prediction at 128³.

    python benchmarks/memory.py [--root DIR] [--cases 4] [--size 128]

Each row runs in a process of its own, whose peak resident memory is read when it is done; "imports" is what the
libraries alone take. Peers: a plain csv reader that holds the same volumes, and MONAI's MedNeXt-S. DIR holds OpenKBP's
`provided-data`; without it phantoms are prepared. Aims: below 1 GB per preparing worker, below 6 GB for prediction.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from harness.patients import openkbp_root, parser, source_of
from harness.timing import machine, peak_gb, print_table


class Row(NamedTuple):
    """One measurement: what the child runs, its name in the table, its aim in GB, and the row to compare with."""

    work: str
    name: str
    aim_gb: float | None = None
    peer: str | None = None


ROWS = (
    Row("imports", "imports of a preparing worker"),
    Row("plain", "plain csv reader"),
    Row("prepare", "preparing worker", 1.0, "plain"),
    Row("peer-fp32", "MedNeXt-S (MONAI), fp32"),
    Row("peer-bf16", "MedNeXt-S (MONAI), bf16"),
    Row("net-fp32", "unet_half, fp32", 6.0, "peer-fp32"),
    Row("net-bf16", "unet_half, bf16", 6.0, "peer-bf16"),
)


def prepare(root: Path, cases: int, *, plain: bool = False) -> None:
    """Prepare training patients as one worker of `dosewright prepare` does, or only read them plainly."""
    from dosewright.io.openkbp import OpenKBPReader
    from dosewright.io.prepared import CachedReader
    from dosewright.jobs.prepare import prepare_one
    from harness.plain_reader import read_plainly

    reader = OpenKBPReader(root)
    with tempfile.TemporaryDirectory() as folder:
        for case_id in reader.case_ids[:cases]:
            if plain:
                read_plainly(root / "provided-data" / "train-pats" / case_id)
            elif prepare_one(CachedReader(reader, folder), case_id)[1] != "prepared":
                raise SystemExit(f"{case_id} was not prepared")


def predict(size: int, precision: str, *, peer: bool) -> None:
    """Predict one whole random volume."""
    import torch

    from inference_latency import mednext_s, ours

    net, channels = ours("unet_half")
    if peer:
        net = mednext_s(channels)
    image = torch.randn(1, channels, size, size, size)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        net.eval()(image)


def run(work: str, options: argparse.Namespace) -> None:
    """Do one row's work in this process and print its peak in GB."""
    if work in ("imports", "plain", "prepare"):
        prepare(options.root, 0 if work == "imports" else options.cases, plain=work == "plain")
    else:
        who, precision = work.split("-")
        predict(options.size, precision, peer=who == "peer")
    print(f"peak {peak_gb():.6f}")


def measured_gb(work: str, root: Path, options: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--work", work, "--root", str(root)]
    command += ["--cases", str(options.cases), "--size", str(options.size)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.rpartition("peak ")[2])


def main() -> None:
    arguments = parser(__doc__ or "", repeats=1)
    arguments.add_argument("--cases", type=int, default=4, help="training patients prepared by the worker")
    arguments.add_argument("--size", type=int, default=128, help="edge of the predicted volume in voxels")
    arguments.add_argument("--work", choices=[row.work for row in ROWS], help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.work:
        run(options.work, options)
        return
    with openkbp_root(options.root, options.cases) as root:
        peaks = {row.work: max(measured_gb(row.work, root, options) for _ in range(options.repeats)) for row in ROWS}
    print(machine("monai"))
    print(f"{source_of(options.root)}: {options.cases} prepared; prediction at {options.size}³\n")
    print_table(("", "peak GB", "of its peer's", "aim, GB", "met"), [_cells(row, peaks) for row in ROWS])


def _cells(row: Row, peaks: dict[str, float]) -> tuple[str, ...]:
    peak = peaks[row.work]
    ratio = f"{peak / peaks[row.peer]:.2f}" if row.peer else ""
    aim, met = ("", "") if row.aim_gb is None else (f"< {row.aim_gb:g}", "yes" if peak < row.aim_gb else "no")
    return row.name, f"{peak:.2f}", ratio, aim, met


if __name__ == "__main__":
    main()
