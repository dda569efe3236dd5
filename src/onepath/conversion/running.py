"""Running a network on its example inputs, and comparing what two runs return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from onepath.conversion.adaptations import clear_caches
from onepath.conversion.trace import output_tensors

_ERROR = 1e-2  # in proportion to the largest value


def copied(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Return arguments with copies of their tensors, for networks that write into what they get."""
    own: tuple[Any, ...] = tree_map(
        lambda value: value.detach().clone() if isinstance(value, Tensor) else value, tuple(inputs)
    )
    return own


def run(model: nn.Module, inputs: Sequence[Any], seed: int = 0) -> list[Tensor]:
    """Return the tensors that a network returns.

    Args:
        model: the network; what it caches is emptied first.
        inputs: positional arguments; the network gets copies of the tensors.
        seed: seed of the random numbers that the network draws.
    """
    clear_caches(model)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return [tensor.clone() for tensor in output_tensors(model(*copied(inputs)))]


def same_shapes(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    """Whether two runs returned tensors of the same shapes; true where results are chosen by values.

    These are results with whole numbers among them, such as boxes and their classes.
    """
    if not all(tensor.is_floating_point() for tensor in before):
        return True
    return [tensor.shape for tensor in before] == [tensor.shape for tensor in after]


def same_values(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    """Whether two runs returned the same, but for rounding; true where results are chosen by values."""
    if not same_shapes(before, after):
        return False
    if not all(tensor.is_floating_point() for tensor in before):
        return True
    for one, other in zip(before, after, strict=True):
        # Rounding grows with the values on the way; channels that are mixed up change a result as a whole.
        bound = _ERROR * one.abs().nan_to_num().max() if one.numel() else 0.0
        if bool(((one - other).abs() > bound).any()):
            return False
    return True
