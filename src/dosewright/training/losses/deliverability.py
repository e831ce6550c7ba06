"""How far a predicted dose is from one that the patient's beams can deliver."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core import InputError, keys
from dosewright.fluence.implicit import optimised_dose
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.solver import StopRule
from dosewright.objectives.penalty import DosePenalty
from dosewright.objectives.terms.quadratic import QuadraticTerm
from dosewright.training.losses.deliverable_cases import DeliverableCase, DeliverableCases


class DeliverabilityLoss(nn.Module):
    """Mean |p − a(p)| in Gy over the dose mask, where a(p) is the deliverable dose nearest to the prediction p.

    a(p) = D x, with the fluence x ≥ 0 of least Σ (p − D x)² over the voxels of a coarse dose grid in the dose mask. The
    gradient passes through a(p) by implicit differentiation (`fluence.implicit`): what the beams can do costs nothing
    and has no gradient, what they cannot is pulled to the nearest they can. It says nothing about whether the dose is a
    good one: for a sum with a loss that compares with the reference.

    Batches hold whole cases as their reader gives them, or mirrored left to right; turned, shifted or randomly cut
    samples no longer fit the beams and are refused (augmentation=none or flips). Only the final, full-size output of a
    net is taken.

    The first search of a case starts from equal fluence, later ones from what was found before, which is kept in memory
    and not in checkpoints: a resumed training differs within the solver's tolerance.

    Args:
        cases: Dose influences by case.
        max_steps: Of the fluence search.
        value_tolerance: The search ends when the squared distance fell by less than this share over ten steps.
        gradient_steps: Of the conjugate gradients in the backward pass.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        cases: DeliverableCases,
        max_steps: int = 30,
        value_tolerance: float = 0.02,
        gradient_steps: int = 10,
    ) -> None:
        super().__init__()
        if gradient_steps < 1:
            raise InputError("must be at least 1", argument="gradient_steps", value=gradient_steps)
        self.cases, self.gradient_steps = cases, gradient_steps
        self.solver = ProjectedLbfgs(
            stop=StopRule(max_steps=max_steps, kkt_tolerance=1e-4, value_tolerance=value_tolerance)
        )

    def forward(
        self, outputs: Float[Tensor, "b 1 z y x"] | tuple[Tensor, ...], batch: Mapping[str, Any]
    ) -> Float[Tensor, ""]:
        """Return the loss in Gy.

        Args:
            outputs: Predicted dose in Gy; several outputs of a net are refused.
            batch: With the identifiers, the dose mask, the structures and the prescriptions.

        Raises:
            InputError: If one of them is missing, the outputs are not one full-size tensor, a sample is not its case,
                or a case has no dose influence.
        """
        if not isinstance(outputs, Tensor):
            raise InputError("must be one tensor: the final output", argument="outputs", value=type(outputs).__name__)
        for key in (keys.CASE_ID, keys.DOSE_MASK, keys.STRUCTURES, keys.PRESCRIPTION):
            if key not in batch:
                raise InputError("must be in the batch", argument=key, value=sorted(batch))
        shape = tuple(batch[keys.DOSE_MASK].shape)
        if shape != outputs.shape:
            raise InputError(f"must have shape {tuple(outputs.shape)}", argument=keys.DOSE_MASK, value=shape)
        with torch.autocast(outputs.device.type, enabled=False):
            gaps = []
            for i, case_id in enumerate(batch[keys.CASE_ID]):
                case = self.cases.get(case_id, outputs.device)
                flipped = case.sampler.is_flipped(batch, i)
                predicted_gy = case.sampler.sample(outputs[i, 0].to(case.influence.dtype), flipped)
                gaps.append((predicted_gy - self.nearest(case_id, case, predicted_gy)).abs().mean())
            return torch.stack(gaps).mean()

    def nearest(self, case_id: str, case: DeliverableCase, predicted_gy: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
        """Return the deliverable dose nearest to a prediction, both in Gy at the rows of the case's influence."""
        rows = torch.arange(len(predicted_gy), device=predicted_gy.device)
        priority = torch.ones(1, device=predicted_gy.device)
        mimic = QuadraticTerm(rows, priority, reference_gy=predicted_gy[None], over=True, under=True)
        problem = FluenceProblem(case.influence, DosePenalty((mimic,), len(predicted_gy)))
        start = self.cases.last_fluence(case_id)
        dose_gy, result = optimised_dose(problem, self.solver, start, damping=1e-4, max_steps=self.gradient_steps)
        self.cases.remember(case_id, result.fluence)
        return dose_gy[0]
