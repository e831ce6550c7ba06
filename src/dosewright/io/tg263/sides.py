"""Left and right by the masks: names that contradict them are withdrawn, names without a side get theirs."""

import re
from collections.abc import Mapping
from dataclasses import replace

from dosewright.io.tg263.match import NameMatch
from dosewright.io.tg263.report import NameReport, without_clashes
from dosewright.io.tg263.side_evidence import AnyMask, SideEvidence, side_evidence

_SIDED = re.compile(r"_(?P<side>[LR])(?=$|[-^_])")
_VERTEBRAE = re.compile(r"z?VB_L(?=$|[-^_])")  # the lumbar ones
# Left and right parts that lie across the midline: the right ventricle of most people lies left of it.
_ACROSS = re.compile(r"(?:Atrium|Ventricle|A_Coronary|V_Brachioceph)(?:_PRV\d*|~)?_[LR]")
_LOBE = re.compile(r"(?P<stem>Lung_)(?P<side>[LR])(?=[UML]L)")
_OTHER = {"L": "R", "R": "L"}
_SAID = {"L": "left", "R": "right", "both": "both sides"}


def settle_sides(report: NameReport, masks: Mapping[str, AnyMask], body: AnyMask) -> NameReport:
    """Return a report that agrees with where the structures lie. Nothing is ever swapped.

    - A name with a side must lie on it: left of its twin where both are there, and on its side of the body's midline
      (but chambers of the heart, its coronaries and the brachiocephalic veins, which cross it). Otherwise it is
      unmatched, and so is its twin when they lie crosswise. An override keeps its name with a note.
    - A paired organ named without a side gets one when nine tenths of its voxels lie there, or the name of the pair
      when a fifth or more lie on either side, unless another structure has that name. The note says so.

    Args:
        report: What the names alone say.
        masks: Source name → voxels, (z, y, x) on an LPS grid; structures without a mask stay as they are.
        body: Voxels of the patient on the same grid.

    Raises:
        GridMismatchError: If a mask has another shape than the body.
    """
    sided = [m.source for m in report.matches if _is_sided(m) and m.source in masks]
    lying = {source: side_evidence(masks[source], body) for source in sided}
    found = {source: evidence for source, evidence in lying.items() if evidence is not None}
    by_name = {m.name: m for m in report.matches if m.name is not None}
    matches = tuple(_checked(m, found, by_name) for m in report.matches)
    taken = {m.name for m in report.matches if m.name is not None}  # withdrawn ones, too: their mask is in doubt
    settled = tuple(_with_side(m, found.get(m.source), taken) for m in matches)
    return NameReport(without_clashes(settled), report.unused_overrides)


def side_of(name: str) -> str:
    """Return the side in a TG-263 name, "" for none.

    >>> side_of("Parotid_L"), side_of("OpticNrv_PRV03_R"), side_of("Lung_LUL"), side_of("VB_L"), side_of("Heart")
    ('L', 'R', 'L', '', '')
    """
    found = None if _VERTEBRAE.match(name) else _LOBE.match(name) or _SIDED.search(name)
    return found["side"] if found else ""


def _is_sided(match: NameMatch) -> bool:
    return bool(match.candidates) or (match.name is not None and side_of(match.name) != "")


def _checked(match: NameMatch, found: Mapping[str, SideEvidence], by_name: Mapping[str, NameMatch]) -> NameMatch:
    """Return a match without its name when that contradicts where the structure lies."""
    side = side_of(match.name) if match.name is not None else ""
    if match.name is None or not side or match.source not in found:
        return match
    lies = found[match.source]
    twin = by_name.get(_SIDED.sub(f"_{_OTHER[side]}", match.name, count=1)) if _SIDED.search(match.name) else None
    other = found.get(twin.source) if twin is not None and twin is not match else None
    left_of_twin = other is None or (lies.center_x - other.center_x) * (1 if side == "L" else -1) > 0
    if not left_of_twin and twin is not None:
        return _withdrawn(match, f"does not lie on the {_SAID[side]} of {twin.source!r}")
    if lies.side == _OTHER[side] and not _ACROSS.match(match.name):
        return _withdrawn(match, f"lies on the patient's {_SAID[lies.side]}")
    return match


def _withdrawn(match: NameMatch, reason: str) -> NameMatch:
    note = f"read as {match.name}, but {reason}" + (f" ({match.note})" if match.note else "")
    if match.how == "override":
        return replace(match, confidence=0.5, note=f"{note}; kept, as the override says so")
    return NameMatch(match.source, None, "unmatched", 0.0, note, match.kind)


def _with_side(match: NameMatch, lies: SideEvidence | None, taken: set[str]) -> NameMatch:
    """Return a match with the side its mask has, where its name has none."""
    if match.name is not None or match.how != "unmatched" or len(match.candidates) != 3 or lies is None:
        return match
    left, right, pair = match.candidates
    if _ACROSS.match(left):
        return match
    name = {"L": left, "R": right, "both": pair}.get(lies.extent, "")
    percent, where = 100 * max(lies.left_share, 1 - lies.left_share), "left" if lies.left_share > 0.5 else "right"
    share = f"{percent:.0f} % of it on the {where}"
    if not name:
        return replace(match, note=f"{match.note}; its mask does not say: {share}")
    if name in taken:
        return replace(match, note=f"{match.note}; by its mask {name}, which another structure is")
    return NameMatch(match.source, name, "synonym", 0.9, f"side from its mask: {share}", match.kind)
