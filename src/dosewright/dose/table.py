"""All indices and all DVHs of a case, as plain rows and curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dosewright.core import InputError, PatientCase, Role, role_of
from dosewright.dose.case_dose import AnyDose, CaseDose
from dosewright.dose.indices import DoseIndex, IndexKind

TARGET_INDICES = ("D99", "D98", "D95", "D50", "D2", "D1", "HI", "V95%", "CI")
OAR_INDICES = ("Dmean", "D0.1cc", "Dmax")
BIN_GY = 0.1

Indices = Mapping[str, Sequence[str | DoseIndex]]


class IndexRow(NamedTuple):
    """One line of an index table: structure, index ("D95"), value, and unit ("Gy", "%", "cc"; "" for HI and CI)."""

    structure: str
    name: str
    value: float
    unit: str


@dataclass(frozen=True, eq=False)
class DvhCurves:
    """Cumulative DVHs of a case.

    Args:
        bins_gy: Doses in Gy.
        volume_percent: Structure → percent of its volume at or above each dose.
    """

    bins_gy: Float[np.ndarray, " b"]
    volume_percent: Mapping[str, Float[np.ndarray, " b"]]


def default_indices(case: PatientCase) -> dict[str, tuple[str, ...]]:
    """Return the indices `index_table` gives by default for each structure of a case.

    Prescribed targets get all of `TARGET_INDICES`, though CI only at the highest prescription, as the isodose of a
    lower one encloses the higher targets too; targets without prescription lose what needs one; OARs get
    `OAR_INDICES`; helper structures get none and are left out.
    """
    highest = max(case.prescription_gy.values())
    chosen: dict[str, tuple[str, ...]] = {}
    for name in case.structures:
        role, prescription = role_of(name), case.prescription_gy.get(name)
        if role is Role.OAR:
            chosen[name] = OAR_INDICES
        elif role is Role.TARGET:
            chosen[name] = tuple(
                text
                for text in TARGET_INDICES
                if (prescription is not None or not DoseIndex.parse(text).needs_prescription)
                and (prescription == highest or text != "CI")
            )
    return chosen


def index_table(
    case: PatientCase | CaseDose, dose_gy: AnyDose | None = None, indices_for: Indices | None = None
) -> list[IndexRow]:
    """Return the dose-volume indices of a case, one row each.

    Args:
        case: The case, or a `CaseDose` whose sorted voxels are then reused.
        dose_gy: Total dose in Gy on the case's grid; None means the case's own dose.
        indices_for: Structure → indices ("D95", "V20Gy", `DoseIndex`…); None means `default_indices`.

    Raises:
        InputError: If a structure is absent, an index unreadable, a needed prescription missing, or the dose absent or
            not finite.
        GridMismatchError: If the dose has another shape than the grid.
    """
    doses = _case_dose(case, dose_gy)
    wanted: Indices = default_indices(doses.case) if indices_for is None else indices_for
    return [row for name, indices in wanted.items() for row in _rows(doses, name, indices)]


def dvh_curves(
    case: PatientCase | CaseDose, dose_gy: AnyDose | None = None, bins_gy: Float[np.ndarray, " b"] | None = None
) -> DvhCurves:
    """Return the cumulative DVH of every structure of a case.

    Args:
        case: The case, or a `CaseDose` whose sorted voxels are then reused.
        dose_gy: Total dose in Gy on the case's grid; None means the case's own dose.
        bins_gy: Doses in Gy; None means every 0.1 Gy from 0 to just above the greatest structure dose.

    Raises:
        InputError: If the dose is absent or not finite.
        GridMismatchError: If the dose has another shape than the grid.
    """
    doses = _case_dose(case, dose_gy)
    bins = _default_bins(doses) if bins_gy is None else np.asarray(bins_gy, np.float64)
    return DvhCurves(bins, {name: _curve(voxels.numpy(), bins) for name, voxels in doses.ascending_gy.items()})


def _case_dose(case: PatientCase | CaseDose, dose_gy: AnyDose | None) -> CaseDose:
    if isinstance(case, PatientCase):
        return CaseDose.of(case, dose_gy)
    if dose_gy is not None:
        raise InputError("must be None with a CaseDose, which has its own", argument="dose_gy", value=dose_gy.shape)
    return case


def _rows(doses: CaseDose, name: str, indices: Sequence[str | DoseIndex]) -> Iterator[IndexRow]:
    case = doses.case
    if name not in doses.ascending_gy:
        raise InputError(
            f"names {name}, which case {case.case_id} lacks", argument="indices_for", value=(*case.structures,)
        )
    prescription, voxel_volume_cc = case.prescription_gy.get(name), case.grid.voxel_volume_cc
    for item in indices:
        index = DoseIndex.parse(item) if isinstance(item, str) else item
        # CI counts what the prescription encloses: colder voxels need not be gathered.
        region = doses.region_gy(name, prescription or 0.0) if index.kind is IndexKind.CONFORMITY else None
        value = index.of_voxels(doses.ascending_gy[name], voxel_volume_cc, prescription, region)
        yield IndexRow(name, str(index), value.item(), index.unit)


def _curve(ascending_gy: Float[np.ndarray, " n"], bins_gy: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    # In numpy, as torch would spread these small searches over threads that wait for each other on a busy machine.
    return (ascending_gy.size - np.searchsorted(ascending_gy, bins_gy)) * (100.0 / ascending_gy.size)


def _default_bins(doses: CaseDose) -> Float[np.ndarray, " b"]:
    greatest = max((voxels[-1].item() for voxels in doses.ascending_gy.values()), default=0.0)
    return np.arange(int(np.floor(max(greatest, 0.0) / BIN_GY)) + 2) * BIN_GY
