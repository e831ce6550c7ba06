"""What must hold of the repository as a whole: layers, sizes, what ships and what must never be in it."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dosewright.jobs.cli import JOBS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "dosewright"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LONGEST_LINES = 300

# Absolute paths of somebody's machine, and hosts of package registries: neither belongs in what we publish.
MACHINE_PATH = re.compile(r"(?<![\w.~}])/(?:work|tmp|root|opt)/|(?<![\w.])/home/\w")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.(?:org|com)|file:[/]{3}", re.IGNORECASE
)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def kept_files() -> list[Path]:
    """Files git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def package_copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package and of pyproject.toml, to break at will."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "dosewright", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


# Layers


def layer_names() -> set[str]:
    (contract,) = PROJECT["tool"]["importlinter"]["contracts"]
    return {name.strip(" ()") for layer in contract["layers"] for name in layer.split("|")}


def test_every_folder_of_the_package_has_a_layer() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - layer_names() == set()


def test_imports_go_one_way(package_copy: Path) -> None:
    result = lint_imports(package_copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Imports go one way KEPT" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "reported"),
    [
        ("core/grid.py", "import dosewright.io.reader", "dosewright.core is not allowed to import dosewright.io"),
        (
            "geometry/__init__.py",
            "import dosewright.dose",
            "dosewright.geometry and dosewright.dose are independent layers|"
            "dosewright.geometry is not allowed to import dosewright.dose",
        ),
        (
            "training/__init__.py",
            "import dosewright.planning",
            "dosewright.training is not allowed to import dosewright.planning",
        ),
    ],
    ids=["upward", "sibling", "learning from planning"],
)
def test_a_forbidden_import_is_reported(package_copy: Path, module: str, line: str, reported: str) -> None:
    path = package_copy / "dosewright" / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    result = lint_imports(package_copy)
    assert result.returncode == 1
    assert "Imports go one way BROKEN" in result.stdout
    assert re.search(reported, " ".join(result.stdout.split()))


def test_a_new_folder_without_a_layer_is_reported(package_copy: Path) -> None:
    folder = package_copy / "dosewright" / "helpers"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    result = lint_imports(package_copy)
    assert result.returncode == 1
    assert "helpers" in result.stdout + result.stderr


# Shape of the code


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_source_files_are_short_and_keep_their_annotations(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < LONGEST_LINES
    # Annotations turned into text are not checked by jaxtyping.
    futures = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    assert futures == []


def test_no_two_test_files_share_a_name() -> None:
    names = sorted(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert names == sorted(set(names))


# What ships


def test_the_configuration_ships_inside_the_package() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert (wheel.get("sources") or wheel["force-include"])["conf"] == "dosewright/conf"
    assert (ROOT / "conf" / "train.yaml").is_file()
    assert (PACKAGE / "py.typed").is_file()


def test_the_wheel_holds_every_configuration_file_but_nothing_local(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed, and tests do not download it")
    project = tmp_path / "project"
    kept = [path.relative_to(ROOT) for path in kept_files()]
    for path in kept:
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, project / path)
    (project / "conf" / "local" / "mine.yaml").write_text("wandb_key: secret\n")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"dosewright/{path.as_posix()}" for path in kept if path.parts[0] == "conf" and path.suffix == ".yaml"}
    assert {name for name in held if name.startswith("dosewright/conf/") and name.endswith(".yaml")} == configs
    assert {"dosewright/py.typed", "dosewright/core/grid.py"} <= held
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_the_licence_is_the_one_declared() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_every_pin_is_exact_sorted_and_named_once_per_platform() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert pins == sorted(pins)
    assert len(pins) == len(set(pins))
    assert [pin for pin in pins if not re.match(r"[a-z0-9-]+==[^=;\s]+( ; .+)?$", pin)] == []


# What must not be in it


def refuser() -> Callable[[Path], str | None]:
    spec = importlib.util.spec_from_file_location("refuse_patient_files", ROOT / ".ci" / "refuse_patient_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.refusal


def test_no_patient_file_and_nothing_large_is_committed() -> None:
    refusal = refuser()
    refused = {p.relative_to(ROOT).as_posix(): refusal(p) for p in kept_files()}
    assert {name: why for name, why in refused.items() if why} == {}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("slice.dcm", b"", "by its name"),
        ("plan.nii.gz", b"", "by its name"),
        ("weights.ckpt", b"", "by its name"),
        ("pt_12/notes.txt", b"x", "by its name"),
        ("provided-data/readme.md", b"x", "by its name"),
        ("anonymous", b"\0" * 128 + b"DICM" + b"\0" * 8, "is a DICOM file"),
        ("dose.csv", b",data\n5,1.0\n", "sparse volume"),
    ],
)
def test_a_patient_file_is_refused(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    script = ROOT / ".ci" / "refuse_patient_files.py"
    result = subprocess.run(
        [sys.executable, str(script), str(path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode == 1
    assert result.stdout.startswith(f"{path}: ")
    assert why in result.stdout


def test_twenty_megabytes_pass_and_one_byte_more_does_not(tmp_path: Path) -> None:
    refusal = refuser()
    path = tmp_path / "notebook.ipynb"
    path.touch()
    with path.open("r+b") as stream:
        stream.truncate(20_000_000)
    assert refusal(path) is None
    with path.open("r+b") as stream:
        stream.truncate(20_000_001)
    assert refusal(path) == "20.0 MB, above 20 MB"


def test_a_results_table_is_no_patient_file(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("model,dose_score_gy\nc3d,2.5\n")
    assert refuser()(tmp_path / "scores.csv") is None


def test_no_text_names_a_machine_path_or_a_registry() -> None:
    found = []
    for path in kept_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for p in (MACHINE_PATH, REGISTRY) for m in p.finditer(text)]
    assert found == []


@pytest.mark.parametrize("folder", ["work", "tmp", "root", "opt"])
def test_machine_paths_are_recognised(folder: str) -> None:
    assert MACHINE_PATH.search(f"see /{folder}/x")
    assert MACHINE_PATH.search(f"'/{folder}/x'")
    assert not MACHINE_PATH.search(f"project/{folder}/x")
    assert MACHINE_PATH.search("/home" + "/anna/x")


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path in kept_files():
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)} -> {target}")
    assert broken == []


def test_the_command_lines_page_lists_the_jobs_there_are() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert re.findall(r"^\| `([\w-]+)` \| `conf/\1\.yaml` \|", page, re.MULTILINE) == list(JOBS)
