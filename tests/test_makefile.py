"""The Makefile on a bare machine, with stand-ins for Python so that nothing is downloaded."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("sh", "rm", "touch", "mkdir", "cat", "chmod", "dirname", "bash", "env")

TOO_OLD = '#!/bin/sh\ncase "$1" in -c) exit 1;; esac\n'
# A Python that passes the version check; `-m venv` makes a folder with a twin of itself that writes down its arguments.
GOOD = """#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin"; cat "$0" > "$3/bin/python"; chmod +x "$3/bin/python";;
  "-m pip") echo "$@" >> pip.log; exit "${PIP_STATUS:-0}";;
esac
"""


class BareMachine:
    """A folder with the Makefile in it, and a PATH that holds only the tools of `TOOLS` and the Pythons put there."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.root = folder / "bin", folder / "project"
        self.bin.mkdir()
        self.root.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)

    def put(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        make = shutil.which("make")
        assert make is not None
        return subprocess.run(
            [make, *arguments],
            cwd=self.root,
            env={"PATH": str(self.bin), "LC_ALL": "C", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def installs(self) -> list[str]:
        log = self.root / "pip.log"
        return [line for line in log.read_text().splitlines() if " install " in line] if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> BareMachine:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return BareMachine(tmp_path)


def test_without_any_python_the_message_says_what_to_install(machine: BareMachine) -> None:
    result = machine.make("setup")
    assert result.returncode != 0
    assert "Dosewright needs Python 3.11 or newer: found no python3, python3.13" in result.stdout
    assert not (machine.root / ".venv").exists()


def test_an_old_python_named_by_hand_is_refused(machine: BareMachine) -> None:
    machine.put("python3.9", TOO_OLD)
    result = machine.make("setup", "PYTHON=python3.9")
    assert result.returncode != 0
    assert "Dosewright needs Python 3.11 or newer; PYTHON=python3.9 is not" in result.stdout


def test_an_old_python3_gives_way_to_the_newest_that_is_there(machine: BareMachine) -> None:
    machine.put("python3", TOO_OLD)
    machine.put("python3.11", GOOD)
    machine.put("python3.12", GOOD)
    result = machine.make("setup")
    assert result.returncode == 0, result.stderr
    assert "Making .venv with python3.12" in result.stdout


def test_setup_installs_torch_the_extras_and_the_pins_once(machine: BareMachine) -> None:
    machine.put("python3", GOOD)
    assert machine.make("setup").returncode == 0
    (install,) = machine.installs
    assert "torch==2.13.0" in install
    assert "-e .[plans,sweeps,factory,notebooks,dev] -c constraints.txt" in install
    second = machine.make("setup")
    assert second.returncode == 0
    assert second.stdout.count("Installing") == 0
    assert len(machine.installs) == 1


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_dependency_is_installed_again(machine: BareMachine, name: str) -> None:
    machine.put("python3", GOOD)
    machine.make("setup")
    later = (machine.root / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(machine.root / name, (later, later))
    assert machine.make("setup").returncode == 0
    assert len(machine.installs) == 2


def test_a_failed_install_is_tried_again(machine: BareMachine) -> None:
    machine.put("python3", GOOD)
    assert machine.make("setup", PIP_STATUS="1").returncode != 0
    assert not (machine.root / ".venv" / ".installed").exists()
    assert machine.make("setup").returncode == 0
    assert (machine.root / ".venv" / ".installed").exists()


def test_an_existing_venv_is_used_even_without_a_python_on_the_path(machine: BareMachine) -> None:
    machine.put("python3", GOOD)
    machine.make("setup")
    (machine.root / ".venv" / ".installed").unlink()
    (machine.bin / "python3").unlink()
    result = machine.make("setup")
    assert result.returncode == 0, result.stdout
    assert "Making" not in result.stdout
    assert len(machine.installs) == 2


def test_an_existing_venv_of_an_old_python_is_refused(machine: BareMachine) -> None:
    machine.put("python3", GOOD)
    machine.make("setup")
    (machine.root / ".venv" / ".installed").unlink()
    (machine.root / ".venv" / "bin" / "python").write_text(TOO_OLD)
    result = machine.make("setup")
    assert result.returncode != 0
    assert ".venv was made with a Python older than 3.11: run make distclean first" in result.stdout


@pytest.mark.parametrize(
    ("target", "commands"),
    [
        ("demo", ["dosewright demo"]),
        ("test", ["ruff check --no-cache .", "ruff format --check .", "lint-imports", "mypy", "python -m pytest"]),
        ("lint", ["ruff check --no-cache .", "ruff format --check .", "lint-imports"]),
        ("types", ["mypy"]),
    ],
)
def test_each_target_sets_up_first_and_then_runs_its_commands(
    machine: BareMachine, target: str, commands: list[str]
) -> None:
    machine.put("python3", GOOD)
    planned = machine.make("--dry-run", target).stdout
    setup, _, rest = planned.partition("touch .venv/.installed\n")
    assert "-m pip install" in setup
    assert rest.splitlines() == [f".venv/bin/{command}" for command in commands]


def test_ci_runs_make_test_in_the_root_from_anywhere(machine: BareMachine, tmp_path: Path) -> None:
    (machine.root / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", machine.root / ".ci")
    machine.put("make", '#!/bin/sh\necho "$PWD: make $*"; exit 7\n')
    result = subprocess.run(
        [machine.root / ".ci" / "run"],
        cwd=tmp_path,
        env={"PATH": str(machine.bin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == f"{machine.root}: make test\n"
    assert result.returncode == 7
