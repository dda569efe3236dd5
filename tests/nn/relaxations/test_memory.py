"""What a backward pass keeps, counted tensor by tensor: one path or two, whatever the number of candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onepath.nn import ChoiceBlock, GatedPath, Supernet
from onepath.nn.relaxations import BinaryRelaxation, SoftmaxRelaxation, TwoPathRelaxation
from onepath.spaces.bottleneck import InvertedBottleneck


def network(num_candidates: int) -> Supernet:
    """Three blocks of candidates that need the same memory."""
    blocks = [
        ChoiceBlock(
            [InvertedBottleneck(8, 8, kernel_size=3, expansion=3, stride=1) for _ in range(num_candidates)]
        )
        for _ in range(3)
    ]
    return Supernet(nn.Sequential(nn.Conv2d(3, 8, 1), *blocks))


def kept_bytes(supernet: Supernet, path: GatedPath) -> int:
    """Bytes of all that the graph of a pass keeps, parameters and buffers aside, each memory once."""
    own = {t.untyped_storage().data_ptr() for t in (*supernet.parameters(), *supernet.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def give(tensor: Any) -> Any:
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        output = supernet(torch.zeros(4, 3, 8, 8), path)
    assert output.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("num_candidates", [3, 6, 12])
def test_memory_of_the_binary_gates_does_not_grow_with_the_candidates(num_candidates: int) -> None:
    rng = np.random.default_rng(0)
    supernet = network(num_candidates)
    two, full = TwoPathRelaxation(supernet), BinaryRelaxation(supernet)
    single = kept_bytes(supernet, two.weight_path(rng, 0.0))
    assert kept_bytes(supernet, two.architecture_path(rng, 0.0)) <= 2.2 * single
    assert kept_bytes(supernet, full.architecture_path(rng, 0.0)) <= 1.1 * single
    all_of_them = kept_bytes(supernet, SoftmaxRelaxation(supernet).architecture_path(rng, 0.0))
    assert all_of_them >= 0.9 * num_candidates * single  # what is counted does grow where all run
