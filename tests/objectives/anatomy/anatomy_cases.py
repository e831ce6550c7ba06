"""Cases and settings for the tests of anatomy-aware objectives."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dosewright.core import Grid, PatientCase
from dosewright.jobs.cli import conf_dir
from dosewright.objectives.anatomy.engine import OrganDecision
from dosewright.objectives.anatomy.measures import FACTS, NUMBERS, MeasureValue, OrganMeasures
from dosewright.objectives.anatomy.outcome import OrganGoal
from dosewright.objectives.anatomy.settings import AnatomySettings
from dosewright.objectives.anatomy.target_distance import TargetDistance

SHAPE = (10, 24, 40)
SPACING_XYZ_MM = (2.0, 3.0, 4.0)
PLAIN: Mapping[str, MeasureValue] = {
    **dict.fromkeys(NUMBERS, None),
    **dict.fromkeys(FACTS, False),
    "laterality": "unpaired",
    "name_fits_position": True,
    "partner_present": True,
}


def block(z: tuple[int, int], y: tuple[int, int], x: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*z), slice(*y), slice(*x)] = True
    return mask


def sided_case(
    target_x: tuple[int, int] = (24, 30), absent: tuple[str, ...] = (), **structures: np.ndarray
) -> PatientCase:
    """A box with a target, two parotids beside the midline at x index 19.5, a cord behind and a larynx in front."""
    given = {
        "PTV_High": block((3, 7), (8, 14), target_x),
        "Parotid_L": block((4, 7), (8, 12), (29, 34)),  # one column of five in a target that ends at 30
        "Parotid_R": block((4, 7), (8, 12), (6, 11)),
        "SpinalCord": block((1, 9), (19, 21), (19, 21)),
        "Larynx": block((1, 3), (5, 8), (18, 22)),
    } | structures
    body = block((0, 10), (1, 23), (1, 39))
    return PatientCase(
        case_id="sided",
        grid=Grid(SHAPE, SPACING_XYZ_MM),
        ct_hu=np.where(body, 0, -1000).astype(np.int16),
        body=body,
        structures={name: mask for name, mask in given.items() if name not in absent},
        prescription_gy={"PTV_High": 70.0},
        dose_gy=np.where(body, 20.0, 0.0).astype(np.float32),
    )


def shipped(site: str = "head_neck", **changes: Any) -> AnatomySettings:
    """The settings of conf/anatomy."""
    chosen = ["objectives=anatomy_aware", f"anatomy@objectives.anatomy={site}"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        node = compose("objectives", overrides=chosen).objectives.anatomy
    settings = instantiate(node, _convert_="all", **changes)
    assert isinstance(settings, AnatomySettings)
    return settings


def organ_measures(organ: str, **values: MeasureValue) -> OrganMeasures:
    """Measures of an organ with nothing to say but these."""
    unknown = set(values) - set(PLAIN)
    assert not unknown
    return OrganMeasures(organ, {**PLAIN, **values}, TargetDistance.of(np.array([1.0])))


def decide(settings: AnatomySettings, organ: str, **values: MeasureValue) -> OrganDecision:
    """What the rules decide for an organ with these measures, its planning risk volume being there."""
    return OrganDecision(settings, organ, organ_measures(organ, **values), (organ, "SpinalCord_PRV05"))


def goal_of(decision: OrganDecision) -> OrganGoal:
    """The first goal of a decision."""
    return decision.step.goals[0]
