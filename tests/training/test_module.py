from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from dosewright.core import CheckpointError, InputError, keys
from dosewright.datasets.dataset import REPEATED
from dosewright.datasets.sample import collate
from dosewright.dose.openkbp import cohort_score, patient_score
from dosewright.io.prepared import PreparedReader
from dosewright.jobs.train import build_data, build_module
from dosewright.training.module import DoseModule
from tiny import training


class Exact(nn.Module):
    """Knows the dose, off by a constant and by some outside the mask."""

    stride = 8

    def __init__(self, batch: dict, offset_gy: float) -> None:
        super().__init__()
        self.dose = (batch[keys.DOSE] + offset_gy) / 70.0

    def forward(self, image: Tensor) -> Tensor:
        return self.dose


class Returns(nn.Module):
    def __init__(self, *outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.outputs


class SeeingLoss(nn.Module):
    def forward(self, dose_gy: tuple[Tensor, ...], batch: dict) -> Tensor:
        self.seen = dose_gy
        return torch.tensor(3.0)


@pytest.fixture
def module(prepared_root: Path, tmp_path: Path) -> DoseModule:
    return build_module(training(prepared_root, tmp_path, "model.widths=[4,6,8]"))


@pytest.fixture(scope="module")
def batch(prepared_root: Path) -> dict:
    """Both validation cases, cropped to the dose mask and padded to a multiple of eight."""
    cfg = training(prepared_root, Path("unused"), "model.widths=[4,6,8]")
    dataset = build_data(cfg, build_module(cfg)).dataset("validation")
    return collate([dataset[0], dataset[1]])


def logged(module: DoseModule) -> dict[str, tuple[float, int]]:
    seen: dict[str, tuple[float, int]] = {}

    def log(name: str, value: float | Tensor, **options: object) -> None:
        seen[name] = (float(value), int(options["batch_size"]))  # type: ignore[call-overload]

    module.log = log  # type: ignore[method-assign, assignment]
    return seen


@pytest.mark.parametrize("offset_gy", [0.0, 1.5, -40.0])
def test_validation_scores_are_those_of_the_whole_volumes(
    module: DoseModule, batch: dict, prepared_root: Path, offset_gy: float
):
    module.net = Exact(batch, offset_gy)
    seen = logged(module)
    dose_gy = module.validation_step(batch, 0)
    scores = []
    for case in PreparedReader(prepared_root, "validation"):
        predicted = np.where(case.scored_mask, np.maximum(case.dose_gy + np.float32(offset_gy), 0), 0)
        scores.append(
            patient_score(predicted, case.dose_gy, case.scored_mask, case.structures, case.grid.voxel_volume_mm3)
        )
    expected = cohort_score(scores)
    assert seen["val/dose_score"] == (pytest.approx(expected.dose_score_gy, rel=1e-5, abs=1e-6), 2)
    # Two targets with three metrics and three organs with two, in both cases.
    assert seen["val/dvh_score"] == (pytest.approx(expected.dvh_score_gy, rel=1e-5, abs=1e-6), 2 * (2 * 3 + 3 * 2))
    assert float(dose_gy.min()) >= 0
    assert not (dose_gy * ~batch[keys.DOSE_MASK]).any()


def test_a_case_without_scored_structures_has_no_dvh_score(module: DoseModule, batch: dict):
    module.net = Exact(batch, 1.0)
    seen = logged(module)
    module.validation_step(batch | {keys.STRUCTURES: torch.zeros_like(batch[keys.STRUCTURES])}, 0)
    assert seen["val/dose_score"][1] == 2
    assert seen["val/dvh_score"] == (0.0, 0)  # logged, as on every other process, but without weight


def test_a_repeated_case_has_no_weight(module: DoseModule, batch: dict):
    module.net = Exact(batch, 1.0)
    seen = logged(module)
    module.validation_step(batch | {REPEATED: [True]}, 0)
    assert seen == {"val/dose_score": (0.0, 0), "val/dvh_score": (0.0, 0)}


def test_the_parts_of_a_weighted_loss_are_logged(module: DoseModule, batch: dict):
    module.net = Exact(batch, 2.0)
    seen = logged(module)
    module.training_step(batch, 0)
    assert set(seen) == {"train/loss", "train/l1", "train/moment"}
    assert seen["train/l1"] == (pytest.approx(2.0, rel=1e-5), 2)
    assert seen["train/loss"][0] == pytest.approx(seen["train/l1"][0] + 0.25 * seen["train/moment"][0], rel=1e-6)


def test_the_forward_pass_is_in_gy_and_takes_the_final_dose_of_several(module: DoseModule, batch: dict):
    final, coarse = torch.rand(2, 1, 16, 32, 32), torch.rand(2, 1, 8, 16, 16)
    module.net = Returns(final.half(), coarse)
    dose_gy = module(batch[keys.IMAGE])
    assert dose_gy.dtype == torch.float32
    torch.testing.assert_close(dose_gy, final.half().float() * 70, rtol=0, atol=0)


def test_the_loss_sees_every_output_in_gy(module: DoseModule, batch: dict):
    final, coarse = torch.rand(2, 1, 16, 32, 32), torch.rand(2, 1, 8, 16, 16)
    module.net = Returns(final, coarse)
    module.loss = SeeingLoss()
    seen = logged(module)
    assert float(module.training_step(batch, 0)) == 3.0
    torch.testing.assert_close(list(module.loss.seen), [final * 70, coarse * 70], rtol=0, atol=0)
    assert seen["train/loss"] == (3.0, 2)


def test_the_scheduler_is_stepped_per_batch_over_the_whole_training(module: DoseModule):
    module._trainer = SimpleNamespace(estimated_stepping_batches=30)  # type: ignore[assignment]
    made = module.configure_optimizers()
    assert type(made["optimizer"]) is torch.optim.AdamW
    assert made["lr_scheduler"]["interval"] == "step"
    factor = made["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert factor(30) == pytest.approx(0.01, rel=1e-12)
    assert factor(29) > 0.0125  # still on the way down: the end is at step 30


def test_a_training_without_end_is_refused(module: DoseModule):
    module._trainer = SimpleNamespace(estimated_stepping_batches=float("inf"))  # type: ignore[assignment]
    with pytest.raises(InputError, match="trainer must have an end: set max_epochs or max_steps; got inf"):
        module.configure_optimizers()


def test_a_training_without_scheduler_has_the_optimiser_alone(prepared_root: Path, tmp_path: Path):
    cfg = training(prepared_root, tmp_path, "~scheduler", "optimizer.lr=0.25")
    optimizer = build_module(cfg).configure_optimizers()
    assert optimizer.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize(
    ("key", "other"),
    [("model", {"_target_": "another"}), ("channels", {}), ("dose_scale_gy", 1.0)],
)
def test_a_checkpoint_of_another_net_is_refused_by_name(module: DoseModule, key: str, other: object):
    theirs = OmegaConf.to_container(OmegaConf.create(dict(module.hparams)))
    assert isinstance(theirs, dict)
    module.on_load_checkpoint({"hyper_parameters": theirs})
    with pytest.raises(CheckpointError, match=f"{key} must be the one the checkpoint was trained with"):
        module.on_load_checkpoint({"hyper_parameters": theirs | {key: other}})


def test_channels_last_changes_the_memory_order_alone(prepared_root: Path, tmp_path: Path, batch: dict):
    made = []
    for choice in ("false", "true"):
        torch.manual_seed(0)
        made.append(build_module(training(prepared_root, tmp_path, f"channels_last={choice}")))
    plain, last = made
    weight = last.net.stem.weight  # type: ignore[union-attr]
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert not plain.net.stem.weight.is_contiguous(memory_format=torch.channels_last_3d)  # type: ignore[union-attr]
    with torch.no_grad():
        torch.testing.assert_close(last(batch[keys.IMAGE]), plain(batch[keys.IMAGE]), rtol=1e-4, atol=1e-3)
