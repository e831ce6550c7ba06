"""Targets by the order of their doses: PTV_7000, PTV_6300, PTV_5600 → PTV_High, PTV_Mid, PTV_Low."""

import re
from collections.abc import Mapping
from dataclasses import replace

from dosewright.io.tg263.match import NameMatch
from dosewright.io.tg263.report import NameReport
from dosewright.io.tg263.target import dose_in_name_gy

_BY_DOSE = re.compile(r"PTV_\d{4}")
_BY_LEVEL = re.compile(r"PTV_(?:High|Mid\d{0,2}|Low)\b.*")


def level_names(doses_gy: Mapping[str, float]) -> dict[str, str]:
    """Return the names of PTVs by the order of their doses, highest first.

    One dose is `PTV_High`; two are `PTV_High` and `PTV_Low`; three have `PTV_Mid` between; more, `PTV_Mid01`,
    `PTV_Mid02`… from high to low, as TG-263 counts them.

    Args:
        doses_gy: Target → its dose in Gy. Of several with one dose, none gets a name.

    >>> level_names({"PTV56": 56.0, "PTV70": 70.0, "PTV63": 63.0})
    {'PTV56': 'PTV_Low', 'PTV70': 'PTV_High', 'PTV63': 'PTV_Mid'}
    >>> level_names({"a": 60.0}), level_names({"a": 60.0, "b": 60.0, "c": 50.0})
    ({'a': 'PTV_High'}, {'c': 'PTV_Low'})
    """
    doses = sorted(set(doses_gy.values()), reverse=True)
    between = len(doses) - 2
    middle = ["PTV_Mid"] if between == 1 else [f"PTV_Mid{n:02d}" for n in range(1, between + 1)]
    names = dict(zip(doses, ["PTV_High", *middle, "PTV_Low"]))  # one dose is the highest
    if len(doses) > 1:
        names[doses[-1]] = "PTV_Low"
    values = list(doses_gy.values())
    return {target: names[dose] for target, dose in doses_gy.items() if values.count(dose) == 1}


def with_levels(report: NameReport, doses_gy: Mapping[str, float] | None = None) -> NameReport:
    """Return a report in which PTVs are named by the order of their doses.

    Only whole PTVs take part: `PTV_7000`, and those of `doses_gy`; no nodal, sided or cropped ones. A report that has a
    `PTV_High`, `PTV_Mid…` or `PTV_Low` already stays as it is.

    Args:
        report: What the names say.
        doses_gy: Source name → prescribed dose in Gy where the plan tells it; else the dose in the name counts.
    """
    if any(m.name is not None and _BY_LEVEL.fullmatch(m.name) for m in report.matches):
        return report
    doses = {}
    for match in report.matches:
        told = (doses_gy or {}).get(match.source)
        if match.name is not None and (_BY_DOSE.fullmatch(match.name) or (told is not None and match.name == "PTV")):
            doses[match.source] = told if told is not None else dose_in_name_gy(match.name)
    names = level_names({source: dose for source, dose in doses.items() if dose is not None})
    return replace(report, matches=tuple(_levelled(m, names, doses) for m in report.matches))


def _levelled(match: NameMatch, names: Mapping[str, str], doses: Mapping[str, float | None]) -> NameMatch:
    name = names.get(match.source)
    if name is None or match.how == "override":
        return match
    how = "synonym" if match.how == "exact" else match.how
    note = f"by the order of doses, {doses[match.source]:g} Gy" + (f"; {match.note}" if match.note else "")
    return replace(match, name=name, how=how, confidence=min(match.confidence, 0.95), note=note)
