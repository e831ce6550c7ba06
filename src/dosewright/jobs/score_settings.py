"""How `dosewright score` measures: the names of structures, and the scale of doses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.jobs.score_record import CaseScore, case_score
from dosewright.scorecards.absent import reduced_structures
from dosewright.scorecards.scaling import scale_to_card, scale_to_coverage
from dosewright.scorecards.score_card import ScoreCard
from dosewright.scorecards.scorer import Scorer

ABSENT = ("leave_out", "refuse")
TO_CARD = "prescription"
_ABOVE_ROUNDING = 1.0 + 1e-6  # many voxels can have the very dose that is to become the prescription: none falls below
_COVERAGE = re.compile(r"D(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True)
class ScoreSettings:
    """How doses are scored on a card.

    Args:
        card: The card.
        names: Card's structure → the case's, or a structure expression of such.
        absent: "leave_out" measures built structures without the parts that a case does not have, "refuse" does not
            score them.
        dose_scale: A factor on all doses; "D97" (or another volume in %) for the one that gives so much of the target
            with the highest prescription this prescription; "prescription" for the card's prescription over the case's.

    Raises:
        InputError: If a value is none of these.
    """

    card: ScoreCard
    names: Mapping[str, str]
    absent: str = "leave_out"
    dose_scale: float | int | str = 1.0

    def __post_init__(self) -> None:
        if self.absent not in ABSENT:
            raise InputError(f"must be one of {ABSENT}", argument="absent", value=self.absent)
        known = self.dose_scale == TO_CARD or _COVERAGE.fullmatch(str(self.dose_scale)) is not None
        number = isinstance(self.dose_scale, int | float) and not isinstance(self.dose_scale, bool)
        if not (number or known):
            rule = f'must be a number, a coverage as D97, or "{TO_CARD}"'
            raise InputError(rule, argument="dose_scale", value=self.dose_scale)

    @classmethod
    def of(cls, card: ScoreCard, cfg: DictConfig) -> "ScoreSettings":
        """Return the settings of a configuration.

        Raises:
            InputError: If a value is not what it must be.
        """
        return cls(card, _names(cfg.names), str(cfg.absent), cfg.dose_scale)

    def factor(self, case: PatientCase, dose_gy: FloatVolume) -> float:
        """Return what a case's dose is multiplied by.

        Raises:
            InputError: If the card has no prescription, or the target no dose.
        """
        target = case.targets[0]
        if self.dose_scale == TO_CARD:
            return scale_to_card(self.card, case.prescription_gy[target])
        match = _COVERAGE.fullmatch(str(self.dose_scale))
        if match is None:
            return float(self.dose_scale)
        factor = scale_to_coverage(dose_gy, case.structures[target], case.prescription_gy[target], float(match[1]))
        return factor * _ABOVE_ROUNDING

    def score(self, case: PatientCase, dose_gy: FloatVolume) -> CaseScore:
        """Return the scores of a dose in Gy on the case's grid.

        Raises:
            InputError: If the dose cannot be scaled or has NaN, or `names` contradicts itself.
            GridMismatchError: If the dose has another shape than the case.
        """
        reduced = reduced_structures(self.card, case, self.names) if self.absent == "leave_out" else {}
        names = {**self.names, **{name: left.expression for name, left in reduced.items()}}
        factor = self.factor(case, dose_gy)
        return case_score(case.case_id, Scorer(self.card, case, names, factor)(dose_gy), reduced, factor)

    def to_plain(self) -> dict[str, Any]:
        """Return the settings as plain data, without the card."""
        return {"names": dict(self.names), "absent": self.absent, "dose_scale": self.dose_scale}


def _names(node: object) -> dict[str, str]:
    """Return the names a configuration gives.

    Raises:
        InputError: If it is no mapping of texts.
    """
    given = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given.values()):
        rule = "must map structures of the card to structures of the case, as {CTV_High: PTV_High}"
        raise InputError(rule, argument="names", value=given)
    return {str(name): str(meant) for name, meant in given.items()}
