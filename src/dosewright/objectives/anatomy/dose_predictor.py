"""The mean dose that an organ's place beside the targets leaves it: a sum over its distance-to-target histogram.

A voxel between the first and the last slice of the targets counts by its distance to the nearest target and by that to
the target of highest prescription; one above or below by how far beyond it lies. Each bin has a dose, as a share of the
highest prescription, found by least squares on clinical plans, not below 0 and not above 1.1. What comes out is what
planners reached at such a geometry. `unavoidable_gy` lies lower by what the best tenth of these plans did better.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.optimize import lsq_linear

from dosewright.core import InputError
from dosewright.core.files import atomic_write

SHIPPED = Path(__file__).with_name("mean_dose_openkbp.json")
EDGES_MM = (0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 30.0, 40.0)  # inner edges; a bin more than these
BEYOND_MM = (5.0, 10.0, 20.0)
LEAST_PLANS = 20
MOST_DOSE = 1.1  # of a bin; without it, bins that few patients fill take any value


@dataclass(frozen=True, eq=False)
class Approach:
    """How an organ lies to the targets, voxel by voxel.

    Args:
        any_mm: Signed distance to the nearest target.
        highest_mm: Signed distance to the target of highest prescription.
        beyond_mm: How far above or below all targets' slices; 0 between them.
        prescription_gy: The highest prescription.
    """

    any_mm: Float[np.ndarray, " n"]
    highest_mm: Float[np.ndarray, " n"]
    beyond_mm: Float[np.ndarray, " n"]
    prescription_gy: float

    @property
    def shares(self) -> Float[np.ndarray, " bins"]:
        """Share of the voxels in each bin; of those between the targets' slices once for each distance."""
        beside, count = self.beyond_mm == 0.0, max(self.any_mm.size, 1)
        parts = (
            _counts(self.any_mm[beside], EDGES_MM),
            _counts(self.highest_mm[beside], EDGES_MM),
            _counts(self.beyond_mm[~beside], BEYOND_MM),
        )
        return np.concatenate(parts) / count


@dataclass(frozen=True)
class OrganFit:
    """Doses of the bins for one organ or pair of organs.

    Args:
        doses: Of each bin, as share of the highest prescription.
        residual_sd_gy: Standard deviation of clinical mean dose less prediction over the plans of the fit.
        best_tenth_gy: 10th percentile of the same, negative.
        plans: How many doses it was fitted to.
    """

    doses: tuple[float, ...]
    residual_sd_gy: float
    best_tenth_gy: float
    plans: int

    def mean_gy(self, approach: Approach) -> float:
        """Return the expected mean dose in Gy."""
        return approach.prescription_gy * float(np.dot(self.doses, approach.shares))

    def unavoidable_gy(self, approach: Approach) -> float:
        """Return the mean dose in Gy that only a tenth of clinical plans fell below at such a geometry."""
        return max(self.mean_gy(approach) + self.best_tenth_gy, 0.0)


def fit_organ(approaches: Sequence[Approach], mean_gy: Sequence[float]) -> OrganFit:
    """Return the doses of the bins that explain clinical mean doses best.

    Args:
        approaches: One per organ and patient.
        mean_gy: The clinical mean dose of each.

    Raises:
        InputError: If there are fewer than 20, or not one dose for each.
    """
    if len(approaches) < LEAST_PLANS or len(approaches) != len(mean_gy):
        rule = f"must be at least {LEAST_PLANS}, one mean dose for each"
        raise InputError(rule, argument="approaches", value=(len(approaches), len(mean_gy)))
    matrix = np.stack([one.shares for one in approaches])
    scale = np.array([one.prescription_gy for one in approaches])
    doses = lsq_linear(matrix * scale[:, None], np.asarray(mean_gy, float), bounds=(0.0, MOST_DOSE)).x
    residual = np.asarray(mean_gy, float) - scale * (matrix @ doses)
    rounded = tuple(round(float(dose), 5) for dose in doses)
    best = min(float(np.percentile(residual, 10.0)), 0.0)
    return OrganFit(rounded, round(float(residual.std(ddof=1)), 4), round(best, 4), len(approaches))


@dataclass(frozen=True)
class DosePredictor:
    """Fits of several organs.

    Args:
        fits: Organ → its fit; organs of a pair may share one.
        source: Where it comes from.
    """

    fits: Mapping[str, OrganFit]
    source: str

    @classmethod
    def read(cls, path: str | Path | None = None) -> "DosePredictor":
        """Return the predictor of a JSON file; None means the one that ships.

        Raises:
            InputError: If the file is missing or not of this form.
        """
        path = SHIPPED if path is None else Path(path).expanduser()
        try:
            content = json.loads(path.read_text())
            fits = {name: OrganFit(**{**fit, "doses": tuple(fit["doses"])}) for name, fit in content["fits"].items()}
            bins = (content["edges_mm"], content["beyond_mm"]) == (list(EDGES_MM), list(BEYOND_MM))
            source = str(content["source"])
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", argument="predictor", path=path) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"must be a predictor in JSON ({error!r})", argument="predictor", path=path) from error
        wanted = 2 * (len(EDGES_MM) + 1) + len(BEYOND_MM) + 1
        if not bins or any(len(fit.doses) != wanted for fit in fits.values()):
            raise InputError(f"must have the {wanted} bins of this version", argument="predictor", path=path)
        return cls(fits, source)

    def write(self, path: str | Path) -> Path:
        """Write the predictor as JSON and return the file."""
        content = {
            "source": self.source,
            "edges_mm": EDGES_MM,
            "beyond_mm": BEYOND_MM,
            "fits": {name: asdict(fit) for name, fit in self.fits.items()},
        }
        return atomic_write(path, json.dumps(content, indent=1) + "\n")


def _counts(values_mm: Float[np.ndarray, " n"], edges_mm: Sequence[float]) -> Float[np.ndarray, " bins"]:
    return np.bincount(np.digitize(values_mm, edges_mm), minlength=len(edges_mm) + 1).astype(np.float64)
