"""A patient case: everything known of one patient, on one grid, valid once built."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from dosewright.core.errors import CaseError, GridMismatchError, InputError
from dosewright.core.grid import Grid
from dosewright.core.structures import EXTERNAL, Role, role_of
from dosewright.core.types import FloatVolume, Mask, Triple, Volume

HU_MIN, HU_MAX = -1024.0, 32767.0
DOSE_MAX_GY = 250.0  # total dose; more means wrong units (cGy)

Technique = Literal["IMRT", "VMAT", "proton"]

_CASE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")


@dataclass(frozen=True)
class Beam:
    """One treatment beam (IEC 61217 angles).

    Args:
        gantry_angle_deg: In [0, 360); 0 shines from anterior for a supine, head-first patient.
        couch_angle_deg: In [0, 360).
        modality: "photon" or "proton".

    Raises:
        CaseError: If an angle is not finite or outside [0, 360), or the modality is unknown.
    """

    gantry_angle_deg: float | int  # YAML and `range` give ints, which the checker under pytest does not take for floats
    couch_angle_deg: float | int = 0.0
    modality: Literal["photon", "proton"] = "photon"

    def __post_init__(self) -> None:
        for name in ("gantry_angle_deg", "couch_angle_deg"):
            value = float(getattr(self, name))
            if not (math.isfinite(value) and 0.0 <= value < 360.0):
                raise CaseError("must be in [0, 360)", argument=name, value=value)
            object.__setattr__(self, name, value)
        if self.modality not in ("photon", "proton"):
            raise CaseError('must be "photon" or "proton"', argument="modality", value=self.modality)


@dataclass(frozen=True, eq=False)
class PatientCase:
    """One patient on one LPS grid, arrays (z, y, x).

    Args:
        case_id: Identifier; ASCII letters, digits and `._+-`, the first one a letter, a digit or `_`, so that it is
            safe as a file name.
        grid: The grid all arrays live on.
        ct_hu: CT numbers in HU.
        body: Voxels of the patient.
        structures: TG-263 name → mask; targets and OARs, without `External` (that is `body`).
        prescription_gy: Target name → total prescribed dose in Gy; every key has a mask that meets the body or the
            dose mask.
        beams: Beams, possibly none.
        dose_gy: Total dose in Gy, or None.
        dose_mask: Voxels where dose is allowed and scored, some of them in the body; None means `body`.
        isocenter_xyz_mm: LPS mm, or None when not given (see `geometry.isocenter`).
        technique: "IMRT", "VMAT" or "proton"; the beams must fit.
        site: Anatomical site, free text ("HeadNeck", "Lung"…).
        fractions: Number of fractions.

    Raises:
        CaseError: If a value is out of its range, a target is empty or outside the patient, a name is illegal, or the
            beams do not fit the technique.
        GridMismatchError: If an array has another shape than the grid.
    """

    case_id: str
    grid: Grid
    ct_hu: Volume
    body: Mask
    structures: Mapping[str, Mask]
    prescription_gy: Mapping[str, float]
    beams: tuple[Beam, ...] = ()
    dose_gy: FloatVolume | None = None
    dose_mask: Mask | None = None
    isocenter_xyz_mm: Triple | None = None
    technique: Technique = "IMRT"
    site: str = "HeadNeck"
    fractions: int = 35

    def __post_init__(self) -> None:
        _check_id(self.case_id)
        self._freeze("ct_hu", np.number)
        self._freeze("body", np.bool_)
        self._freeze("dose_mask", np.bool_)
        self._freeze("dose_gy", np.floating)
        masks = {name: self._frozen_mask(name, mask) for name, mask in self.structures.items()}
        object.__setattr__(self, "structures", MappingProxyType(masks))
        object.__setattr__(
            self, "prescription_gy", MappingProxyType({k: float(v) for k, v in self.prescription_gy.items()})
        )
        object.__setattr__(self, "beams", tuple(self.beams))
        if self.isocenter_xyz_mm is not None:
            object.__setattr__(self, "isocenter_xyz_mm", tuple(float(v) for v in self.isocenter_xyz_mm))
        self._check_values()
        self._check_targets()

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets with a prescription, highest dose first."""
        return tuple(sorted(self.prescription_gy, key=lambda n: (-self.prescription_gy[n], n)))

    @property
    def oars(self) -> tuple[str, ...]:
        """Names of the organs at risk that are present."""
        return tuple(n for n in self.structures if role_of(n) is Role.OAR)

    @property
    def scored_mask(self) -> Mask:
        """Voxels where dose is allowed and scored."""
        return self.body if self.dose_mask is None else self.dose_mask

    def with_dose(self, dose_gy: FloatVolume | None) -> "PatientCase":
        """Return the same case with another dose (Gy)."""
        return replace(self, dose_gy=dose_gy)

    def __reduce__(self) -> tuple[object, ...]:
        # Read-only mappings cannot be pickled, and pickling arrays drops their read-only flag: build the case anew.
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return _rebuild, (
            values | {"structures": dict(self.structures), "prescription_gy": dict(self.prescription_gy)},
        )

    def _freeze(self, name: str, kind: type[Any]) -> None:
        array = getattr(self, name)
        if array is not None:
            object.__setattr__(self, name, self._read_only(name, array, kind))

    def _frozen_mask(self, name: str, mask: Mask) -> Mask:
        if _role(name, "structures") is Role.EXTERNAL:
            raise CaseError(f"must not hold {EXTERNAL}: pass it as `body`", argument="structures", value=name)
        frozen = self._read_only(name, mask, np.bool_)
        if not frozen.any():
            raise CaseError("must not be empty: leave the structure out instead", argument=name, value="0 voxels")
        return frozen

    def _read_only(self, name: str, array: np.ndarray, kind: type[Any]) -> np.ndarray:
        if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, kind):
            raise CaseError(
                f"must be a numpy array of {kind.__name__}",
                argument=name,
                value=getattr(array, "dtype", type(array).__name__),
            )
        if array.shape != self.grid.shape_zyx:
            raise GridMismatchError(
                f"must have the grid's shape {self.grid.shape_zyx}", argument=name, value=array.shape
            )
        view = array.view()
        view.flags.writeable = False
        return view

    def _check_values(self) -> None:
        _check_range("ct_hu", self.ct_hu, HU_MIN, HU_MAX, "HU")
        if self.dose_gy is not None:
            _check_range("dose_gy", self.dose_gy, 0.0, DOSE_MAX_GY, "Gy total")
        if not self.body.any():
            raise CaseError("must not be empty", argument="body", value="0 voxels")
        if self.dose_mask is not None and not self.dose_mask.any():
            raise CaseError("must not be empty", argument="dose_mask", value="0 voxels")
        if self.dose_mask is not None and not (self.dose_mask & self.body).any():
            raise CaseError("must overlap the body", argument="dose_mask", value="0 voxels in common")
        isocenter = self.isocenter_xyz_mm
        if isocenter is not None and not (len(isocenter) == 3 and np.isfinite(isocenter).all()):
            raise CaseError("must be three finite positions in mm", argument="isocenter_xyz_mm", value=isocenter)
        if not math.isfinite(self.fractions) or int(self.fractions) != self.fractions or self.fractions < 1:
            raise CaseError("must be a positive integer", argument="fractions", value=self.fractions)
        if self.technique not in ("IMRT", "VMAT", "proton"):
            raise CaseError('must be "IMRT", "VMAT" or "proton"', argument="technique", value=self.technique)
        modality = "proton" if self.technique == "proton" else "photon"
        if any(beam.modality != modality for beam in self.beams):
            raise CaseError(f"must all be {modality} beams for {self.technique}", argument="beams", value=self.beams)

    def _check_targets(self) -> None:
        if not self.prescription_gy:
            raise CaseError("must name at least one target", argument="prescription_gy", value={})
        for name, dose in self.prescription_gy.items():
            if _role(name, "prescription_gy") is not Role.TARGET:
                raise CaseError("must name targets only", argument="prescription_gy", value=name)
            if name not in self.structures:
                raise CaseError(
                    f"names {name}, which has no mask", argument="prescription_gy", value=tuple(self.structures)
                )
            if not (math.isfinite(dose) and 0.0 < dose <= DOSE_MAX_GY):
                raise CaseError(f"must be in (0, {DOSE_MAX_GY:g}] Gy", argument=f"prescription_gy[{name}]", value=dose)
            mask = self.structures[name]
            if not ((mask & self.body).any() or (mask & self.scored_mask).any()):
                raise CaseError("must overlap the body or the dose mask", argument=name, value="0 voxels in common")


def _rebuild(values: dict[str, Any]) -> PatientCase:
    return PatientCase(**values)


def _role(name: str, argument: str) -> Role:
    try:
        return role_of(name)
    except InputError as error:
        raise CaseError(f"has an illegal name: it {error.rule}", argument=argument, value=name) from error


def _check_id(case_id: str) -> None:
    if not _CASE_ID.match(case_id):
        rule = "must be ASCII letters, digits and ._+- only, and start with a letter, a digit or _"
        raise CaseError(rule, argument="case_id", value=case_id)


def _check_range(name: str, array: Volume, low: float, high: float, unit: str) -> None:
    least, most = float(array.min()), float(array.max())
    if not (math.isfinite(least) and math.isfinite(most)):
        raise CaseError(
            "must be finite", argument=name, value=f"{np.count_nonzero(~np.isfinite(array))} voxels NaN or infinite"
        )
    if least < low or most > high:
        raise CaseError(f"must be in [{low:g}, {high:g}] {unit}", argument=name, value=(least, most))
