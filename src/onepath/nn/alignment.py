"""Let the candidates of a block start from the weights of one candidate that is already trained.

In a supernet of many blocks without shortcuts, candidates that start from unrelated weights give the following layers
features in another basis at every update, and thousands of updates pass before anything is learned. So one path is
trained shortly first, and the weights of its candidates are copied to the other candidates. Single-path training then
begins with candidates that agree, and they may move apart.
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
    """A candidate that can take over weights to compute nearly what another candidate of its block computes."""

    def inherit_from(self, other: nn.Module) -> None:
        """Take over the weights of `other`, another candidate of the same block, in place."""


def widest_path(supernet: Supernet) -> Architecture:
    """Return the path to train first: the first candidate of each block, and the largest option of each size.

    If the supernet's module has an attribute `start`, option indices or an architecture in the paper's notation, the
    path is that one.
    """
    start = getattr(supernet.module, "start", None)
    if start is not None:
        return supernet.space.parse(str(start))
    return end_of(supernet.space, max)


def align_candidates(supernet: Supernet, path: Architecture) -> None:
    """Copy the weights of each block's candidate on `path` to its other candidates, as far as shapes allow, in place.

    A candidate with a method `inherit_from` decides itself what it takes over. Any other candidate takes the parameters
    and buffers of equal names, see `copy_matching`; so do all candidates if a source makes their weights, which are not
    copied.

    Args:
        supernet: its candidates are changed.
        path: architecture whose candidates are already trained.
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
                if isinstance(candidate, InheritsWeights) and supernet.weights is None:
                    candidate.inherit_from(source)
                else:
                    copy_matching(candidate, source)


def copy_matching(target: nn.Module, source: nn.Module) -> None:
    """Copy parameters and buffers of equal names from `source` to `target`, in place, as far as their shapes allow.

    Kernels of different sides are aligned by their centres, see `copy_centre`; other tensors of different shapes are
    not copied.
    """
    known = {**dict(source.named_parameters()), **dict(source.named_buffers())}
    with torch.no_grad():
        for name, tensor in [*target.named_parameters(), *target.named_buffers()]:
            if name in known:
                copy_centre(tensor, known[name])


def copy_centre(target: Tensor, source: Tensor) -> None:
    """Copy `source` into `target`, in place, if their shapes are equal or differ only in kernel sides by even numbers.

    Kernels have one to three dimensions after the two of channels. Their centres are aligned: entries of a larger
    target that the source does not cover become 0, and entries of a larger source outside the target are left out. In
    all other cases the target stays as it is.
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
    """Return a view of the middle of a kernel (O, I, *) with these sides."""
    for dim, side in enumerate(sides, start=2):
        kernel = kernel.narrow(dim, (kernel.shape[dim] - side) // 2, side)
    return kernel
