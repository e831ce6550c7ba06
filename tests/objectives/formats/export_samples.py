"""Content to write in the formats of planning systems, and the names that try to break out of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from objective_samples import ALL

from dosewright.objectives import Objective
from dosewright.objectives.formats.content import ExportContent, ExportItem, as_items

#: Names that a format must write as names, whatever they look like in it; all fit into Eclipse's 16 characters.
HOSTILE = (
    "=cmd|'/c calc'!A",
    "+1,2",
    "-PTV",
    "@SUM(A1)",
    "'quoted'",
    '"double"',
    "a','b': 1}]",
    '");exit();//',
    "__import__('os')",
    "{roi} %s {0}",
    "<a>&amp;]]>",
    "--><!DOCTYPE x>",
    "Größe Ω 漢字",
    "#comment %",
    "'; delete x; %",
)
REQUIRED = (
    Objective("SpinalCord", "max_dose", 45, constraint=True),
    Objective("PTV", "min_dose", 60, constraint=True),
    Objective("Larynx", "mean_upper", 40, constraint=True),
    Objective("PTV", "mean_lower", 66, constraint=True),
)
EVERY_KIND = ALL + REQUIRED


def line(structure: str, number: int = 1, priority: float = 40.0) -> tuple[ExportItem, ...]:
    """Points (v, D) = (0, 60), (20, 30), (50, 10.5)."""
    points = ((0.0, 60.0), (20.0, 30.0), (50.0, 10.5))
    return tuple(ExportItem(Objective(structure, "max_dvh", dose, v, priority), number) for v, dose in points)


def content(
    objectives: Sequence[Objective | ExportItem],
    names: Mapping[str, str] | None = None,
    fractions: int = 35,
    prescription_gy: Mapping[str, float] | None = None,
) -> ExportContent:
    """Content of objectives; structures keep their names unless `names` has others."""
    items = tuple(item for one in objectives for item in ([one] if isinstance(one, ExportItem) else as_items([one])))
    structures = {item.objective.structure for item in items}
    return ExportContent(
        case_id="pt_1",
        items=items,
        names={name: (names or {}).get(name, name) for name in structures},
        fractions=fractions,
        prescription_gy=prescription_gy or {"PTV": 70.0},
        targets=frozenset({"PTV"}),
    )


def text(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")
