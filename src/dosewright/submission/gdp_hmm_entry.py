"""The challenge's container: reads the test plans in one folder and writes a dose for each into another.

    python -m dosewright.submission.gdp_hmm_entry --data /data --results /results

The data folder has `meta_data_test.csv`, `PTV_DICT.json`, `Pat_Obj_DICT.json` and the NPZ files; `<plan>_pred.npy`, at
the plan's own shape in Gy, is what comes out. Nothing is downloaded. A plan that fails costs no other; the exit status
then is 1, and the plan and its reason are named.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dosewright.core import CaseError, DosewrightError
from dosewright.inference.predictor import Predictor
from dosewright.inference.weights import default_weights, load_model
from dosewright.io.gdp_hmm import GdpHmmReader
from dosewright.submission.gdp_hmm import write_result

log = logging.getLogger("dosewright.gdp_hmm")
TABLES = ("meta_data_test.csv", "meta_data.csv")
LIMIT_SECONDS, LIMIT_GB = 3.0, 24.0  # the challenge's, for the net on its GPU


@dataclass(frozen=True)
class EntryResult:
    """What a run did.

    Args:
        seconds: Plan → seconds of the prediction, without reading and writing.
        failed: Plan → why it has no dose.
        peak_gb: Most GPU memory torch held, in GB; None without a GPU.
    """

    seconds: Mapping[str, float]
    failed: Mapping[str, str]
    peak_gb: float | None = None


def run(data: Path, results: Path, predictor: Predictor) -> EntryResult:
    """Predict every plan of the table.

    Raises:
        CaseError: If a table is missing or broken, or no plan has its file.
    """
    table = next((data / name for name in TABLES if (data / name).is_file()), None)
    if table is None:
        raise CaseError(f"must hold {TABLES[0]}", argument="data", value="none", path=data)
    reader = GdpHmmReader(data, split=None, meta_data=table)
    seconds: dict[str, float] = {}
    failed = dict.fromkeys(reader.absent, "its file is not there")
    for plan in reader.case_ids:
        try:
            case = reader.read(plan)
            start = time.perf_counter()
            dose_gy = predictor.predict(case)
            seconds[plan] = time.perf_counter() - start
            write_result(results, plan, dose_gy)
        except (DosewrightError, RuntimeError, ValueError) as error:  # torch's, for memory and for sizes
            failed[plan] = str(error)
            log.error("%s: no dose: %s", plan, error)
            continue
        log.info("%s: %s voxels, %.2f s, up to %.1f Gy", plan, dose_gy.shape, seconds[plan], float(dose_gy.max()))
        for note in reader.notes(plan):
            log.info("%s: %s", plan, note)
    return EntryResult(seconds, failed, _peak_gb())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with command-line arguments, whose defaults come from the environment; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
    options = _parser().parse_args(arguments)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = load_model(options.weights or default_weights())
        predictor = Predictor([model], flip=options.flip, device=device, precision=options.precision)
        result = run(Path(options.data), Path(options.results), predictor)
    except DosewrightError as error:
        log.error("%s", error)
        return 1
    return _report(result)


def _report(result: EntryResult) -> int:
    if result.seconds:
        spent = list(result.seconds.values())
        told = f"median {np.median(spent):.2f} s, at most {max(spent):.2f} s (limit {LIMIT_SECONDS:g} s)"
        log.info("%d plans predicted, %s", len(spent), told)
    if result.peak_gb is not None:
        log.info("at most %.1f GB of the GPU (limit %g GB)", result.peak_gb, LIMIT_GB)
    for plan, reason in result.failed.items():
        log.error("%s has no dose: %s", plan, reason)
    return 1 if result.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = os.environ.get
    parser.add_argument("--data", default=given("DOSEWRIGHT_DATA", "/data"), help="folder of the plans")
    parser.add_argument("--results", default=given("DOSEWRIGHT_RESULTS", "/results"), help="folder of the doses")
    weights = "a .safetensors file; without it the weights that ship, which know OpenKBP alone"
    parser.add_argument("--weights", default=given("DOSEWRIGHT_WEIGHTS"), help=weights)
    parser.add_argument("--device", default=given("DOSEWRIGHT_DEVICE", "auto"), help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--precision", default=given("DOSEWRIGHT_PRECISION", "fp32"), choices=("fp32", "bf16"))
    parser.add_argument("--flip", action="store_true", help="average with the flipped patient, in twice the time")
    return parser


def _peak_gb() -> float | None:
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None


if __name__ == "__main__":
    raise SystemExit(main())
