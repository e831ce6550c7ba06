"""The dose influence of one patient, as the benchmarks of plans take it."""

import argparse
import tempfile
from pathlib import Path

from dosewright.core import PatientCase
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.influence_cache import cached_influence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.io.openkbp import OpenKBPReader
from harness.patients import openkbp_root, parser


def influence_parser(text: str, repeats: int) -> argparse.ArgumentParser:
    """Return a parser of the options that `case_and_influence` reads."""
    arguments = parser(text, repeats=repeats)
    arguments.add_argument("--case", default=None, help="patient of the validation split; default: the first")
    arguments.add_argument("--cache", type=Path, help="folder that keeps the matrix; default: a temporary one")
    arguments.add_argument("--beamlet-mm", type=float, default=5.0)
    arguments.add_argument("--dose-spacing-mm", type=float, default=5.0)
    return arguments


def case_and_influence(options: argparse.Namespace) -> tuple[PatientCase, DoseInfluence]:
    """Return the patient and the influence of its beams that the options ask for."""
    with openkbp_root(options.root) as root:
        reader = OpenKBPReader(root, "validation", require_dose=False)
        case = reader.read(options.case or reader.case_ids[0])
        return case, influence_of(case, options)


def influence_of(case: PatientCase, options: argparse.Namespace) -> DoseInfluence:
    """Return the influence of a case's beams at the resolution that the options ask for, from their cache if any."""
    settings = InfluenceSettings(options.beamlet_mm, options.dose_spacing_mm)
    with tempfile.TemporaryDirectory() as folder:
        return cached_influence(case, settings, options.cache or folder)
