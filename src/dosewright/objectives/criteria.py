"""Clinical criteria of a dose, as data: an index of a structure and the limit it must keep.

`HEAD_NECK` are the criteria that OpenKBP-Opt counts (arXiv:2202.08303): maxima of brainstem,
cord and mandible, means of parotids, larynx and oesophagus, coverage of the targets. They tell plans apart and do not
replace a clinic's own.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dosewright.core import InputError, PatientCase, role_of
from dosewright.core.types import FloatVolume
from dosewright.dose.case_dose import CaseDose
from dosewright.dose.indices import DoseIndex, IndexKind

TARGETS = "targets"  # stands for every target with a prescription
_SIGNS = {"at most": "≤", "at least": "≥"}


@dataclass(frozen=True)
class Criterion:
    """What an index of a structure must be.

    Args:
        structure: TG-263 name, or "targets" for each target with a prescription.
        index: As planners write it ("D0.1cc", "Dmean", "D99[%]"), with the limit's unit; not "CI".
        sense: "at most" or "at least".
        limit: In the index's unit, positive.

    Raises:
        InputError: If the name or the index cannot be read, or the limit or the sense is not allowed.

    >>> Criterion("Parotid_L", "Dmean", "at most", 26.0).describe()
    'Parotid_L Dmean ≤ 26 Gy'
    """

    structure: str
    index: str
    sense: str
    limit: float | int

    def __post_init__(self) -> None:
        role_of(self.structure)
        if self.parsed.kind is IndexKind.CONFORMITY:
            raise InputError("must be an index of one structure's voxels", argument="index", value=self.index)
        if self.sense not in _SIGNS:
            raise InputError('must be "at most" or "at least"', argument="sense", value=self.sense)
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise InputError("must be positive and finite", argument="limit", value=self.limit)

    @property
    def parsed(self) -> DoseIndex:
        """The index."""
        return DoseIndex.parse(self.index)

    def describe(self) -> str:
        """Return the criterion as planners write it."""
        name = self.index.partition("[")[0]
        return f"{self.structure} {name} {_SIGNS[self.sense]} {self.limit:g} {self.parsed.unit}".rstrip()

    def allows(self, value: float) -> bool:
        """Whether a value of the index keeps the limit."""
        return value <= self.limit if self.sense == "at most" else value >= self.limit

    def met(self, case: PatientCase, dose_gy: FloatVolume | None = None) -> bool | None:
        """Whether a dose meets the criterion; None where the case lacks the structure.

        "targets" is met when each target meets it.

        Args:
            case: The case.
            dose_gy: Total dose in Gy on the case's grid; None means the case's own.

        Raises:
            InputError: If there is no dose or it is not finite, or a structure without prescription is asked for a
                share of it.
            GridMismatchError: If the dose has another shape than the grid.
        """
        results = [result.met for result in evaluate_criteria(case, dose_gy, (self,))]
        return None if None in results else all(results)


@dataclass(frozen=True)
class CriterionResult:
    """How a dose does at a criterion.

    Args:
        criterion: For the structure it was evaluated on.
        value: Of the index; None where the case lacks the structure.
    """

    criterion: Criterion
    value: float | None

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None where the case lacks the structure."""
        return None if self.value is None else self.criterion.allows(self.value)


HEAD_NECK = (
    Criterion("Brainstem", "D0.1cc", "at most", 50.0),
    Criterion("SpinalCord", "D0.1cc", "at most", 45.0),
    Criterion("Bone_Mandible", "D0.1cc", "at most", 73.5),
    Criterion("Parotid_L", "Dmean", "at most", 26.0),
    Criterion("Parotid_R", "Dmean", "at most", 26.0),
    Criterion("Esophagus", "Dmean", "at most", 45.0),
    Criterion("Larynx", "Dmean", "at most", 45.0),
    Criterion(TARGETS, "D99[%]", "at least", 95.0),
)


def evaluate_criteria(
    case: PatientCase | CaseDose, dose_gy: FloatVolume | None = None, criteria: Sequence[Criterion] = HEAD_NECK
) -> list[CriterionResult]:
    """Return how a dose does at each criterion, one result for each structure it is about.

    Whole structures count, also where they lie outside the body.

    Args:
        case: The case, or a `CaseDose` whose sorted voxels are then reused.
        dose_gy: Total dose in Gy on the case's grid; None means the case's own.
        criteria: What to evaluate.

    Raises:
        InputError: If there is no dose or it is not finite, or a structure without prescription is asked for a share of
            it.
        GridMismatchError: If the dose has another shape than the grid.
    """
    doses = CaseDose.of(case, dose_gy) if isinstance(case, PatientCase) else case
    return [result for criterion in criteria for result in _results(doses, criterion)]


def _results(doses: CaseDose, criterion: Criterion) -> Iterator[CriterionResult]:
    case = doses.case
    for name in case.targets if criterion.structure == TARGETS else (criterion.structure,):
        named = Criterion(name, criterion.index, criterion.sense, criterion.limit)
        if name not in doses.ascending_gy:
            yield CriterionResult(named, None)
            continue
        voxel_cc, prescription = case.grid.voxel_volume_cc, case.prescription_gy.get(name)
        value = named.parsed.of_voxels(doses.ascending_gy[name], voxel_cc, prescription)
        yield CriterionResult(named, value.item())
