"""The anatomy of one organ in numbers: what rules ask about.

Overlap, distances and gaps are of the organ's voxels in the body, the volume is of its whole contour. Gaps and
distances are those of `geometry.distance`, between voxel centres.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dosewright.core import PatientCase
from dosewright.core.structures import mirrored
from dosewright.core.types import Mask
from dosewright.objectives.anatomy.directional_gap import directional_gaps_mm
from dosewright.objectives.anatomy.dose_predictor import DosePredictor
from dosewright.objectives.anatomy.history import PatientHistory
from dosewright.objectives.anatomy.laterality import Laterality, TargetSide, laterality_of, name_fits, target_side
from dosewright.objectives.anatomy.population import Population
from dosewright.objectives.anatomy.target_distance import TargetDistance
from dosewright.objectives.anatomy.target_geometry import TargetGeometry

MeasureValue = float | str | bool | None
DTH_EDGES_MM = (0.0, 5.0, 10.0, 20.0, 30.0, 50.0)

#: Measure → unit; those that rules may ask about, besides `goal_gy` and `baseline_gy` in amounts.
NUMBERS: Mapping[str, str] = {
    "volume_cc": "cc",
    "volume_z": "SD",
    "overlap_cc": "cc",
    "overlap_percent": "%",
    "gap_mm": "mm",
    "mean_distance_mm": "mm",
    **{f"gap_{name}_mm": "mm" for name in ("left", "right", "posterior", "anterior", "superior", "inferior")},
    "expected_mean_gy": "Gy",
    "unavoidable_mean_gy": "Gy",
    "prior_mean_gy": "Gy",
    "prior_max_gy": "Gy",
}
FACTS = ("laterality", "name_fits_position", "partner_present", "post_operative", "re_irradiation", "unusual_function")


@dataclass(frozen=True, eq=False)
class OrganMeasures:
    """Measures of one organ.

    Args:
        organ: TG-263 name.
        values: Each of `NUMBERS` and `FACTS`; None for what cannot be said.
        distance: Distances of its voxels to the targets.
    """

    organ: str
    values: Mapping[str, MeasureValue]
    distance: TargetDistance

    def number(self, name: str) -> float | None:
        """Return a number; None for what cannot be said."""
        value = self.values[name]
        return None if value is None or isinstance(value, str) else float(value)

    def to_plain(self, edges_mm: Sequence[float] = DTH_EDGES_MM) -> dict[str, object]:
        """Return the measures as plain data, with both histograms at some distances."""
        histogram = self.distance.histogram_percent(edges_mm).round(2).tolist()
        overlap = {f"{at:g}": round(self.distance.overlap_volume_percent(at), 2) for at in edges_mm}
        numbers = {name: round(v, 3) if isinstance(v, float) else v for name, v in self.values.items()}
        return {
            "organ": self.organ,
            **numbers,
            "distance_to_target_histogram": {"edges_mm": list(edges_mm), "percent": histogram},
            "overlap_volume_histogram_percent": overlap,
        }


class Measurer:
    """Measures organs of one case.

    Args:
        case: The case.
        population: Norms of volumes.
        predictor: Of mean doses.
        history: What the CT does not show.
        side_percent: Share of the highest target on one side that names the side.
    """

    def __init__(
        self,
        case: PatientCase,
        population: Population,
        predictor: DosePredictor,
        history: PatientHistory,
        side_percent: float,
    ) -> None:
        self.case, self.population, self.predictor, self.history = case, population, predictor, history
        self.geometry = TargetGeometry.of(case)
        self.side: TargetSide = target_side(case, side_percent)

    def measure(self, organ: str) -> OrganMeasures | None:
        """Return an organ's measures; None where the case lacks it or the body has no voxel of it."""
        whole = self.case.structures.get(organ)
        inside = None if whole is None else whole & self.case.body
        if whole is None or inside is None or not inside.any():
            return None
        distance = self.geometry.distance(inside)
        values = self._sizes(organ, whole, inside) | self._places(inside, distance) | self._doses(organ, inside)
        return OrganMeasures(organ, values | self._facts(organ, whole), distance)

    def _sizes(self, organ: str, whole: Mask, inside: Mask) -> dict[str, MeasureValue]:
        voxel_cc = self.case.grid.voxel_volume_cc
        volume_cc, shared = float(whole.sum()) * voxel_cc, int(np.count_nonzero(inside & self.geometry.targets))
        return {
            "volume_cc": volume_cc,
            "volume_z": self.population.z_score(organ, volume_cc),
            "overlap_cc": shared * voxel_cc,
            "overlap_percent": 100.0 * shared / int(np.count_nonzero(inside)),
        }

    def _places(self, inside: Mask, distance: TargetDistance) -> dict[str, MeasureValue]:
        box = self.geometry.box
        gaps = directional_gaps_mm(inside[box], self.geometry.targets[box], self.case.grid.spacing_zyx_mm)
        found: dict[str, MeasureValue] = {"gap_mm": distance.gap_mm, "mean_distance_mm": distance.mean_mm}
        return found | {f"gap_{direction}_mm": gap for direction, gap in gaps.items()}

    def _doses(self, organ: str, inside: Mask) -> dict[str, MeasureValue]:
        fit, prior = self.predictor.fits.get(organ), self.history.prior_dose_gy
        approach = None if fit is None else self.geometry.approach(inside)
        return {
            "expected_mean_gy": None if fit is None or approach is None else fit.mean_gy(approach),
            "unavoidable_mean_gy": None if fit is None or approach is None else fit.unavoidable_gy(approach),
            "prior_mean_gy": None if prior is None else float(prior[inside].mean()),
            "prior_max_gy": None if prior is None else float(prior[inside].max()),
        }

    def _facts(self, organ: str, whole: Mask) -> dict[str, MeasureValue]:
        partner, laterality = mirrored(organ), laterality_of(organ, whole, self.case, self.side)
        paired = laterality is not Laterality.UNPAIRED
        return {
            "laterality": laterality.value,
            "name_fits_position": name_fits(organ, whole, self.case, self.side) if paired else None,
            "partner_present": partner in self.case.structures if paired else None,
            "post_operative": self.history.is_post_operative(organ),
            "re_irradiation": self.history.prior_dose_gy is not None,
            "unusual_function": self.history.has_unusual_function(organ),
        }
