import math

import pytest
import torch

from dosewright.core import InputError
from dosewright.training.schedule import cosine_with_warmup


def rates(steps: int, **options: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = cosine_with_warmup(optimizer, steps, **options)
    seen = []
    for _ in range(steps + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_the_rate_rises_linearly_then_falls_along_half_a_cosine():
    seen = rates(200, warmup_steps=4, final_fraction=0.1)
    rise = [0.5 * (step + 1) / 5 for step in range(4)]
    fall = [0.5 * (0.1 + 0.9 * (1 + math.cos(math.pi * (step - 4) / 196)) / 2) for step in range(4, 201)]
    assert seen == pytest.approx(rise + fall, rel=1e-12)
    assert seen[4] == 0.5
    assert seen[102] == pytest.approx(0.5 * (0.1 + 0.9 / 2), rel=1e-12)
    assert seen[200] == pytest.approx(0.05, rel=1e-12)


def test_the_warm_up_takes_at_most_a_tenth():
    seen = rates(20, warmup_steps=100)
    assert seen[:3] == pytest.approx([0.5 / 3, 0.5 * 2 / 3, 0.5], rel=1e-12)


def test_steps_after_the_last_keep_the_last_rate():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    factor = cosine_with_warmup(optimizer, 10, final_fraction=0.2).lr_lambdas[0]
    assert factor(10) == factor(1000) == pytest.approx(0.2, rel=1e-12)


def test_bad_values_are_refused():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    with pytest.raises(
        InputError, match="total_steps must be positive: give the trainer max_epochs or max_steps; got 0"
    ):
        cosine_with_warmup(optimizer, 0)
    for wrong in (-0.1, 1.1):
        with pytest.raises(InputError, match=rf"final_fraction must be in \[0, 1\]; got {wrong}"):
            cosine_with_warmup(optimizer, 10, final_fraction=wrong)
