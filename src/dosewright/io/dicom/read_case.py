"""One case, put together from its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dosewright.core import CaseError, Grid, InputError, PatientCase, Role, role_of
from dosewright.core.types import FloatVolume, Mask, Volume
from dosewright.geometry import body_mask
from dosewright.io.dicom.read_choice import Chain
from dosewright.io.dicom.read_contours import RoiContours, check_frame, read_rois
from dosewright.io.dicom.read_ct import CtStack, read_hu, read_stack
from dosewright.io.dicom.read_dose import DoseVolume
from dosewright.io.dicom.read_dose_sum import read_total_dose
from dosewright.io.dicom.read_links import CaseFiles
from dosewright.io.dicom.read_masks import rasterise
from dosewright.io.dicom.read_names import NamedRois, name_rois
from dosewright.io.dicom.read_plan import DicomPlan, read_plan
from dosewright.io.dicom.read_prescription import given_prescription, planned_prescription
from dosewright.io.dicom.read_report import DicomReport
from dosewright.io.dicom.read_settings import ReadSettings
from dosewright.io.dicom.read_sides import with_checked_sides
from dosewright.io.dicom.resample import grid_of_spacing, resample_ct

AIR_HU = -1000.0
MAX_CT_VOXELS = 600_000_000  # 512 × 512 × 2288
LEAST_SHARE, MOST_SHARE = 0.5, 2.0  # of the prescription that a target's mean dose may be

_SITES: Mapping[str, str] = {
    **dict.fromkeys(("HEADNECK", "HEAD_NECK", "HEAD AND NECK", "HEAD&NECK", "NECK"), "HeadNeck"),
    **{site.upper(): site for site in ("Lung", "Prostate", "Brain", "Breast", "Abdomen")},
}


@dataclass(frozen=True, eq=False)
class _Parts:
    """What the files of a case say, before it is put on a grid."""

    stack: CtStack
    rois: NamedRois
    plan: DicomPlan | None
    dose: DoseVolume | None


def build_case(files: CaseFiles, chain: Chain, settings: ReadSettings, report: DicomReport) -> PatientCase:
    """Return a case; what was assumed and left out goes into the report.

    Raises:
        CaseError: If a file is broken, does not fit the others, or leaves open what must be known.
    """
    report.notes += chain.notes
    parts = _read_parts(files, chain, settings, report)
    grid = _grid(parts, settings, report)
    _check_memory(grid, parts, settings, chain.structure_set.path)
    prescription_gy = _prescription(parts, settings, report, chain.structure_set.path)
    ct_hu = _ct_on(grid, parts.stack, settings, report)
    masks = _masks(grid, parts, settings, report, set(prescription_gy), chain.structure_set.path)
    body = _body(grid, parts, ct_hu, report)
    slice_mm = parts.stack.grid.spacing_xyz_mm[2]
    undecided = {roi.name: rasterise(roi, grid, slice_mm).mask for roi in parts.rois.undecided}
    masks = with_checked_sides(parts.rois, masks, undecided, body, report)
    dose_gy, dose_mask = _dose_on(grid, parts.dose, body, report)
    if dose_gy is not None and settings.check_dose:
        _check_dose(dose_gy, dose_mask, masks, prescription_gy, chain.doses[0].path)
    plan = parts.plan
    return PatientCase(
        case_id=files.case_id,
        grid=grid,
        ct_hu=ct_hu,
        body=body,
        structures=masks,
        prescription_gy=prescription_gy,
        beams=() if plan is None else plan.beams,
        dose_gy=dose_gy,
        dose_mask=dose_mask,
        isocenter_xyz_mm=None if plan is None else plan.isocenter_xyz_mm,
        technique=_given("technique", settings.technique, plan),
        site=_site(parts.stack, settings, report),
        fractions=_given("fractions", settings.fractions, plan),
    )


def _read_parts(files: CaseFiles, chain: Chain, settings: ReadSettings, report: DicomReport) -> _Parts:
    path = chain.structure_set.path
    stack = read_stack(files.slices, MAX_CT_VOXELS)
    report.notes += stack.notes
    _check_complete(files, chain, settings, report)
    rois = read_rois(path)
    foreign = {check_frame(roi, files.frame, stack.slice_uids, path) for roi in rois} - {""}
    report.warnings += sorted(foreign)
    plan = None
    if chain.plan is not None:
        plan = read_plan(chain.plan.path, files.frame, stack.patient_position, float(settings.arc_spacing_deg))
    for name in ("technique", "fractions"):  # before anything large is read
        _given(name, getattr(settings, name), plan)
    dose = read_total_dose(chain.doses, plan, files.frame) if chain.doses else None
    if dose is not None and dose.kind == "EFFECTIVE":
        report.warnings.append("the dose is EFFECTIVE (weighted by biological effect), not physical")
    return _Parts(stack, name_rois(rois, settings, path, report), plan, dose)


def _check_complete(files: CaseFiles, chain: Chain, settings: ReadSettings, report: DicomReport) -> None:
    """Refuse a CT that lacks slices its structure set refers to: what was drawn there would be cut off."""
    present = {slice.uid for slice in files.slices}
    series = chain.structure_set.image_series
    if len(series) > 1 or present.isdisjoint(chain.structure_set.images):
        return  # a list over several series, or of another one
    missing = [uid for uid in chain.structure_set.images if uid not in present]
    if missing and not settings.incomplete_ct:
        rule = (
            f"must hold all {len(present) + len(missing)} slices that its structure set refers to; cases are read from "
            "what is there with data.incomplete_ct=true"
        )
        raise CaseError(rule, argument="CT series", value=f"{len(present)} slices", path=files.slices[0].path.parent)
    if missing:
        report.warnings.append(f"{len(missing)} CT slices that the structure set refers to are missing")


def _grid(parts: _Parts, settings: ReadSettings, report: DicomReport) -> Grid:
    grid = parts.stack.grid
    if settings.grid == "dose":
        own = None if parts.dose is None else parts.dose.grid
        if own is None:
            rule = "must be an evenly spaced dose for a case on the dose's grid (data.grid=dose)"
            raise CaseError(rule, argument="dose", value="none" if parts.dose is None else "uneven planes")
        grid = own if settings.incomplete_ct else _cropped(own, grid)
    if settings.spacing_xyz_mm is not None:
        grid = grid_of_spacing(grid, settings.spacing_xyz_mm)
    if not grid.is_close(parts.stack.grid):
        report.notes.append(f"on a grid of {grid.shape_zyx} voxels (z, y, x) of {grid.spacing_xyz_mm} mm (x, y, z)")
    return grid


def _cropped(grid: Grid, ct: Grid) -> Grid:
    """Return the part of a grid whose voxel centres the CT's voxels cover."""
    box = []
    for axis in "zyx":
        i = "xyz".index(axis)
        half = ct.spacing_xyz_mm[i] / 2
        centres, covered = grid.axis_mm(axis), ct.axis_mm(axis)
        inside = np.flatnonzero((centres >= covered[0] - half) & (centres <= covered[-1] + half))
        if not inside.size:
            raise CaseError("must overlap the CT", argument="dose grid", value=f"apart along {axis}")
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return grid.crop((box[0], box[1], box[2]))


