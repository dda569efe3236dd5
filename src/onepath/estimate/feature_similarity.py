"""How alike the candidates of a layer are: cosine similarity of their feature maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock, Supernet


@dataclass(frozen=True)
class LayerSimilarity:
    """Of one choice block.

    Attributes:
        names: of the candidates, in their order.
        matrix: cosine similarity of each pair in [-1, 1], the mean over images and paths; None where a candidate's
            output is zero or of another shape, or where no path came by.
    """

    names: tuple[str, ...]
    matrix: tuple[tuple[float | None, ...], ...]


def feature_similarity(
    supernet: Supernet, images: Tensor, rng: np.random.Generator, *, num_paths: int = 8
) -> dict[str, LayerSimilarity]:
    """Compare the outputs of all candidates of every choice block for the same input, along random paths.

    The path decides what a block gets and what follows it; every candidate of the block then runs on that input. Each
    output is one vector per image. Normalisation takes the statistics of the batch, as no running statistics are
    right for all paths. Candidates that change nothing are compared as the others are. The supernet is not
    changed, not even its buffers.

    Args:
        supernet: trained.
        images: (B, ...) on the supernet's device, two at least.
        rng: draws the paths.
        num_paths: over which the mean is taken.

    Returns:
        Path of the block -> its similarities, in the order of the modules.

    Raises:
        ConfigurationError: no path, fewer than two images, or a supernet without choice blocks.

    Source: FairNAS, arXiv 1907.01845, which compares the feature maps of a layer's candidates. Differs from it: the
    outputs are compared whole, not channel by channel, and in the mean over paths.
    """
    blocks = {block.path: block for block in supernet.modules() if isinstance(block, ChoiceBlock)}
    if num_paths < 1 or len(images) < 2 or not blocks:
        raise ConfigurationError(
            f"feature similarity needs paths, two images or more and choice blocks, but got {num_paths} paths, "
            f"{len(images)} images and {len(blocks)} blocks; give what is missing"
        )
    sums = {path: torch.zeros(len(block.names), len(block.names)) for path, block in blocks.items()}
    counts = {path: torch.zeros_like(total) for path, total in sums.items()}

    def compare(block: ChoiceBlock, arguments: tuple[Any, ...]) -> None:
        # Copies: a candidate that begins with an activation in place changes what it is given.
        cosines = _cosines([candidate(arguments[0].clone()) for candidate in block.candidates])
        known = ~cosines.isnan()
        sums[block.path] += torch.where(known, cosines, 0.0)
        counts[block.path] += known

    handles = [block.register_forward_pre_hook(compare) for block in blocks.values()]
    try:
        with torch.no_grad(), batch_statistics(supernet):
            for _ in range(num_paths):
                supernet(images, supernet.space.random(rng))
    finally:
        for handle in handles:
            handle.remove()
    return {
        path: LayerSimilarity(
            block.names,
            tuple(
                tuple(
                    float(total / count) if count else None for total, count in zip(row, times, strict=True)
                )
                for row, times in zip(sums[path].tolist(), counts[path].tolist(), strict=True)
            ),
        )
        for path, block in blocks.items()
    }


@contextlib.contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, normalisation uses the statistics of each batch and keeps none; everything else is in eval mode."""
    modes = [(part, part.training) for part in module.modules()]
    layers = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    buffers = [dict(layer._buffers) for layer in layers]
    try:
        for part, _ in modes:
            part.training = False
        for layer in layers:
            # Without running statistics those of the batch are used, in any mode.
            layer._buffers.update(dict.fromkeys(layer._buffers))
        yield
    finally:
        for layer, kept in zip(layers, buffers, strict=True):
            layer._buffers.update(kept)
        for part, training in modes:
            part.training = training


def _cosines(outputs: list[Tensor]) -> Tensor:
    """(candidates, candidates) mean over images; NaN where a vector is zero or shapes differ."""
    cosines = torch.full((len(outputs), len(outputs)), torch.nan)
    vectors = [output.detach().float().flatten(1) for output in outputs]
    directions = [vector / vector.norm(dim=1, keepdim=True) for vector in vectors]
    for i, first in enumerate(directions):
        for j, second in enumerate(directions):
            if outputs[i].shape == outputs[j].shape:
                cosines[i, j] = (first * second).sum(dim=1).mean().cpu()
    return cosines
