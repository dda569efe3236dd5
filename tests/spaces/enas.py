"""What the tests of ENAS's two spaces share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from onepath.nn import Supernet
from onepath.space import Architecture


def randomised(supernet: Supernet) -> Supernet:
    """Give all parameters and all statistics of normalisation random values, in place."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.normal_(0, 0.4, generator=generator)
        for norm in supernet.modules():
            if isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                norm.running_mean.normal_(0, 0.5, generator=generator)
                norm.running_var.uniform_(0.5, 2, generator=generator)
    return supernet


def largest_difference(supernet: Supernet, architecture: Architecture, x: Tensor) -> float:
    """Largest difference of the path and the extracted network in evaluation mode, relative to the largest output."""
    supernet.eval()
    with torch.no_grad():
        expected = supernet(x, architecture)
        found = supernet.extract(architecture)(x)
    assert expected.abs().max() > 1e-3
    return float((found - expected).abs().max() / expected.abs().max())


def measured_macs(model: nn.Module, *inputs: object) -> int:
    """Multiply-accumulates of the convolutions and matrix products that run in one pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops() // 2


def touched(supernet: Supernet, architecture: Architecture, x: Tensor) -> dict[str, Tensor]:
    """Name -> parameter of the parameters that have a gradient after one step of a path."""
    supernet.train().zero_grad(set_to_none=True)
    supernet(x, architecture).square().sum().backward()
    return {name: p for name, p in supernet.named_parameters() if p.grad is not None}
