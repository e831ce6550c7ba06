"""Helper sets as data: they are values, those that ship are legal, and what is not valid is refused."""

import pickle
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from dosewright.core import InputError, Role, role_of
from dosewright.geometry.structure_expression import parse
from dosewright.objectives.helper_entry import HelperEntry, HigherTargets, SideChoice
from dosewright.objectives.helper_set import HelperSet

CONF = Path(__file__).parents[2] / "conf" / "helpers"


def shipped(name: str) -> HelperSet:
    return instantiate(OmegaConf.load(CONF / f"{name}.yaml"))


def test_sets_are_values():
    one = shipped("head_neck")
    assert pickle.loads(pickle.dumps(one)) == one == shipped("head_neck")
    more = one.with_helpers({"zMore": "PTV_High + 8mm"})
    assert [*more.helpers][-1] == "zMore"
    assert more.helpers["zMore"] == HelperEntry("zMore", "PTV_High + 8mm")


def test_all_shipped_names_are_legal_and_expressions_canonical_to_read():
    for name in ("head_neck", "lung", "every_target", "none"):
        for entry in shipped(name).helpers.values():
            plain = entry.name.replace("{target}", "PTV").replace("{organ}", "Larynx")
            assert role_of(plain) is not Role.EXTERNAL
            if entry.each == "case" and entry.expression:
                assert parse(str(parse(entry.expression))) == parse(entry.expression)


WRONG = {
    "order": ({"zB": "zA", "zA": "A"}, r"helpers\[zB\] must use helpers that come before it only; got \['zA'\]"),
    "sides' order": (
        {"zB": {"choice": {"among": ["A", "zA"], "to": "C", "side": "ipsilateral"}}, "zA": "A"},
        r"helpers\[zB\] must use helpers that come before it only; got \['zA'\]",
    ),
    "organs": ({"{organ}": None}, r"helpers\[{organ}\] must not be null: targets and organs always take part"),
    "core": ({"zA": {"expression": "A", "part": "core"}}, r"helpers\[zA\] is not valid: of must name the target of a"),
    "expression": ({"zA": "PTV_High + 3"}, r"helpers\[zA\] is not valid: expression must have a unit"),
    "name": ({"9lives": "A"}, "helpers has an illegal name: it must be a structure name: .* got '9lives'"),
    "body": ({"External": "A"}, "helpers must not be called as what there is in every case; got 'External'"),
    "targets": ({"Targets": "A"}, "must not be called as what there is in every case; got 'Targets'"),
    "number": ({"zA": 3}, r"helpers\[zA\] must be an expression, or the arguments of a HelperEntry .* got 3"),
    "key": ({"zA": {"expresion": "A"}}, r"arguments of a HelperEntry \(.*argument 'expresion'\); got"),
    "part": ({"zA": {"expression": "A", "part": "wheel"}}, "part must be one of target, core, .* got 'wheel'"),
    "each": ({"zA": {"expression": "A", "each": "voxel"}}, 'each must be "case", "target" or "organ"; got \'voxel\''),
    "neither": ({"zA": {"part": "ring"}}, "expression must be given, or else choice; got ''"),
    "placeholder": ({"zA": "{organ} + 3mm"}, "zA must not hold {organ} where each is 'case'; got"),
    "pattern": ({"zA": {"each": "organ", "expression": "{organ}"}}, "name must hold {organ} where each is 'organ'"),
    "gap": ({"zA": {"expression": "A", "away_from_higher": {}}}, "of must name the target to keep away_from_higher"),
    "level": ({"zA": {"expression": "A", "of": "A", "away_from_higher": {"level_gy": 0}}}, "level_gy must be positive"),
    "side": (
        {"zA": {"choice": {"among": ["A", "B"], "to": "C", "side": "north"}}},
        'side must be "ipsilateral" or "contralateral"; got \'north\'',
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_sets_that_are_not_valid_are_refused(kind):
    helpers, rule = WRONG[kind]
    with pytest.raises(InputError, match=rule):
        HelperSet(helpers)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(InputError, match="smallest_cc must be finite, zero or more; got -1"):
        HelperSet({}, smallest_cc=-1.0)
    with pytest.raises(InputError, match=r"largest_covered_percent must be in \[0, 100\]; got 101"):
        HelperSet({}, largest_covered_percent=101.0)
    with pytest.raises(InputError, match="extra_mm must be finite, zero or more"):
        HigherTargets(extra_mm=-1.0)
    with pytest.raises(InputError, match=r"among must name two organs; got \('A',\)"):
        SideChoice(("A",), "C", "ipsilateral")
