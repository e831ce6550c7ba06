"""The contract itself: each of its tests is seen to fail on a net that breaks what it checks."""

from collections.abc import Callable

import pytest
import torch
from net_contract import CheckpointingContract, NetContract
from torch import Tensor, nn

from dosewright.core import InputError


class _Net(nn.Module):
    """Keeps the contract; each subclass breaks it once."""

    stride = 2

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(NetContract.in_channels, 1, 1)
        self.gradient_checkpointing = False

    def forward(self, image: Tensor) -> Tensor:
        if any(size % 2 for size in image.shape[2:]):
            raise InputError("must be multiples of 2", argument="image", value=tuple(image.shape[2:]))
        return self.conv(image)


class _SeveralInEvaluation(_Net):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(image), super().forward(image)


class _AuxiliaryFirst(_Net):
    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        dose = super().forward(image)
        return (2 * dose, dose) if self.training else dose


class _Noisy(_Net):
    def forward(self, image: Tensor) -> Tensor:
        dose = super().forward(image)
        return dose + torch.rand_like(dose)


class _MixingSamples(_Net):
    def forward(self, image: Tensor) -> Tensor:
        dose = super().forward(image)
        return dose - dose.mean()


class _UnusedParameter(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))


class _BlindToAChannel(_Net):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(torch.cat((torch.zeros_like(image[:, :1]), image[:, 1:]), dim=1))


class _HiddenState(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0 + float(torch.rand(()))

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * super().forward(image)


class _AnySize(_Net):
    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image)


def _contract(kind: Callable[[], nn.Module]) -> NetContract:
    class Checked(CheckpointingContract, NetContract):
        def make(self, seed: int = 0) -> nn.Module:
            torch.manual_seed(seed)
            return kind()

    return Checked()


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (_SeveralInEvaluation, "test_evaluation_gives_one_dose_of_the_image_size"),
        (_AuxiliaryFirst, "test_training_gives_the_final_dose_first"),
        (_Noisy, "test_evaluation_is_deterministic"),
        (_MixingSamples, "test_samples_of_a_batch_do_not_see_each_other"),
        (_UnusedParameter, "test_gradient_reaches_every_parameter_and_every_channel"),
        (_BlindToAChannel, "test_gradient_reaches_every_parameter_and_every_channel"),
        (_HiddenState, "test_state_dict_carries_the_whole_net"),
        (_Net, "test_checkpointing_changes_neither_values_nor_gradients"),  # does not checkpoint at all
    ],
)
def test_each_check_fails_where_it_should(kind: type[nn.Module], check: str):
    with pytest.raises(AssertionError):
        getattr(_contract(kind), check)()
    if kind is not _Net:
        getattr(_contract(_Net), check)()


def test_the_size_check_fails_where_it_should():
    _contract(_Net).test_sizes_that_do_not_fit_are_refused(3)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        _contract(_AnySize).test_sizes_that_do_not_fit_are_refused(3)
