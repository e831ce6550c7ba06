import pytest
import torch
from monai.networks.nets.mednext import create_mednext
from net_contract import CheckpointingContract, NetContract

from dosewright.core import InputError
from dosewright.nets.mednext import MedNeXt

BIASES_BEFORE_NORM = (r".*\.conv1\.bias",)


class TestMedNeXt(CheckpointingContract, NetContract):
    without_effect = BIASES_BEFORE_NORM

    def make(self, seed: int = 0) -> MedNeXt:
        torch.manual_seed(seed)
        return MedNeXt(self.in_channels)


class TestMedNeXtDeeplySupervised(CheckpointingContract, NetContract):
    without_effect = BIASES_BEFORE_NORM

    def make(self, seed: int = 0) -> MedNeXt:
        torch.manual_seed(seed)
        return MedNeXt(self.in_channels, deep_supervision=True)

    def test_outputs_halve_four_times(self):
        net = self.make().train()
        with torch.no_grad():
            outputs = net(self.image(net, batch=1))
        assert [dose.shape[2:] for dose in outputs] == [(16 >> i, 16 >> i, 32 >> i) for i in range(5)]


@pytest.mark.parametrize("size", ["S", "B"])
@pytest.mark.parametrize("deep", [False, True])
def test_forward_is_monais_own(size: str, deep: bool):
    torch.manual_seed(0)
    theirs = create_mednext(size, in_channels=2, out_channels=1, kernel_size=3, deep_supervision=deep).train()
    ours = MedNeXt(2, size=size, deep_supervision=deep).train()
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(1, 2, 16, 32, 16)
    with torch.no_grad():
        expected, got = theirs(image), ours(image)
    torch.testing.assert_close(tuple(got), tuple(expected), rtol=0, atol=0)


# Expansion ratios and blocks of the nine stages, as the paper's table of configurations gives them.
EXPANSION = {"S": [2] * 9, "B": [2, 3, 4, 4, 4, 4, 4, 3, 2], "M": [2, 3, 4, 4, 4, 4, 4, 3, 2]}
EXPANSION["L"] = [3, 4, 8, 8, 8, 8, 8, 4, 3]
BLOCKS = {"S": [2] * 9, "B": [2] * 9, "M": [3, 4, 4, 4, 4, 4, 4, 4, 3], "L": [3, 4, 8, 8, 8, 8, 8, 4, 3]}


def _parameters(size: str, kernel: int) -> int:
    """Count by hand: depthwise convolution, norm, expansion, compression; resampling blocks add a 1×1×1 shortcut."""

    def block(a: int, b: int, ratio: int, shortcut: bool = False) -> int:
        depthwise, norm = a * kernel**3 + a, 2 * a
        expand, compress = a * a * ratio + a * ratio, a * ratio * b + b
        return depthwise + norm + expand + compress + (a * b + b if shortcut else 0)

    width = [32, 64, 128, 256, 512, 256, 128, 64, 32]
    count = 1 * 32 + 32 + 32 + 1  # stem, output
    for stage in range(9):
        count += BLOCKS[size][stage] * block(width[stage], width[stage], EXPANSION[size][stage])
        if stage < 8:
            ratio = EXPANSION[size][stage if stage < 4 else stage + 1]
            count += block(width[stage], width[stage + 1], ratio, shortcut=True)
    return count


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize(("size", "published_millions"), [("S", 5.6), ("B", 10.5), ("M", 17.6), ("L", 61.8)])
def test_number_of_parameters_is_the_papers(size: str, published_millions: float, kernel_size: int):
    with torch.device("meta"):
        net = MedNeXt(1, size=size, kernel_size=kernel_size)
    count = sum(p.numel() for p in net.parameters())
    assert count == _parameters(size, kernel_size)
    if kernel_size == 3:  # published for several output classes, hence not to the last digit
        assert count / 1e6 == pytest.approx(published_millions, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1; got 0"),
        ({"in_channels": 1, "size": "XL"}, "size must be one of .*got 'XL'"),
        ({"in_channels": 1, "kernel_size": 4}, r"kernel_size must be one of \(3, 5\); got 4"),
    ],
)
def test_unknown_settings_are_refused(arguments: dict, message: str):
    with pytest.raises(InputError, match=message):
        MedNeXt(**arguments)


def test_wrong_channels_are_refused():
    net = MedNeXt(3)
    with pytest.raises(InputError, match="must have the 3 channels the net was built for; got 2"):
        net(torch.zeros(1, 2, 16, 16, 32))


def test_an_image_of_one_coarsest_voxel_is_refused():
    net = MedNeXt(1)
    with pytest.raises(InputError, match="must be larger than 16 along at least one axis"):
        net(torch.zeros(1, 1, 16, 16, 16))
