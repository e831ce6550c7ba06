"""OpenKBP patients as published: sparse CSV in `provided-data/{train,validation,test}-pats/pt_N/`.

Facts (Babier et al. 2021 and measured on the data): dose is total Gy in 35 fractions of nine coplanar 6 MV beams at
0, 40, …, 320°; prescriptions are 70/63/56 Gy to PTV70/63/56, which do not overlap; CT is stored as HU + 1000, zero
outside the patient; the possible dose mask is about one voxel tighter than the skin.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from scipy import ndimage

from dosewright.core import Beam, CaseError, Grid, InputError, PatientCase
from dosewright.core.types import FloatVolume, Mask
from dosewright.io import openkbp_csv
from dosewright.io.reader import AbstractReader

READER_VERSION = 1  # raise when the same files give another case; caches are keyed by it
TARGETS: Mapping[str, tuple[str, float]] = {
    "PTV70": ("PTV_High", 70.0),
    "PTV63": ("PTV_Mid", 63.0),
    "PTV56": ("PTV_Low", 56.0),
}
OARS: Mapping[str, str] = {
    "Brainstem": "Brainstem",
    "SpinalCord": "SpinalCord",
    "RightParotid": "Parotid_R",
    "LeftParotid": "Parotid_L",
    "Esophagus": "Esophagus",
    "Larynx": "Larynx",
    "Mandible": "Bone_Mandible",
}
BEAMS = tuple(Beam(float(angle)) for angle in range(0, 360, 40))
SPLITS = ("train", "validation", "test")
HU_OFFSET = 1000.0
CT_MAX = 4095.0
MAX_BEYOND = 0.05  # of the scored voxels may lie beyond the last row of a dose or CT that leaves zeros out
TISSUE_VALUE = 300.0  # CT value (HU + 1000) above which a neighbour of the dose mask is skin

_OTHER_FILES = {"ct", "dose", "possible_dose_mask", "voxel_dimensions"}
_PATIENT = re.compile(r"pt_[0-9]+\Z")

Indices = Int[np.ndarray, " n"]


class OpenKBPReader(AbstractReader):
    """Patients of one split of OpenKBP, ordered by number.

    Args:
        root: Folder that holds `provided-data/`.
        split: "train", "validation" or "test".
        require_dose: Whether a patient without `dose.csv` is an error; None means yes for training only.

    A patient found twice, in this split (`pt_1` and `pt_01`) or in another one, is listed but refused when read.

    Raises:
        CaseError: If the split is unknown, or its folder is missing or without patients.
    """

    def __init__(self, root: str | Path, split: str = "train", require_dose: bool | None = None) -> None:
        if split not in SPLITS:
            raise CaseError(f"must be one of {SPLITS}", argument="split", value=split)
        self.root, self.split = Path(root).expanduser(), split
        self.require_dose = split == "train" if require_dose is None else require_dose
        folder = self._folder(split)
        if not folder.is_dir():
            raise CaseError(
                f"must hold provided-data/{split}-pats", argument="data.root", value="no such folder", path=folder
            )
        self._case_ids = _patients(folder)
        if not self._case_ids:
            raise CaseError("must hold folders named pt_N", argument="data.root", value="none", path=folder)
        self._twins = self._find_twins()

    @property
    def case_ids(self) -> Sequence[str]:
        """Patients as `pt_N`, by number."""
        return self._case_ids

    def read(self, case_id: str) -> PatientCase:
        """Return one patient; see `AbstractReader.read`."""
        if case_id not in self._case_ids:
            raise CaseError(f"must be a patient of {self._folder(self.split)}", argument="case_id", value=case_id)
        self._refuse_twins(case_id)
        folder = self._folder(self.split) / case_id
        try:
            return self._build(case_id, folder)
        except InputError as error:
            if isinstance(error, CaseError) and error.path is not None:
                raise
            raise CaseError.located(error, error.path or folder) from error

    def fingerprint(self, case_id: str) -> str:
        """Return the reader's version and the names, sizes and modification times of the patient's files.

        Raises:
            CaseError: If the patient appears twice, so that no cache can hide it.
        """
        self._refuse_twins(case_id)
        files = sorted((self._folder(self.split) / case_id).glob("*.csv"))
        stats = (f"{p.stem}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files)
        return ";".join([f"reader {READER_VERSION}", *stats])

    def _build(self, case_id: str, folder: Path) -> PatientCase:
        spacing = openkbp_csv.read_voxel_dimensions(folder / "voxel_dimensions.csv")
        structures = _read_structures(folder)
        scored = openkbp_csv.read_mask_indices(folder / "possible_dose_mask.csv")
        dose_mask = _mask_of(scored)
        stored_ct = _read_volume(folder / "ct.csv", scored)
        if stored_ct.min() < 0:
            raise CaseError("must not be negative", argument="ct", value=float(stored_ct.min()), path=folder / "ct.csv")
        return PatientCase(
            case_id=case_id,
            grid=Grid(openkbp_csv.SHAPE, (spacing[1], spacing[0], spacing[2])),
            ct_hu=np.round(np.clip(stored_ct, 0, CT_MAX) - HU_OFFSET).astype(np.int16),
            body=_body(dose_mask, stored_ct),
            structures=structures,
            prescription_gy={name: gy for name, gy in TARGETS.values() if name in structures},
            beams=BEAMS,
            dose_gy=self._read_dose(folder / "dose.csv", scored),
            dose_mask=dose_mask,
        )

    def _read_dose(self, path: Path, scored: Indices) -> FloatVolume | None:
        if not path.exists() and not self.require_dose:
            return None
        dose_gy = _read_volume(path, scored)
        if dose_gy.min() < 0:
            raise CaseError("must not be negative", argument="dose", value=float(dose_gy.min()), path=path)
        _check_mask_reaches(dose_gy, scored, path.with_name("possible_dose_mask.csv"))
        return dose_gy

    def _folder(self, split: str) -> Path:
        return self.root / "provided-data" / f"{split}-pats"

    def _find_twins(self) -> dict[int, list[str]]:
        """Return where each patient of this split is, as `split-pats/pt_N`, for those found more than once."""
        places: dict[int, list[str]] = {}
        for split in SPLITS:
            folder = self._folder(split)
            for name in _patients(folder) if folder.is_dir() else []:
                places.setdefault(_number(name), []).append(f"{folder.name}/{name}")
        return {number: found for number, found in places.items() if len(found) > 1}

    def _refuse_twins(self, case_id: str) -> None:
        found = self._twins.get(_number(case_id), [])
        if found:
            folder = self._folder(self.split) / case_id
            raise CaseError("must appear once, in one split", argument="patient", value=found, path=folder)


def _patients(folder: Path) -> list[str]:
    names = [path.name for path in folder.iterdir() if _PATIENT.match(path.name) and path.is_dir()]
    return sorted(names, key=lambda name: (_number(name), name))


def _number(name: str) -> int:
    return int(name.removeprefix("pt_"))


def _read_structures(folder: Path) -> dict[str, Mask]:
    names = {**{k: v[0] for k, v in TARGETS.items()}, **OARS}
    found = {path.stem for path in folder.glob("*.csv") if not path.name.startswith(".")} - _OTHER_FILES
    unknown = sorted(found - set(names))
    if unknown:
        raise CaseError(
            f"must be one of {sorted(names)}",
            argument="structure file",
            value=unknown,
            path=folder / f"{unknown[0]}.csv",
        )
    if not found & set(TARGETS):
        raise CaseError(
            "must include a target (PTV70, PTV63, PTV56)", argument="structures", value=sorted(found), path=folder
        )
    return {names[stem]: _read_mask(folder / f"{stem}.csv") for stem in names if stem in found}


def _read_mask(path: Path) -> Mask:
    return _mask_of(openkbp_csv.read_mask_indices(path))


def _mask_of(indices: Indices) -> Mask:
    return openkbp_csv.volume_of(indices, np.array(True), bool)


def _read_volume(path: Path, scored: Indices) -> FloatVolume:
    indices, values = openkbp_csv.read_values(path)
    # Rows go by index. Files cut off between two rows look whole, but leave the last scored voxels without a value.
    beyond = scored.size if indices.size == 0 else int(np.count_nonzero(scored > indices.max()))
    if beyond > MAX_BEYOND * scored.size:
        raise CaseError(
            "must reach the last voxels of the dose mask: the file is truncated",
            argument="rows",
            value=f"none for the last {beyond} of {scored.size} voxels",
            path=path,
        )
    return openkbp_csv.volume_of(indices, values, np.float32)


def _check_mask_reaches(dose_gy: FloatVolume, scored: Indices, path: Path) -> None:
    """Refuse a dose mask that ends well before the dose, which published ones never do."""
    beyond = int(np.count_nonzero(openkbp_csv.from_lps(dose_gy).ravel()[scored.max() + 1 :]))
    if beyond > MAX_BEYOND * scored.size:
        raise CaseError(
            "must reach the last voxels with dose: the file is truncated",
            argument="rows",
            value=f"none for the last {beyond} voxels with dose",
            path=path,
        )


def _body(dose_mask: Mask, stored_ct: FloatVolume) -> Mask:
    """Return the dose mask grown by its in-plane neighbours that are tissue: the patient up to the skin."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = True
    return dose_mask | (ndimage.binary_dilation(dose_mask, in_plane) & (stored_ct > TISSUE_VALUE))
