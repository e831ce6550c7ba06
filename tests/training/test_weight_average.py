"""The running mean of the weights against its recursion written out, in short trainings and across a resume."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from dosewright.core import InputError
from dosewright.training.callbacks import LastCheckpoint
from dosewright.training.weight_average import WarmedAverage


class _Counting(pl.LightningModule):
    """Its weight is the number of optimiser steps taken."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        self.seen += 1
        return -self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def trained(steps: int, decay: float, checkpoint: Path | None = None, save: Path | None = None) -> _Counting:
    module = _Counting()
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=save is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[WarmedAverage(decay), *([] if save is None else [LastCheckpoint(save)])],
    )
    loader = DataLoader(torch.zeros(6, 1), batch_size=1)
    trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=False)
    return module


def expected(steps: int, decay: float) -> float:
    mean = 1.0  # the first update takes the weights as they are
    for updates in range(1, steps):
        keep = min(decay, (1 + updates) / (10 + updates))
        mean = keep * mean + (1 - keep) * (updates + 1)
    return mean


@pytest.mark.parametrize(("steps", "decay"), [(1, 0.9), (30, 0.9), (30, 0.998), (200, 0.9), (5, 0.0)])
def test_the_mean_is_its_recursion(steps: int, decay: float) -> None:
    module = trained(steps, decay)
    assert float(module.weight.detach()) == pytest.approx(expected(steps, decay), rel=1e-5)
    assert int(module.seen) == steps  # counters are taken as they are


def test_a_short_training_forgets_how_it_began() -> None:
    fixed = 60 - sum(0.998**k for k in range(1, 60))  # a mean of fixed decay lags by nearly all steps
    assert 60 - fixed > 55
    assert 60 - float(trained(60, 0.998).weight.detach()) < 8


def test_a_resumed_training_goes_on_with_the_mean(tmp_path: Path) -> None:
    trained(12, 0.95, save=tmp_path / "half.ckpt")
    whole, resumed = trained(30, 0.95), trained(30, 0.95, checkpoint=tmp_path / "half.ckpt")
    torch.testing.assert_close(resumed.weight, whole.weight)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decays_that_are_refused(decay: float) -> None:
    with pytest.raises(InputError, match=r"callbacks.ema.decay must be in \[0, 1\)"):
        WarmedAverage(decay)