def _check_memory(grid: Grid, parts: _Parts, settings: ReadSettings, path: Path) -> None:
    count = len(parts.rois.structures) + len(parts.rois.undecided)
    needed_gb = np.prod(grid.shape_zyx, dtype=float) * (count + 12) / 1e9
    if needed_gb > settings.max_memory_gb:
        rule = f"must fit in data.max_memory_gb={settings.max_memory_gb:g}; read them coarser (data.spacing_xyz_mm)"
        value = f"{count} structures on {grid.shape_zyx}: {needed_gb:.1f} GB"
        raise CaseError(rule, argument="structures", value=value, path=path)


def _ct_on(grid: Grid, stack: CtStack, settings: ReadSettings, report: DicomReport) -> Volume:
    hu, notes = read_hu(stack)
    report.notes += notes
    if grid.is_close(stack.grid):
        return hu
    moved, covered = resample_ct(hu, stack.grid, grid, AIR_HU)
    beyond = np.count_nonzero(~covered)
    if beyond:
        report.warnings.append(f"{100 * beyond / covered.size:.1f} % of the grid lies beyond the CT: air there")
    return np.round(moved).astype(np.int16) if hu.dtype == np.int16 else moved


def _masks(
    grid: Grid, parts: _Parts, settings: ReadSettings, report: DicomReport, prescribed: set[str], path: Path
) -> dict[str, Mask]:
    masks = {}
    for name, roi in parts.rois.structures.items():
        found = rasterise(roi, grid, parts.stack.grid.spacing_xyz_mm[2])
        if found.gaps:
            report.notes.append(f"{roi.name}: {found.gaps} gaps between its planes, left open")
        if found.cut_planes or found.cut_contours:
            what = f"{found.cut_planes} contour planes and {found.cut_contours} contours reach beyond the grid"
            if name in prescribed and not settings.incomplete_ct:
                raise CaseError("must lie on the grid as a whole", argument=f"target {name}", value=what, path=path)
            report.warnings.append(f"{roi.name}: {what}; cut off there")
        if found.mask.any():
            masks[name] = found.mask
        elif name in prescribed:
            raise CaseError("must have a voxel on the grid", argument=f"target {name}", value="none", path=path)
        else:
            report.left_out[roi.name] = "no voxel's centre lies inside"
            report.names.pop(roi.name, None)
    return masks


