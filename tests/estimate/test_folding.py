from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from onepath.estimate.folding import fold_batchnorm


def block(affine: bool = True, bias: bool = False, groups: int = 1) -> nn.Sequential:
    norm = nn.BatchNorm2d(4, affine=affine)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=bias, groups=groups), norm, nn.ReLU())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_folded_network_is_equal(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(block(), block(affine=False, bias=True), nn.Sequential(block(groups=4))).eval()
    model.to(memory_format=memory_format)
    x = torch.randn(8, 4, 6, 6).to(memory_format=memory_format)
    with torch.no_grad():
        expected = model(x)
        assert fold_batchnorm(model, x[:2]) == 3
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_a_fold_that_changes_the_output_is_put_back() -> None:
    class Peeking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = block()

        def forward(self, x: Tensor) -> Tensor:
            return self.branch[0](x) + self.branch(x)

    torch.manual_seed(0)
    model = Peeking().eval()
    before = copy.deepcopy(model)
    x = torch.randn(2, 4, 6, 6)
    assert fold_batchnorm(model, x) == 0
    assert torch.equal(model(x), before(x))


def test_shared_modules_are_left_alone() -> None:
    torch.manual_seed(0)
    shared = block()
    model = nn.Sequential(shared, nn.Sequential(shared[0], nn.BatchNorm2d(4))).eval()
    assert fold_batchnorm(model, torch.randn(2, 4, 6, 6)) == 0
