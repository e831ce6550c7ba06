"""Files that no program wrote: every one gives a card or an `InputError` that names the file."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scorecard_samples import phantom, plan_score_card_json, random_dose

from dosewright.core import InputError
from dosewright.scorecards import (
    ScoreCard,
    Scorer,
    read_plan_score_card,
    read_proknow,
    read_score_card,
    write_plan_score_card,
)
from dosewright.scorecards.plan_score_card import plan_score_card_content

READERS = (read_plan_score_card, read_proknow, read_score_card)
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    "",
    "NaN",
    "\ud800",
    "{<PTV>}|",
    [],
    [[]],
    {},
    {"Structure": 1},
    1e-320,
]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must be JSON"),
        ("{", "must be JSON"),
        ("[]", "content must be an object"),
        ("null", "content must be an object"),
        (
            '{"ScoreTemplates": [], "computed": [], "ScoreTemplates": []}',
            "key must occur once in an object; got 'ScoreT",
        ),
        ('{"ScoreTemplates": [], "computed": [], "x": NaN}', "content must hold finite numbers only; got 'NaN'"),
        (
            '{"ScoreTemplates": [], "computed": [], "x": [-Infinity]}',
            "content must hold finite numbers only; got '-Inf",
        ),
        ('{"ScoreTemplates": [], "computed": [], "x": 1e999}', "content must hold finite numbers only; got inf"),
        ('{"ScoreTemplates": [], "computed": [], "x": ' + "9" * 5000 + "}", "must be JSON"),
        ("[" * 100_000, "must be JSON|nested at most 32 deep"),
        ('{"ScoreTemplates": ' + "[" * 40 + "]" * 40 + "}", "content must be nested at most 32 deep"),
        ('{"computed": ' * 100 + "1" + "}" * 100, "content must be nested at most 32 deep"),
        ("\x00\x01", "must be JSON"),
    ],
)
def test_text_that_is_no_card(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "card.json"
    path.write_text(text)
    for read in READERS:
        with pytest.raises(InputError, match=rule) as refused:
            read(path)
        assert str(path) in str(refused.value)


def test_bytes_that_are_no_text_missing_and_huge_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xff\xd8")
    (tmp_path / "large.json").write_bytes(b" " * 101)
    for read in READERS:
        with pytest.raises(InputError, match=r"bytes.json: content must be JSON"):
            read(tmp_path / "bytes.json")
        with pytest.raises(InputError, match=r"none.json: file cannot be read: No such file"):
            read(tmp_path / "none.json")
        with pytest.raises(InputError, match="file cannot be read: Is a directory"):
            read(tmp_path)
    monkeypatch.setattr("dosewright.core.strict_json.BYTES_MAX", 100)
    with pytest.raises(InputError, match=r"large.json: file must have at most 100 bytes; got 101"):
        read_score_card(tmp_path / "large.json")


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [found for key, child in children for found in ((*path, key), *places(child, (*path, key)))]


PLACES = places({**plan_score_card_json(), "ScoreTemplates": plan_score_card_json()["ScoreTemplates"][1:4]})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from([KeyError, *ODD])), min_size=1, max_size=3))
def test_mutated_cards_score_round_trip_or_say_why(
    tmp_path: Path, mutations: list[tuple[tuple[Any, ...], Any]]
) -> None:
    content = plan_score_card_json()
    content["ScoreTemplates"] = content["ScoreTemplates"][1:4]
    for path, value in mutations:
        mutate(content, path, value)
    file = tmp_path / "card.json"
    file.write_text(json.dumps(content))
    card, message = read_or_message(file)
    if card is None:
        assert str(file) in message
        return
    again = read_plan_score_card(write_plan_score_card(tmp_path / "again.json", card))
    assert plan_score_card_content(again) == plan_score_card_content(card)
    report = Scorer(card, phantom())(random_dose())
    assert len(report.items) == len(card.items)
    for entry in report.items:
        assert (entry.score is None) == bool(entry.reason)
        assert entry.score is None or entry.value is not None


def read_or_message(file: Path) -> tuple[ScoreCard | None, str]:
    try:
        return read_plan_score_card(file), ""
    except InputError as error:
        return None, str(error)


def mutate(content: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        if not (
            (isinstance(content, dict) and key in content)
            or (isinstance(content, list) and type(key) is int and key < len(content))
        ):
            return
        content = content[key]
    if (isinstance(content, list) and (type(path[-1]) is not int or path[-1] >= len(content))) or not isinstance(
        content, dict | list
    ):
        return
    if value is not KeyError:
        content[path[-1]] = copy.deepcopy(value)
    elif isinstance(content, dict):
        content.pop(path[-1], None)
    else:
        del content[path[-1]]
