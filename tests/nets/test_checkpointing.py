import pytest
import torch
from torch import Tensor, nn

from dosewright.nets.checkpointing import run_blocks


class _Counting(nn.Module):
    """x → factor·x², counting how often it is computed."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.calls = factor, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * x**2


@pytest.mark.parametrize(("checkpointing", "calls"), [(False, 1), (True, 2)])
def test_blocks_run_in_order_and_are_computed_again_for_the_gradient(checkpointing: bool, calls: int):
    blocks = [_Counting(2.0), _Counting(3.0)]
    x = torch.full((1, 1, 1, 1, 2), 0.5, dtype=torch.float64, requires_grad=True)
    y = run_blocks(blocks, x, checkpointing=checkpointing)
    y.sum().backward()
    torch.testing.assert_close(y, torch.full_like(y, 12 * 0.5**4))  # 3 (2x²)² = 12 x⁴
    torch.testing.assert_close(x.grad, torch.full_like(x, 48 * 0.5**3))
    assert [block.calls for block in blocks] == [calls, calls]


def test_nothing_is_computed_again_without_gradient():
    block = _Counting(1.0)
    with torch.no_grad():
        run_blocks([block], torch.ones(1, 1, 1, 1, 1), checkpointing=True)
    assert block.calls == 1


def test_no_blocks_give_the_input_back():
    x = torch.ones(1, 2, 3, 4, 5)
    assert run_blocks([], x, checkpointing=True) is x
