"""Both stages learn two phantoms with real photon plans by heart, and the sliders then do what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dosewright.core import PatientCase
from dosewright.inference.predictor import Predictor
from dosewright.inference.preference import Preference
from dosewright.inference.weights import load_model
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs.train import run
from dosewright.planning.phantom_plans import PhantomReader
from tiny import config

COMMON = (
    *("data=prepared", "trainer.precision=32-true", "callbacks.pictures=null", "augmentation.flip_probability=0"),
    *("trainer.check_val_every_n_epoch=10000", "scheduler.warmup_steps=10", "datamodule.samples_per_epoch=40"),
)
STAGE1 = (
    *("module=stage1", "model=dose_codec", "channels=dose_only", "loss=masked_l1", "callbacks=no_ema"),
    *("model.latent_channels=16", "model.widths=[8,16,32]", "model.quantiser.codebook_size=64", "optimizer.lr=3e-3"),
    *("module.adversary=null", "module.uniformity=null", "module.quantise_from=120", "trainer.max_epochs=12"),
)
STAGE2 = (
    *("module=two_stage", "model=two_stage", "loss=two_stage", "callbacks=no_ema", "model.latent_channels=16"),
    *("model.decoder.widths=[8,16,32]", "model.widths=[16,32,48]", "model.refine_width=16", "optimizer.lr=3e-3"),
    *("module.latent_weight=0.1", "trainer.max_epochs=20"),
)


@pytest.fixture(scope="module", autouse=True)
def _two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms as prepared training and validation cases, on a coarse grid."""
    pytest.importorskip("pyRadPlan", reason="the extra `plans` is not installed")
    root = tmp_path_factory.mktemp("phantoms")
    reader = PhantomReader(root / "plans", count=2, shape_zyx=(32, 32, 32), spacing_xyz_mm=(9.0, 9.0, 9.0))
    for case_id in reader.case_ids:
        case = reader.read(case_id)
        for split in ("train", "validation"):
            write_case(root / split / f"{case_id}.case", case)
    return root


@pytest.fixture(scope="module")
def stage1(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Weights of Stage I and its reconstruction error in Gy."""
    out = tmp_path_factory.mktemp("stage1")
    error_gy = run(config("train", *COMMON, *STAGE1, f"data.root={phantoms}", f"out={out}"))
    assert error_gy is not None
    return out / "model.safetensors", error_gy


@pytest.fixture(scope="module")
def two_stage(phantoms: Path, stage1: tuple[Path, float], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of Stage II with sliders."""
    out = tmp_path_factory.mktemp("two_stage")
    run(config("train", *COMMON, *STAGE2, f"data.root={phantoms}", f"out={out}", f"module.stage1={stage1[0]}"))
    return out / "model.safetensors"


def cases(root: Path) -> list[PatientCase]:
    reader = PreparedReader(root, split="train")
    return [reader.read(case_id) for case_id in reader.case_ids]


def test_the_codec_learns_two_doses_by_heart(stage1: tuple[Path, float]):
    assert stage1[1] < 1.0


def test_the_neutral_dose_is_learnt_by_heart(phantoms: Path, two_stage: Path):
    predictor = Predictor([load_model(two_stage)], flip=False)
    for case in cases(phantoms):
        gap = np.abs(predictor.predict(case) - case.dose_gy)[case.scored_mask]
        assert float(gap.mean()) < 0.5


def test_sparing_lowers_organs_and_costs_homogeneity(phantoms: Path, two_stage: Path):
    predictor = Predictor([load_model(two_stage)], flip=False)
    for case in cases(phantoms):
        targets = np.logical_or.reduce([case.structures[name] for name in case.targets])
        highest = case.structures[max(case.prescription_gy, key=lambda name: case.prescription_gy[name])]
        organs = {n: m & ~targets for n, m in case.structures.items() if n in ("Parotid_L", "Parotid_R", "SpinalCord")}
        less, more = predictor.predict_many(case, [Preference(sparing=0.8), Preference(sparing=1.2)])
        for name, mask in organs.items():
            asked = 0.4 * float(case.dose_gy[mask].mean())  # from 1.2 to 0.8 of the reference mean
            moved = float(more[mask].mean() - less[mask].mean())
            assert 0.25 * asked < moved < 1.5 * asked, name
        spread = [float(np.subtract(*np.percentile(dose[highest], [98, 2]))) for dose in (less, more)]
        assert spread[0] > spread[1]