def _body(grid: Grid, parts: _Parts, ct_hu: Volume, report: DicomReport) -> Mask:
    external: RoiContours | None = parts.rois.external
    if external is not None:
        body = rasterise(external, grid, parts.stack.grid.spacing_xyz_mm[2]).mask
        if body.any():
            return body
        raise CaseError("must have a voxel on the grid", argument=f"outline {external.name}", value="none")
    report.warnings.append("no patient outline (External): found by thresholding the CT")
    return body_mask(ct_hu, grid.spacing_zyx_mm)


def _prescription(parts: _Parts, settings: ReadSettings, report: DicomReport, path: Path) -> dict[str, float]:
    targets = [name for name in parts.rois.structures if role_of(name) is Role.TARGET]
    try:
        if settings.prescription_gy is not None:
            found, notes = given_prescription(settings.prescription_gy, parts.rois.sources, targets)
        else:
            numbers = {roi.number: name for name, roi in parts.rois.structures.items()}
            found, notes = planned_prescription(parts.plan, numbers, targets)
    except InputError as error:
        raise CaseError.located(error, path) from error
    report.notes += notes
    return found


def _dose_on(
    grid: Grid, dose: DoseVolume | None, body: Mask, report: DicomReport
) -> tuple[FloatVolume | None, Mask | None]:
    """Return the dose on the grid, and the part of the body that it covers (None: all of it)."""
    if dose is None:
        return None, None
    dose_gy, covered = dose.on(grid)
    known = body & covered
    if not known.any():
        raise CaseError("must overlap the body", argument="dose grid", value="0 voxels in common")
    share = np.count_nonzero(known) / np.count_nonzero(body)
    if share == 1:
        return dose_gy, None
    report.warnings.append(
        f"the dose covers {100 * share:.1f} % of the body; it counts only there (dose mask) and is 0 elsewhere"
    )
    return dose_gy, known


def _check_dose(
    dose_gy: FloatVolume,
    known: Mask | None,
    masks: Mapping[str, Mask],
    prescription_gy: Mapping[str, float],
    path: Path,
) -> None:
    """Refuse a dose that cannot be the plan's total: one fraction's, in percent, or of another plan."""
    target = max(prescription_gy, key=lambda name: prescription_gy[name])
    voxels = masks[target] if known is None else masks[target] & known
    if not voxels.any():
        raise CaseError("must cover the target", argument="dose grid", value=f"no voxel of {target}", path=path)
    mean, wanted = float(dose_gy[voxels].mean()), prescription_gy[target]
    if not LEAST_SHARE * wanted <= mean <= MOST_SHARE * wanted:
        rule = (
            f"must be {LEAST_SHARE:g} to {MOST_SHARE:g} times its prescription, {wanted:g} Gy: is the dose relative, "
            "of one fraction, of a part of the course? (data.check_dose=false takes it as it is)"
        )
        raise CaseError(rule, argument=f"mean dose of {target}", value=f"{mean:.2f} Gy", path=path)


def _given(name: str, wanted: Any, plan: DicomPlan | None) -> Any:
    if wanted is not None:
        return wanted
    if plan is None:
        raise CaseError("must be given where there is no plan", argument=f"data.{name}", value=None)
    return getattr(plan, name)


def _site(stack: CtStack, settings: ReadSettings, report: DicomReport) -> str:
    if settings.site is not None:
        return settings.site
    site = _SITES.get(stack.body_part.upper(), "Unknown")
    source = f"from the CT's body part {stack.body_part}" if site != "Unknown" else "data.site says none"
    report.notes.append(f"site {site}, {source}")
    return site
