"""Dose-volume indices written as text, the way planners do: "D95", "D0.1cc", "V20Gy", "V95%", "Dmean", "HI", "CI".

An output unit may follow in brackets (AAPM TG-263, section 7): "D95[%]" in percent of the prescription, "V20Gy[cc]".
"""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.dose.checks import check_positive
from dosewright.dose.conformity import homogeneity_of_voxels, paddick_ci, paddick_of_voxels
from dosewright.dose.dvh import sorted_dose_at_cc
from dosewright.dose.voxels import Dose, DoseMask, Scalar, Voxels, percent_at_or_above, percentile, sorted_voxels

ACCEPTED = "D95 or D95%, D0.1cc, V20Gy, V95% (of prescription), Dmean, Dmax, Dmin, HI, CI, with [Gy], [%] or [cc] after"


class IndexKind(StrEnum):
    """What an index measures."""

    DOSE_AT_PERCENT = "dose at percent volume"
    DOSE_AT_CC = "dose at absolute volume"
    VOLUME_AT_GY = "volume at absolute dose"
    VOLUME_AT_PERCENT = "volume at percent of prescription"
    MEAN = "mean dose"
    MAX = "maximum dose"
    MIN = "minimum dose"
    HOMOGENEITY = "homogeneity index"
    CONFORMITY = "conformity index"


_PLAIN = {
    "dmean": IndexKind.MEAN,
    "mean": IndexKind.MEAN,
    "dmax": IndexKind.MAX,
    "max": IndexKind.MAX,
    "dmin": IndexKind.MIN,
    "min": IndexKind.MIN,
    "hi": IndexKind.HOMOGENEITY,
    "ci": IndexKind.CONFORMITY,
}
_NUMBERED = {
    ("d", ""): IndexKind.DOSE_AT_PERCENT,
    ("d", "%"): IndexKind.DOSE_AT_PERCENT,
    ("d", "cc"): IndexKind.DOSE_AT_CC,
    ("v", "gy"): IndexKind.VOLUME_AT_GY,
    ("v", "%"): IndexKind.VOLUME_AT_PERCENT,
}
_TEXT = {
    IndexKind.DOSE_AT_PERCENT: "D{}",
    IndexKind.DOSE_AT_CC: "D{}cc",
    IndexKind.VOLUME_AT_GY: "V{}Gy",
    IndexKind.VOLUME_AT_PERCENT: "V{}%",
    IndexKind.MEAN: "Dmean",
    IndexKind.MAX: "Dmax",
    IndexKind.MIN: "Dmin",
    IndexKind.HOMOGENEITY: "HI",
    IndexKind.CONFORMITY: "CI",
}
_VOLUMES = (IndexKind.VOLUME_AT_GY, IndexKind.VOLUME_AT_PERCENT)
_RATIOS = (IndexKind.HOMOGENEITY, IndexKind.CONFORMITY)
_PATTERN = re.compile(r"([dv])(\d+(?:\.\d*)?|\.\d+)(gy|cc|%|)|d?(?:mean|max|min)|hi|ci", re.IGNORECASE)
_BRACKETS = re.compile(r"(.*?)\s*\[(gy|%|cc)\]", re.IGNORECASE)


