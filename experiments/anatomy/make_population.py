"""Make the population table and the predictor of mean doses from OpenKBP's training patients, and validate them.

python experiments/anatomy/make_population.py DIR --out outputs/anatomy
python experiments/anatomy/make_population.py DIR --out outputs/anatomy --ship   # and replaces what ships

Writes population_openkbp.json and mean_dose_openkbp.json (statistics over patients, nothing of a single one) and
validation.md: errors of the predicted mean doses on the validation patients, who took no part in the fit.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dosewright.core import PatientCase
from dosewright.io.openkbp import OpenKBPReader
from dosewright.io.prepared import PreparedReader
from dosewright.io.reader import AbstractReader
from dosewright.objectives.anatomy import dose_predictor, population
from dosewright.objectives.anatomy.dose_predictor import Approach, DosePredictor, OrganFit, fit_organ
from dosewright.objectives.anatomy.population import Population, VolumeNorm
from dosewright.objectives.anatomy.target_geometry import TargetGeometry

#: Organs that share one fit; others have one of their own.
PAIRS = (("Parotid_L", "Parotid_R"),)
SOURCE = "OpenKBP, {patients} training patients (Babier et al. 2021)"


@dataclass
class Table:
    """Volumes, approaches and clinical mean doses, organ by organ."""

    patients: int = 0
    volumes_cc: dict[str, list[float]] = field(default_factory=dict)
    approaches: dict[str, list[Approach]] = field(default_factory=dict)
    mean_gy: dict[str, list[float]] = field(default_factory=dict)

    def add(self, case: PatientCase) -> None:
        """Add a patient's organs: volumes of whole contours, doses of voxels in the body where dose is scored."""
        self.patients += 1
        geometry = TargetGeometry.of(case)
        for name in case.oars:
            mask = case.structures[name]
            self.volumes_cc.setdefault(name, []).append(float(mask.sum()) * case.grid.voxel_volume_cc)
            inside = mask & case.body & case.scored_mask
            if case.dose_gy is not None and inside.any():
                self.approaches.setdefault(name, []).append(geometry.approach(inside))
                self.mean_gy.setdefault(name, []).append(float(case.dose_gy[inside].mean()))


def main() -> None:
    """Make both files and the table of errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that holds provided-data/, or with --prepared train/")
    parser.add_argument("--prepared", action="store_true", help="root was filled by `dosewright prepare`")
    parser.add_argument("--out", type=Path, default=Path("outputs/anatomy"))
    parser.add_argument("--ship", action="store_true", help="replace the files that ship")
    given = parser.parse_args()
    train, validation = (table_of(given.root, split, given.prepared) for split in ("train", "validation"))
    source = SOURCE.format(patients=train.patients)
    norms = Population({name: VolumeNorm.of(cc) for name, cc in sorted(train.volumes_cc.items())}, source)
    predictor = DosePredictor(fits_of(train), source)
    for path in {given.out / population.SHIPPED.name, *([population.SHIPPED] if given.ship else [])}:
        norms.write(path)
    for path in {given.out / dose_predictor.SHIPPED.name, *([dose_predictor.SHIPPED] if given.ship else [])}:
        predictor.write(path)
    text = report(predictor, {"train": train, "validation": validation})
    (given.out / "validation.md").write_text(text)
    print(text)


def table_of(root: Path, split: str, prepared: bool) -> Table:
    """Return the table of one split."""
    reader: AbstractReader = PreparedReader(root, split) if prepared else OpenKBPReader(root, split)
    table = Table()
    for case_id in reader.case_ids:
        table.add(reader.read(case_id))
    return table


def fits_of(table: Table) -> dict[str, OrganFit]:
    """Return the fit of each organ; those of a pair are fitted together."""
    fits = {}
    groups = [*PAIRS, *((name,) for name in table.approaches if not any(name in pair for pair in PAIRS))]
    for group in groups:
        approaches = [one for name in group for one in table.approaches.get(name, [])]
        mean_gy = [dose for name in group for dose in table.mean_gy.get(name, [])]
        fits |= dict.fromkeys(group, fit_organ(approaches, mean_gy))
    return dict(sorted(fits.items()))


def report(predictor: DosePredictor, tables: Mapping[str, Table]) -> str:
    """Return the errors of predicted mean doses as a Markdown table, beside those of the training mean."""
    lines = [
        "| organ | split | plans | mean error, Gy | mean absolute error, Gy | RMS, Gy | of the training mean, RMS, Gy "
        "| R² | below unavoidable, % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, fit in predictor.fits.items():
        constant = float(np.mean(tables["train"].mean_gy[name]))
        for split, table in tables.items():
            lines.append(row(name, split, fit, table.approaches.get(name, []), table.mean_gy.get(name, []), constant))
    return "\n".join(lines) + "\n"


def row(
    name: str, split: str, fit: OrganFit, approaches: Sequence[Approach], mean_gy: Sequence[float], constant_gy: float
) -> str:
    """Return one line of the table."""
    clinical = np.array(mean_gy)
    error = np.array([fit.mean_gy(one) for one in approaches]) - clinical
    below = 100.0 * np.mean(clinical < [fit.unavoidable_gy(one) for one in approaches])
    rms, of_constant = np.sqrt(np.mean(error**2)), np.sqrt(np.mean((clinical - constant_gy) ** 2))
    r2 = 1.0 - np.sum(error**2) / np.sum((clinical - clinical.mean()) ** 2)
    return (
        f"| {name} | {split} | {len(error)} | {error.mean():+.2f} | {np.abs(error).mean():.2f} | {rms:.2f} | "
        f"{of_constant:.2f} | {r2:.2f} | {below:.0f} |"
    )


if __name__ == "__main__":
    main()
