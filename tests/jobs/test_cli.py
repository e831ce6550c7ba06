import re
import subprocess
import sys
from pathlib import Path

import pytest

import dosewright
from dosewright.jobs import cli


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    return raised.value.code


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_lists_every_job_on_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*arguments) == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: dosewright <job> [hydra overrides]")
    for job, line in cli.JOBS.items():
        assert re.search(rf"^  {job} +{re.escape(line)}$", told, re.MULTILINE)


def test_no_job_at_all_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code() == 2
    assert "usage: dosewright" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"dosewright {dosewright.__version__}\n"


def test_a_misspelt_job_is_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("trian", "seed=1") == 2
    assert capsys.readouterr().err.startswith("dosewright: there is no job 'trian'; did you mean 'train'?\n\nusage:")
    assert exit_code("xyz") == 2
    assert capsys.readouterr().err.startswith("dosewright: there is no job 'xyz'\n\nusage:")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom dosewright.jobs import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'hydra', 'omegaconf', 'pytorch_lightning', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_job_shows_its_configuration_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dosewright.jobs.cli", "train", "--cfg", "job", "trainer.max_epochs=7"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "max_epochs: 7" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_conf_inside_the_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    monkeypatch.setattr(dosewright, "__file__", str(tmp_path / "__init__.py"))
    assert cli.conf_dir() == tmp_path / "conf"
