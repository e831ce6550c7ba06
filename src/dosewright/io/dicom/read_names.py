"""Which structures of a set become part of a case, and under what name."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dosewright.core import EXTERNAL, CaseError, InputError, role_of
from dosewright.io.dicom.read_contours import RoiContours
from dosewright.io.dicom.read_report import DicomReport
from dosewright.io.dicom.read_settings import ReadSettings
from dosewright.io.tg263 import NameReport, TG263Matcher
from dosewright.io.tg263.overrides import override_key

# RT ROI Interpreted Types of what is no part of the patient; taken only where the user's names ask for it.
NO_ANATOMY = frozenset(
    [
        "SUPPORT",
        "FIXATION",
        "BOLUS",
        "MARKER",
        "FIDUCIAL",
        "ISOCENTER",
        "REGISTRATION",
        "DOSE_REGION",
        "DOSE_MEASUREMENT",
        "CONTROL",
        "BRACHY_CHANNEL",
        "BRACHY_ACCESSORY",
        "BRACHY_SRC_APP",
        "BRACHY_CHNL_SHLD",
    ]
)


@dataclass(frozen=True)
class NamedRois:
    """The structures to be read.

    Args:
        external: The patient's outline, or None.
        structures: TG-263 name → structure; without the outline.
        sources: The source's name → TG-263 name.
        matches: What the names alone say.
        undecided: Paired organs without a side in their name, which is told by where they lie.
    """

    external: RoiContours | None
    structures: dict[str, RoiContours]
    sources: dict[str, str]
    matches: NameReport
    undecided: tuple[RoiContours, ...] = ()


def name_rois(rois: Sequence[RoiContours], settings: ReadSettings, path: Path, report: DicomReport) -> NamedRois:
    """Return the structures that have a name, and enter in the report all others with the reason.

    Raises:
        CaseError: If two structures have the same name, or two may be the patient's outline.
    """
    usable, chosen = [], {override_key(source) for source in settings.overrides}
    for roi in rois:
        report.notes += [f"{roi.name}: {note}" for note in roi.notes]
        if roi.reason:
            report.left_out[roi.name] = roi.reason
        elif roi.kind in NO_ANATOMY and override_key(roi.name) not in chosen:
            report.left_out[roi.name] = f"its type is {roi.kind}"
        else:
            usable.append(roi)
    twice = [name for name, count in Counter(roi.name for roi in usable).items() if count > 1]
    if twice:
        raise CaseError("must differ between structures", argument="ROIName (3006,0026)", value=twice, path=path)
    matches = TG263Matcher(settings.overrides).match([roi.name for roi in usable])
    sources = _named(matches, settings, report)
    external = _external(usable, sources, settings.overrides, path)
    structures: dict[str, RoiContours] = {}
    for roi in usable:
        name = sources.get(roi.name)
        if roi is external:
            report.names[roi.name] = EXTERNAL
        elif name == EXTERNAL or (roi.kind == EXTERNAL.upper() and name is None):
            report.left_out[roi.name] = f"another outline than {external.name if external else 'the patient'}"
        elif name is not None:
            structures[name] = roi
            report.names[roi.name] = name
    named = {roi.name: name for name, roi in structures.items()}
    unsided = {match.source for match in matches.matches if match.candidates and match.name is None}
    undecided = tuple(roi for roi in usable if roi.name in unsided and roi.name not in sources)
    return NamedRois(external, structures, named, matches, undecided)


def _named(matches: NameReport, settings: ReadSettings, report: DicomReport) -> dict[str, str]:
    """Return source name → TG-263 name, one-to-one."""
    sources = dict(matches.names(accept_fuzzy=settings.accept_fuzzy))
    for match in matches.matches:
        if match.source in sources:
            continue
        if match.how == "fuzzy" and match.name:
            report.guessed[match.source] = f"{match.name} ({match.note})" if match.note else match.name
        if match.how == "override":
            report.left_out[match.source] = "the names file leaves it out"
        elif settings.unmatched == "keep":
            sources[match.source] = _legal(match.source)
        else:
            report.left_out[match.source] = match.note or "no TG-263 name is known for it"
    clashes = [name for name, count in Counter(sources.values()).items() if count > 1]
    if clashes:
        both = sorted(source for source, name in sources.items() if name in clashes)
        rule = "must be one structure for one name: say which in data.names"
        raise CaseError(rule, argument=", ".join(clashes), value=both)
    return sources


def _legal(source: str) -> str:
    """Return a legal structure name close to a source's.

    >>> _legal("2 cm ring (old)")
    'x2_cm_ring_old'
    """
    name = re.sub(r"[^A-Za-z0-9_.&~^+\-!]+", "_", source).strip("_")[:60]
    name = name if name[:1].isalpha() else f"x{name}"
    try:
        role_of(name)
    except InputError as error:  # nothing legal is left
        raise CaseError("must have a letter or a digit", argument="ROIName (3006,0026)", value=source) from error
    return name


def _external(
    rois: Sequence[RoiContours], sources: Mapping[str, str], overrides: Mapping[str, str], path: Path
) -> RoiContours | None:
    """Return the patient's outline: the user's, else the one of type EXTERNAL, else the one of that name."""
    asked = {override_key(source) for source, name in overrides.items() if name == EXTERNAL}
    chosen = [roi for roi in rois if override_key(roi.name) in asked]
    typed = [roi for roi in rois if roi.kind == EXTERNAL.upper()]
    named = [roi for roi in rois if sources.get(roi.name) == EXTERNAL]
    candidates = chosen or typed or named
    if len(candidates) > 1:
        candidates = [roi for roi in candidates if roi in named] or candidates
    if len(candidates) > 1:
        rule = f"must be one: name the patient's outline {EXTERNAL} in data.names"
        raise CaseError(rule, argument="structures of type EXTERNAL", value=[r.name for r in candidates], path=path)
    return candidates[0] if candidates else None
