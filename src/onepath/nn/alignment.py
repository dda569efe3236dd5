"""Letting the candidates of a block start from one that is already trained.

In a supernet of many blocks without a way around them, candidates that start from unrelated weights hand every
following layer another feature basis at every update, and thousands of updates pass before anything is learned. After
a short training of one path, its candidates' weights are given to their siblings, so that single-path training begins
with candidates that agree and may then move apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from onepath.nn.choice_block import ChoiceBlock
from onepath.nn.supernet import Supernet
from onepath.space import Architecture
from onepath.space.ends import end_of


@runtime_checkable
class InheritsWeights(Protocol):
    """A candidate that knows how to compute nearly what another candidate of its block computes."""

    def inherit_from(self, other: nn.Module) -> None:
        """Take over the weights of `other`, in place."""


def widest_path(supernet: Supernet) -> Architecture:
    """The path that trains the most shared weights: the first candidate of each block, the largest of each size.

    A module whose first candidates are not the ones to start from says so by an attribute `start`: option indices or
    the paper's own notation.
    """
    start = getattr(supernet.module, "start", None)
    if start is not None:
        return supernet.space.parse(str(start))
    return end_of(supernet.space, max)


def align_candidates(supernet: Supernet, path: Architecture) -> None:
    """Give the weights of each block's candidate on `path` to its siblings, as far as their shapes allow, in place.

    A candidate with a method `inherit_from` decides itself; of any other, parameters and buffers of the same name are
    copied, a kernel of other sides by its centre (the rest of a larger one becomes 0).
    """
    options = path.options
    with torch.no_grad():
        for block in supernet.module.modules():
            if not isinstance(block, ChoiceBlock) or block.choice is None or block.choice.name not in options:
                continue
            source = block.candidates[block.choice.index(options[block.choice.name])]
            for candidate in block.candidates:
                if candidate is source:
                    continue
                if isinstance(candidate, InheritsWeights):
                    candidate.inherit_from(source)
                else:
                    copy_matching(candidate, source)


def copy_matching(target: nn.Module, source: nn.Module) -> None:
    """Copy parameters and buffers of equal names from `source` to `target`, as far as their shapes allow, in place."""
    known = {**dict(source.named_parameters()), **dict(source.named_buffers())}
    with torch.no_grad():
        for name, tensor in [*target.named_parameters(), *target.named_buffers()]:
            if name in known:
                copy_centre(tensor, known[name])


def copy_centre(target: Tensor, source: Tensor) -> None:
    """Copy where shapes are equal, or where only the sides of kernels differ, each by an even number.

    Kernels, of one to three dimensions behind the two of channels, are put centre on centre: what a smaller side leaves
    of a larger one becomes 0, and what of a larger one lies outside a smaller one is left out.
    """
    if target.shape == source.shape:
        target.copy_(source)
        return
    sides = list(zip(target.shape[2:], source.shape[2:], strict=False))
    is_kernel = target.dim() == source.dim() in (3, 4, 5) and target.shape[:2] == source.shape[:2]
    if not is_kernel or any((ours - theirs) % 2 for ours, theirs in sides):
        return
    common = [min(side) for side in sides]
    target.zero_()
    _centre(target, common).copy_(_centre(source, common))


def _centre(kernel: Tensor, sides: Sequence[int]) -> Tensor:
    """A view of the middle of a kernel (O, I, *), of these sides."""
    for dim, side in enumerate(sides, start=2):
        kernel = kernel.narrow(dim, (kernel.shape[dim] - side) // 2, side)
    return kernel
