"""A case as a folder of volumes: CT, dose and a file per structure, with what they are in `case.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from dosewright.core import EXTERNAL, InputError, PatientCase, role_of
from dosewright.core.files import atomic_write
from dosewright.core.types import Mask, Volume
from dosewright.dose.colors import color_of
from dosewright.io.volumes.nifti import write_nifti
from dosewright.io.volumes.nrrd_file import write_nrrd
from dosewright.io.volumes.segmentation import Segment, label_volume, place_segments, slicer_fields
from dosewright.io.writer import AbstractWriter, Origin

ENDINGS: Mapping[str, str] = {"nifti": ".nii.gz", "nrrd": ".nrrd"}
DESCRIPTION = "case.json"


@final
class FolderWriter(AbstractWriter):
    """Writes `<case_id>/` with `ct`, `dose`, `structures/<name>`, `segmentation` and `case.json`.

    HU are whole numbers (int16) where the case's are, else float32; dose is total Gy in float32; masks are 0 and 1 in a
    byte. The segmentation has every structure but the body: as NRRD it is 3D Slicer's `.seg.nrrd`, with layers where
    structures overlap; as NIfTI, which has neither layers nor names, it is written only where none do, and `case.json`
    says which label is which.

    Args:
        kind: "nifti" (`.nii.gz`) or "nrrd".
        structures: Whether to write a file per structure, and one of the body.
        segmentation: Whether to write all structures in one file.

    Raises:
        InputError: If the kind is unknown.
    """

    def __init__(self, kind: str, structures: bool = True, segmentation: bool = True) -> None:
        if kind not in ENDINGS:
            raise InputError(f"must be one of {tuple(ENDINGS)}", argument="kind", value=kind)
        self.kind, self.structures, self.segmentation = kind, structures, segmentation

    def write(self, case: PatientCase, folder: Path, origin: Origin | None = None) -> tuple[Path, ...]:
        """Write one case; see `AbstractWriter.write`. `case.json` comes last."""
        own = folder / case.case_id
        volumes: dict[str, Volume | Mask] = {"ct": _ct(case)}
        if case.dose_gy is not None:
            volumes["dose"] = np.ascontiguousarray(case.dose_gy, np.float32)
        if case.dose_mask is not None:
            volumes["dose_mask"] = case.dose_mask
        places = _places(case) if self.structures else {}
        volumes |= {stem: case.body if name == EXTERNAL else case.structures[name] for name, stem in places.items()}
        files = [self._write_volume(own / f"{stem}{ENDINGS[self.kind]}", volumes[stem], case) for stem in volumes]
        segments: tuple[Segment, ...] = ()
        if self.segmentation:
            segments = place_segments(case.structures)
            files += self._write_segmentation(own, case, segments)
        content = _description(case, {name: f"{stem}{ENDINGS[self.kind]}" for name, stem in places.items()}, segments)
        content["dose"] = None if case.dose_gy is None else (origin or Origin()).dose
        content["files"] = [path.relative_to(own).as_posix() for path in files]
        files.append(atomic_write(own / DESCRIPTION, json.dumps(content, indent=1) + "\n"))
        return tuple(files)

    def _write_volume(self, path: Path, volume: Volume | Mask, case: PatientCase) -> Path:
        if self.kind == "nrrd":
            return write_nrrd(path, volume, case.grid)
        return write_nifti(path, volume, case.grid, _LABELS.get(path.name.partition(".")[0], "mask"))

    def _write_segmentation(self, own: Path, case: PatientCase, segments: tuple[Segment, ...]) -> list[Path]:
        labels = label_volume(case.structures, segments)
        if len(segments) <= 255:
            labels = labels.astype(np.uint8)
        flat = labels.shape[3] == 1
        if self.kind == "nrrd":
            fields = slicer_fields(case.structures, segments)
            return [write_nrrd(own / "segmentation.seg.nrrd", labels[..., 0] if flat else labels, case.grid, fields)]
        path = own / f"segmentation{ENDINGS[self.kind]}"
        return [write_nifti(path, labels[..., 0], case.grid, "label values, see case.json")] if flat else []


_LABELS = {"ct": "CT in HU", "dose": "total dose in Gy, research use only"}


def _ct(case: PatientCase) -> Volume:
    ct = case.ct_hu
    whole = np.issubdtype(ct.dtype, np.integer) or bool((ct == np.rint(ct)).all())
    return np.ascontiguousarray(ct, np.int16 if whole else np.float32)


def _places(case: PatientCase) -> dict[str, str]:
    """Return the file of each structure without its ending; names that differ in case alone get a number."""
    places: dict[str, str] = {}
    used: set[str] = set()
    for name in (EXTERNAL, *case.structures):
        stem, number = name, 1
        while stem.casefold() in used:
            number += 1
            stem = f"{name}_{number}"
        used.add(stem.casefold())
        places[name] = f"structures/{stem}"
    return places


def _description(case: PatientCase, places: Mapping[str, str], segments: tuple[Segment, ...]) -> dict[str, Any]:
    """Return what the volumes are, as plain data."""
    masks = {EXTERNAL: case.body, **case.structures}
    found = {segment.name: segment for segment in segments}
    x, y, z = case.grid.shape_zyx[::-1]
    return {
        "case_id": case.case_id,
        "use": "research only",
        "units": {"ct": "HU", "dose": "Gy, total", "lengths": "mm"},
        "frame": "positions here are DICOM LPS; NIfTI files hold them as RAS, which is the same place",
        "grid": {
            "size_xyz": [x, y, z],
            "spacing_xyz_mm": case.grid.spacing_xyz_mm,
            "first_voxel_center_xyz_mm": case.grid.origin_xyz_mm,
        },
        "prescription_gy": dict(case.prescription_gy),
        "fractions": case.fractions,
        "technique": case.technique,
        "site": case.site,
        "isocenter_xyz_mm": case.isocenter_xyz_mm,
        "beams": [
            {
                "gantry_angle_deg": beam.gantry_angle_deg,
                "couch_angle_deg": beam.couch_angle_deg,
                "modality": beam.modality,
            }
            for beam in case.beams
        ],
        "layers": 1 + max((segment.layer for segment in segments), default=-1),
        "structures": {
            name: {
                "role": role_of(name).value,
                "color": color_of(name),
                "voxels": int(mask.sum()),
                "volume_cc": round(float(mask.sum()) * case.grid.voxel_volume_cc, 3),
                "file": places.get(name),
                "label": found[name].label if name in found else None,
                "layer": found[name].layer if name in found else None,
            }
            for name, mask in masks.items()
        },
    }
