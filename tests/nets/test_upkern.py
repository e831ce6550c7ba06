import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from dosewright.core import CheckpointError
from dosewright.nets.mednext import MedNeXt
from dosewright.nets.upkern import grow_kernel, grow_weights


def _linear_weights(small: int, large: int) -> np.ndarray:
    """Weights of each old tap in each new one along an axis: cell centres, edges held."""
    weights = np.zeros((large, small))
    for i in range(large):
        position = min(max((i + 0.5) * small / large - 0.5, 0.0), small - 1.0)
        low = min(int(position), small - 2)
        weights[i, low] = 1 - (position - low)
        weights[i, low + 1] = position - low
    return weights


def test_growing_is_linear_interpolation_along_each_axis():
    kernel = torch.randn(2, 3, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = _linear_weights(3, 5)
    expected = np.einsum("ai,bj,ck,oqijk->oqabc", w, w, w, kernel.numpy())
    np.testing.assert_allclose(grow_kernel(kernel, 5).numpy(), expected, rtol=1e-12)


def test_constant_kernel_stays_constant():
    grown = grow_kernel(torch.full((4, 1, 3, 3, 3), -0.7), 5)
    torch.testing.assert_close(grown, torch.full((4, 1, 5, 5, 5), -0.7), rtol=1e-6, atol=0)


def test_mednext_grows_from_3_to_5():
    torch.manual_seed(0)
    small, large = MedNeXt(2, kernel_size=3), MedNeXt(2, kernel_size=5)
    trained = small.state_dict()
    grow_weights(large, trained)
    grown = 0
    for name, weight in large.state_dict().items():
        if weight.shape == trained[name].shape:
            assert torch.equal(weight, trained[name]), name
        else:
            grown += 1
            assert name.endswith("conv1.weight")
            assert torch.equal(weight, interpolate(trained[name], size=(5, 5, 5), mode="trilinear")), name
    assert grown == 18 + 4 + 4  # blocks of nine stages, down, up
    # A grown kernel smooths, it does not copy: the nets differ, but answer alike.
    image = torch.randn(1, 2, 16, 16, 32)
    with torch.no_grad():
        one, other = small.eval()(image), large.eval()(image)
    assert float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1]) > 0.5


def test_same_kernels_are_copied():
    torch.manual_seed(0)
    one, other = MedNeXt(1), MedNeXt(1)
    grow_weights(other, one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_another_net_is_refused():
    with pytest.raises(CheckpointError, match=r"trained must have the names of the net; .* differ"):
        grow_weights(MedNeXt(1), MedNeXt(1, deep_supervision=True).state_dict())


@pytest.mark.parametrize(
    "arguments", [{"in_channels": 1, "kernel_size": 5}, {"in_channels": 2}], ids=["shrinking", "channels"]
)
def test_shapes_that_cannot_grow_are_refused(arguments: dict[str, int]):
    with pytest.raises(CheckpointError, match=r"trained\[.*\] cannot grow into shape"):
        grow_weights(MedNeXt(1), MedNeXt(**arguments).state_dict())
