"""Sides of structures: what a name says of left and right must agree with where the structure lies."""

from collections.abc import Mapping

from dosewright.core.types import Mask
from dosewright.io.dicom.read_names import NamedRois
from dosewright.io.dicom.read_report import DicomReport
from dosewright.io.tg263 import settle_sides


def with_checked_sides(
    rois: NamedRois, masks: Mapping[str, Mask], undecided: Mapping[str, Mask], body: Mask, report: DicomReport
) -> dict[str, Mask]:
    """Return the masks by names that agree with where they lie; what changes is told in the report, nothing is swapped.

    Args:
        rois: The structures by name.
        masks: TG-263 name → voxels, (z, y, x).
        undecided: Source name → voxels of paired organs named without a side; one that lies on one side gets it.
        body: Voxels of the patient.
        report: Gets a warning for each name that is withdrawn or doubtful, and a note for each side found.
    """
    by_source = {source: masks[name] for source, name in rois.sources.items() if name in masks}
    settled = settle_sides(rois.matches, {**by_source, **undecided}, body)
    kept = dict(masks)
    for before, after in zip(rois.matches.matches, settled.matches, strict=True):
        source, name = after.source, rois.sources.get(after.source)
        if name in kept and before.name == name and after.name is None:
            del kept[name]
            report.names.pop(source, None)
            report.left_out[source] = after.note
            report.warnings.append(f"{source}: {after.note}")
        elif name in kept and after.note != before.note:
            report.warnings.append(f"{source}: {after.note}")
        elif source in undecided and after.name is not None and after.name not in kept:
            kept[after.name] = undecided[source]
            report.names[source] = after.name
            report.left_out.pop(source, None)
            report.notes.append(f"{source}: {after.note}")
    return kept
