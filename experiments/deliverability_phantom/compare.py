"""Train a small net on phantoms, go on with and without the deliverability loss, and measure on phantoms it never saw.

python experiments/deliverability_phantom/compare.py

Printed per variant, means over the test phantoms in Gy, over the dose mask's voxels of the dose grid:

  predicted-reference  |p − r|, what the prediction misses of the reference plan's dose
  predicted-achieved   |p − a|, the gap: a is the deliverable dose nearest to p, searched until it hardly changes
  achieved-reference   |a − r|, what is left of the error once the prediction is made deliverable

The last row is the reference dose itself: the gap of a dose that was delivered, to which interpolation alone adds.
Started again, it goes on where it stopped.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from dosewright.datasets.sample import sample_box
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.solver import StopRule
from dosewright.inference.predictor import Predictor
from dosewright.inference.weights import load_model
from dosewright.planning.phantom_plans import PhantomReader
from dosewright.training.losses.deliverability import DeliverabilityLoss
from dosewright.training.losses.deliverable_cases import DeliverableCases

DOSEWRIGHT = [sys.executable, "-m", "dosewright.jobs.cli"]
EXPERIMENT = ["train", "experiment=deliverability_phantom", "callbacks.pictures=null"]
#: Variant → what it overrides.
VARIANTS = {"l1": ["loss=masked_l1"], "l1 + deliverability": ["loss.weights.deliverability={weight}"]}
COLUMNS = ("predicted-reference", "predicted-achieved", "achieved-reference")


def main() -> None:
    """Train what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/deliverability_phantom"))
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="of phantom plans and dose influences")
    parser.add_argument("--train", type=int, default=14, help="training phantoms")
    parser.add_argument("--test", type=int, default=5, help="test phantoms")
    parser.add_argument("--start-epochs", type=int, default=20, help="with the absolute difference alone")
    parser.add_argument("--epochs", type=int, default=30, help="from there on, with and without the loss")
    parser.add_argument("--weight", type=float, default=1.0, help="of the deliverability loss")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--beamlet-mm", type=float, default=10.0, help="of the measurement, not of the training")
    parser.add_argument("--dose-spacing-mm", type=float, default=7.0, help="likewise")
    given = parser.parse_args()
    counts = {"train": given.train, "validation": 2, "test": given.test}
    reader = PhantomReader(given.cache / "phantom-plans", count=counts, split="test")
    settings = InfluenceSettings(beamlet_mm=given.beamlet_mm, dose_spacing_mm=given.dose_spacing_mm)
    judge = Judge(reader, given.cache / "influences", settings)
    table: dict[str, dict[str, list[float]]] = {}
    for seed in given.seeds:
        common = [f"seed={seed}", f"paths.cache_dir={given.cache}"]
        common += [f"data.counts.train={given.train}", f"data.counts.test={given.test}"]
        start = trained(given.out / f"start_seed{seed}", [*common, "loss=masked_l1"], given.start_epochs)
        for name, overrides in VARIANTS.items():
            more = [override.format(weight=given.weight) for override in overrides]
            more += [f"checkpoint={start}", "optimizer.lr=1e-3"]
            weights = trained(given.out / f"{name.replace(' ', '')}_seed{seed}", [*common, *more], given.epochs)
            predictor = Predictor([load_model(weights)], flip=False)
            table[f"{name}, seed {seed}"] = judge.measure(predictor.predict)
    table["the reference dose"] = judge.measure(lambda case: case.dose_gy)
    print_table(table, list(reader.case_ids))
    (given.out / "table.json").write_text(json.dumps({"cases": list(reader.case_ids), "table": table}, indent=1))


def trained(run: Path, overrides: list[str], epochs: int) -> Path:
    """Return the weights of a training, from its folder where it is complete."""
    weights = run / "model.safetensors"
    if not weights.exists():
        length = [f"trainer.max_epochs={epochs}", f"trainer.check_val_every_n_epoch={epochs}"]
        subprocess.run([*DOSEWRIGHT, *EXPERIMENT, *overrides, *length, f"out={run}"], check=True)
    return weights


class Judge:
    """Measures doses on the cases of a reader by a search that goes on until the nearest dose hardly changes."""

    def __init__(self, reader: PhantomReader, cache_dir: Path, settings: InfluenceSettings) -> None:
        self.reader = reader
        self.cases = DeliverableCases(reader, cache_dir, settings=settings)
        self.loss = DeliverabilityLoss(self.cases)
        self.loss.solver = ProjectedLbfgs(stop=StopRule(max_steps=1000, value_tolerance=1e-3))

    def measure(self, dose_of) -> dict[str, list[float]]:
        """Return each column's values in Gy, one per case."""
        rows = []
        for case_id in self.reader.case_ids:
            case = self.reader.read(case_id)
            found = self.cases.get(case_id, torch.device("cpu"))
            box = sample_box(case, 0)
            predicted, reference = (
                found.sampler.sample(torch.from_numpy(np.ascontiguousarray(dose[box])).float())
                for dose in (dose_of(case), case.dose_gy)
            )
            with torch.no_grad():
                achieved = self.loss.nearest(case_id, found, predicted)
            pairs = ((predicted, reference), (predicted, achieved), (achieved, reference))
            rows.append([float((one - other).abs().mean()) for one, other in pairs])
        return {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}


def print_table(table: dict[str, dict[str, list[float]]], case_ids: list[str]) -> None:
    """Print means over cases, and the gap of every case."""
    print("\n" + f"{'Gy':28s}" + "".join(f"{name:>21s}" for name in COLUMNS) + "   gap of each case")
    for name, columns in table.items():
        means = "".join(f"{np.mean(columns[column]):21.3f}" for column in COLUMNS)
        print(f"{name:28s}{means}   " + " ".join(f"{value:.2f}" for value in columns["predicted-achieved"]))
    print(f"cases: {', '.join(case_ids)}")


if __name__ == "__main__":
    main()
