"""Every `dosewright …` line of the documentation is a command that Hydra composes."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from omegaconf import OmegaConf

from dosewright.jobs.cli import JOBS, conf_dir

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "data" / "README.md",
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("experiments/**/README.md"),
]
FLAGS = {"-m", "--multirun", "--help", "--cfg", "job"}


def commands() -> list[tuple[str, str]]:
    """Page and command of every indented line, without what is said about it to its right."""
    found = []
    for page in sorted(PAGES):
        for line in re.findall(r"^ {4,}(dosewright .*)$", page.read_text(), re.MULTILINE):
            command = re.split(r"\s{2,}|\s#", line)[0]
            if not command.startswith(("dosewright <job>", "dosewright --")):
                found.append((str(page.relative_to(ROOT)), command))
    return found


def one_of(override: Override) -> str:
    """Return an override with one value instead of several to be swept over."""
    if isinstance(override.value(), Glob):
        return f"{override.get_key_element()}={sorted((conf_dir() / override.key_or_group).glob('*.yaml'))[0].stem}"
    if override.is_choice_sweep() or override.is_range_sweep():
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    if override.is_interval_sweep():
        return f"{override.get_key_element()}={override.value().start}"  # type: ignore[union-attr]
    return str(override.input_line)


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_documented_command_composes(page: str, command: str) -> None:
    _, job, *arguments = shlex.split(re.sub(r" \[([^\]]*)\]", r" \1", command))  # what is optional is given, too
    assert job in JOBS
    given = [argument for argument in arguments if argument not in FLAGS]
    several = [o for o in OverridesParser.create().parse_overrides(given) if o.is_sweep_override()]
    assert bool(several) == bool({"-m", "--multirun"} & set(arguments))
    if several == [] and not given:
        return  # `--help` and `--cfg job` alone
    single = [one_of(o) for o in OverridesParser.create().parse_overrides(given)]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose(job, overrides=single, return_hydra_config=True)
    OmegaConf.set_readonly(cfg, False)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


def test_the_documentation_shows_every_job_but_the_demo_with_overrides() -> None:
    shown = {command.split()[1] for _, command in commands() if "=" in command}
    assert set(JOBS) - {"demo"} <= shown
