"""Errors: their text, their kinds, and their way between processes."""

import pickle
from pathlib import Path

import pytest

from dosewright.core import (
    CaseError,
    CheckpointError,
    DosewrightError,
    GridMismatchError,
    InputError,
    StorageError,
    SubmissionError,
)

INPUT_ERRORS = [InputError, CaseError, GridMismatchError, CheckpointError, SubmissionError]


@pytest.mark.parametrize("kind", INPUT_ERRORS)
def test_text_has_path_argument_rule_and_value_in_this_order(kind: type[InputError]) -> None:
    error = kind("must be positive", argument="spacing_xyz_mm", value=-1.0, path=Path("pt_1/ct.csv"))
    assert str(error) == "pt_1/ct.csv: spacing_xyz_mm must be positive; got -1.0"
    assert (error.rule, error.argument, error.value) == ("must be positive", "spacing_xyz_mm", -1.0)
    assert error.path == Path("pt_1/ct.csv")


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({}, "must exist"),
        ({"value": None}, "must exist; got None"),
        ({"argument": "data.root"}, "data.root must exist"),
        ({"path": "a.csv"}, "a.csv: must exist"),
        ({"path": "a.csv", "value": "x"}, "a.csv: must exist; got 'x'"),
    ],
    ids=str,
)
def test_what_is_not_given_is_not_mentioned(details: dict, text: str) -> None:
    assert str(InputError("must exist", **details)) == text


def test_long_values_are_cut_at_200_characters() -> None:
    assert str(InputError("is long", value="a" * 198)) == f"is long; got {'a' * 198!r}"
    shown = str(InputError("is long", value="a" * 199)).removeprefix("is long; got ")
    assert len(shown) == 200
    assert shown.endswith("aaa...")


@pytest.mark.parametrize("kind", INPUT_ERRORS)
def test_input_errors_are_value_errors(kind: type[InputError]) -> None:
    assert issubclass(kind, ValueError)
    assert issubclass(kind, DosewrightError)


def test_storage_errors_are_os_errors() -> None:
    assert issubclass(StorageError, OSError)
    assert issubclass(StorageError, DosewrightError)
    assert not issubclass(StorageError, InputError)


@pytest.mark.parametrize("kind", INPUT_ERRORS)
def test_an_error_of_a_worker_process_arrives_whole(kind: type[InputError]) -> None:
    sent = kind("must be positive", argument="fractions", value=0, path="case.b2")
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is kind
    assert str(received) == str(sent) == "case.b2: fractions must be positive; got 0"
    assert (received.rule, received.argument, received.value, received.path) == (
        "must be positive",
        "fractions",
        0,
        "case.b2",
    )


def test_a_storage_error_of_a_worker_process_keeps_its_text() -> None:
    assert str(pickle.loads(pickle.dumps(StorageError("out.zip: no space left")))) == "out.zip: no space left"
