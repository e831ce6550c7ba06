"""The helper set that is taken where none is named; conf/helpers/every_target.yaml tells it, too."""

from typing import Any

from dosewright.objectives.helper_set import SERIAL_ORGANS, HelperSet

_TABLE = "Table 3"


def default_helpers() -> HelperSet:
    """Return the helpers of any number of targets, whatever their prescriptions, and of every organ of a case.

    >>> [name for name in default_helpers().helpers if "{" in name]
    ['z{target}_Opt', '{organ}-PTV', 'Ring_{target}']
    """
    helpers: dict[str, Any] = {
        "z{target}_Opt": {
            "each": "target",
            "expression": "{target}",
            "part": "core",
            "of": "{target}",
            "away_from_higher": {"level_mm": 3, "level_gy": 7, "required": True},
            "source": f"{_TABLE}, PTVMidOPT and PTVLowOPT: 3 mm per step of 7 Gy",
        },
        "{organ}-PTV": {
            "each": "organ",
            "expression": "{organ} - Targets",
            "part": "cropped",
            "of": "{organ}",
            "replaces": "{organ}",
            "differs_from": "{organ}",
            "source": f"{_TABLE}, OARs-PTV",
        },
        "SpinalCord_PRV05": _around("SpinalCord", 5, "SpinalCord_05"),
        "Brainstem_PRV03": _around("Brainstem", 3, "BrainStem_03"),
        "Ring_{target}": {
            "each": "target",
            "expression": "(({target} + 30mm) - ({target} + 2mm)) & Body - Targets",
            "part": "ring",
            "of": "{target}",
            "away_from_higher": {"level_mm": 3, "level_gy": 7, "extra_mm": 3},
            "source": f"{_TABLE}, the rings; without any target, which is ours",
        },
        "zTissue": {"expression": "Body - (Targets + 30mm)", "part": "tissue", "source": "ours"},
    }
    keep = (*SERIAL_ORGANS, "SpinalCord_PRV05", "Brainstem_PRV03")
    return HelperSet(helpers, keep=keep, source="arXiv:2501.11803, Table 3, for any targets")


def _around(organ: str, margin_mm: int, called: str) -> dict[str, Any]:
    """Return the planning risk volume of an organ: it never loses a voxel of the organ, and gains none in a target."""
    return {
        "expression": f"({organ} & Body) | ((({organ} & Body) + {margin_mm}mm) & Body) - Targets",
        "part": "prv",
        "needs": [organ],
        "differs_from": organ,
        "source": f"{_TABLE}, {called}; without the targets, which is ours",
    }
