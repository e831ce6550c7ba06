"""Errors raised while Hydra builds an object come out as themselves."""

from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from dosewright.core import CaseError
from dosewright.jobs.hydra_task import Task, build
from tiny import config


def test_a_reader_that_cannot_be_built_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = (f"data.root={tmp_path}", f"predictions={tmp_path}", f"out={tmp_path}")
    with pytest.raises(SystemExit) as stopped:
        Task("evaluate")._run_or_exit(config("evaluate", "data=openkbp", "data.split=validation", *paths))
    assert stopped.value.code == 1
    folder = tmp_path / "provided-data" / "validation-pats"
    told = f"{folder}: data.root must hold provided-data/validation-pats; got 'no such folder'"
    assert capsys.readouterr().err == f"dosewright evaluate: {told}\n"


def test_only_errors_of_the_package_are_unwrapped(tmp_path: Path) -> None:
    reader = {"_target_": "dosewright.io.openkbp.OpenKBPReader", "root": str(tmp_path)}
    cached = {"_target_": "dosewright.io.prepared.CachedReader", "source": reader, "folder": str(tmp_path)}
    with pytest.raises(CaseError, match=r"data\.root must hold provided-data/train-pats"):
        build(OmegaConf.create(cached))
    with pytest.raises(InstantiationException, match="unexpected keyword argument 'no_such_argument'"):
        build(OmegaConf.create(reader), no_such_argument=1)
