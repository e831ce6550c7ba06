"""Learning-rate schedules, stepped once per optimiser step."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from dosewright.core import InputError


def cosine_with_warmup(
    optimizer: Optimizer, total_steps: int, warmup_steps: int = 100, final_fraction: float = 0.01
) -> LambdaLR:
    """Return a schedule that rises linearly, then falls along a half cosine to `final_fraction` of the rate.

    The warm-up takes `warmup_steps`, but never more than a tenth of `total_steps`: a short training warms up less.

    Raises:
        InputError: If there is no step to take, or the fraction is outside [0, 1].
    """
    if total_steps < 1:
        raise InputError(
            "must be positive: give the trainer max_epochs or max_steps", argument="total_steps", value=total_steps
        )
    if not 0.0 <= final_fraction <= 1.0:
        raise InputError("must be in [0, 1]", argument="final_fraction", value=final_fraction)
    warmup = min(warmup_steps, total_steps // 10)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        return final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)