@dataclass(frozen=True)
class DoseIndex:
    """One dose-volume index; `DoseIndex.parse` makes it from text and `str` gives the text back.

    Args:
        kind: What is measured.
        value: The volume (% or cc) or dose (Gy or % of prescription) in the name; None for the others.
        unit: Unit of the result: "Gy", "%" or "cc"; "" for HI and CI. Empty picks the usual one.

    Raises:
        InputError: If the value or the unit does not fit the kind.

    >>> str(DoseIndex.parse("D95%")), DoseIndex.parse("V20Gy").unit, str(DoseIndex.parse("v20gy[cc]"))
    ('D95', '%', 'V20Gy[cc]')
    """

    kind: IndexKind
    value: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        _check_value(self.kind, self.value)
        units = _units(self.kind)
        if self.unit and self.unit not in units:
            raise InputError(f"must be one of {units} for {self.kind}", argument="unit", value=self.unit)
        object.__setattr__(self, "unit", self.unit or units[0])

    @classmethod
    def parse(cls, text: str) -> "DoseIndex":
        """Return the index that a text names; case and outer blanks do not matter.

        Raises:
            InputError: If the text names none; the message lists what is accepted.
        """
        stripped, unit = text.strip(), ""
        if bracketed := _BRACKETS.fullmatch(stripped):
            stripped, unit = bracketed[1], {"gy": "Gy", "%": "%", "cc": "cc"}[bracketed[2].lower()]
        match = _PATTERN.fullmatch(stripped)
        if match is None:
            raise InputError(f"must be a dose-volume index ({ACCEPTED})", argument="index", value=text)
        if match[1] is None:
            return cls(_PLAIN[stripped.lower()], unit=unit)
        kind = _NUMBERED.get((match[1].lower(), match[3].lower()))
        if kind is None:
            raise InputError(f"must be a dose-volume index ({ACCEPTED})", argument="index", value=text)
        return cls(kind, float(match[2]), unit)

    def __str__(self) -> str:
        number = "" if self.value is None else np.format_float_positional(self.value, trim="-")
        text = _TEXT[self.kind].format(number)
        return text if self.unit == _units(self.kind)[0] else f"{text}[{self.unit}]"

    @property
    def needs_prescription(self) -> bool:
        """Whether `evaluate` needs a prescription."""
        relative = self.unit == "%" and self.kind not in _VOLUMES
        return relative or self.kind in (IndexKind.VOLUME_AT_PERCENT, IndexKind.CONFORMITY)

    def evaluate(
        self,
        dose_gy: Dose,
        mask: DoseMask,
        voxel_volume_cc: float,
        prescription_gy: float | None = None,
        body: DoseMask | None = None,
    ) -> Scalar:
        """Return the index of one structure, in `unit`; volumes and CI carry no gradient, the rest do.

        Args:
            dose_gy: Dose in Gy.
            mask: Voxels of the structure.
            voxel_volume_cc: Volume of one voxel in cm³.
            prescription_gy: Of the structure; needed by "V95%", "D95[%]" and "CI".
            body: Where CI counts the prescription isodose; None means every voxel.

        Raises:
            InputError: If the structure is empty, or the prescription is needed and missing.
            GridMismatchError: If shapes differ.
        """
        if self.kind is IndexKind.CONFORMITY:
            return paddick_ci(dose_gy, mask, self._prescription(prescription_gy), body)
        return self.of_voxels(sorted_voxels(dose_gy, mask), voxel_volume_cc, prescription_gy)

    def of_voxels(
        self,
        ascending_gy: Voxels,
        voxel_volume_cc: float,
        prescription_gy: float | None = None,
        region_gy: Float[Tensor, " m"] | None = None,
    ) -> Scalar:
        """Return the index from a structure's sorted voxels in Gy, so that several indices share one sort.

        Args:
            ascending_gy: The structure's voxels, sorted.
            voxel_volume_cc: Volume of one voxel in cm³.
            prescription_gy: As in `evaluate`.
            region_gy: Voxels of body and structure together, in any order, those below the prescription optional;
                needed by "CI" only.

        Raises:
            InputError: If the prescription or the region is needed and missing.
        """
        if self.kind is IndexKind.CONFORMITY:
            if region_gy is None:
                raise InputError("must be given for CI", argument="region_gy", value=None)
            return paddick_of_voxels(ascending_gy, region_gy, self._prescription(prescription_gy))
        if self.kind is IndexKind.HOMOGENEITY:
            return homogeneity_of_voxels(ascending_gy)
        if self.kind in _VOLUMES:
            return self._volume(ascending_gy, voxel_volume_cc, prescription_gy)
        dose = self._dose(ascending_gy, voxel_volume_cc)
        return dose if self.unit == "Gy" else 100.0 * dose / self._prescription(prescription_gy)

    def _dose(self, ascending_gy: Voxels, voxel_volume_cc: float) -> Scalar:
        if self.kind is IndexKind.MEAN:
            return ascending_gy.mean()
        if self.kind is IndexKind.MAX:
            return ascending_gy[-1]
        if self.kind is IndexKind.MIN:
            return ascending_gy[0]
        if self.kind is IndexKind.DOSE_AT_CC:
            return sorted_dose_at_cc(ascending_gy, self._number, voxel_volume_cc)
        return percentile(ascending_gy, 100.0 - self._number)

    def _volume(self, ascending_gy: Voxels, voxel_volume_cc: float, prescription_gy: float | None) -> Scalar:
        threshold_gy = self._number
        if self.kind is IndexKind.VOLUME_AT_PERCENT:
            threshold_gy = threshold_gy * self._prescription(prescription_gy) / 100.0
        percent = percent_at_or_above(ascending_gy, ascending_gy.new_tensor(threshold_gy))
        if self.unit == "%":
            return percent
        check_positive("voxel_volume_cc", voxel_volume_cc)
        return percent * (ascending_gy.numel() * voxel_volume_cc / 100.0)

    @property
    def _number(self) -> float:
        return 0.0 if self.value is None else self.value

    def _prescription(self, prescription_gy: float | None) -> float:
        if prescription_gy is None:
            raise InputError(f"must be given for {self}", argument="prescription_gy", value=None)
        check_positive("prescription_gy", prescription_gy)
        return prescription_gy


def _units(kind: IndexKind) -> tuple[str, ...]:
    """Units an index may come in, the usual one first."""
    if kind in _RATIOS:
        return ("",)
    return ("%", "cc") if kind in _VOLUMES else ("Gy", "%")


def _check_value(kind: IndexKind, value: float | None) -> None:
    numbered = "{}" in _TEXT[kind]
    if not numbered:
        if value is not None:
            raise InputError(f"must be None for {kind}", argument="value", value=value)
        return
    if value is None or not (math.isfinite(value) and value >= 0):
        raise InputError(f"must be a finite number, zero or more, for {kind}", argument="value", value=value)
    if kind is IndexKind.DOSE_AT_PERCENT and value > 100:
        raise InputError("must be a volume of at most 100 %", argument="value", value=value)
    if kind is IndexKind.DOSE_AT_CC and value == 0:
        raise InputError("must be a positive volume in cc", argument="value", value=value)
