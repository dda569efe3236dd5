"""How similar the candidates of a choice block are: cosine similarity of their feature maps."""

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
    """How similar the outputs of the candidates of one choice block are.

    Attributes:
        names: names of the candidates, in the block's order.
        matrix: (candidates, candidates) cosine similarity in [-1, 1] of the outputs of each pair, mean over images and
            paths; None where an output is zero, where the outputs differ in shape, or where no path used the block.
    """

    names: tuple[str, ...]
    matrix: tuple[tuple[float | None, ...], ...]


def feature_similarity(
    supernet: Supernet, images: Tensor, rng: np.random.Generator, *, num_paths: int = 8
) -> dict[str, LayerSimilarity]:
    """Compare the outputs of all candidates of every choice block on the same inputs, along random paths.

    A random path decides the input of each block; every candidate of the block runs on this input. Each output is
    flattened to one vector per image. Normalisation uses the statistics of the batch, because no running statistics are
    right for all paths. Candidates that change nothing (identities) are compared like the others. The supernet is not
    changed, not even its buffers.

    Args:
        supernet: trained supernet with choice blocks.
        images: (B, ...) inputs on the supernet's device, B at least 2.
        rng: draws the random paths.
        num_paths: number of random paths over which the similarities are averaged.

    Returns:
        Path of a block in the supernet -> its similarities, in the order of the modules; empty if a source makes the
        weights of the path alone, so that the other candidates have none.

    Raises:
        ConfigurationError: `num_paths` is below 1, there are fewer than two images, or the supernet has no choice
            blocks.

    Source: FairNAS, arXiv 1907.01845, which compares the feature maps of a layer's candidates. Differs from it: whole
    outputs are compared, not single channels, and the similarity is a mean over paths.
    """
    blocks = {block.path: block for block in supernet.modules() if isinstance(block, ChoiceBlock)}
    if num_paths < 1 or len(images) < 2 or not blocks:
        raise ConfigurationError(
            f"feature similarity needs paths, two images or more and choice blocks, but got {num_paths} paths, "
            f"{len(images)} images and {len(blocks)} blocks; give what is missing"
        )
    if supernet.weights is not None:
        return {}
    sums = {path: torch.zeros(len(block.names), len(block.names)) for path, block in blocks.items()}
    counts = {path: torch.zeros_like(total) for path, total in sums.items()}

    def compare(block: ChoiceBlock, arguments: tuple[Any, ...]) -> None:
        # Each candidate gets a copy: one that begins with an activation in place changes its input.
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
    """Inside this context, normalisation uses each batch's statistics and stores none; all else is in eval mode."""
    modes = [(part, part.training) for part in module.modules()]
    layers = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    buffers = [dict(layer._buffers) for layer in layers]
    try:
        for part, _ in modes:
            part.training = False
        for layer in layers:
            # Without running statistics torch uses those of the batch, in any mode.
            layer._buffers.update(dict.fromkeys(layer._buffers))
        yield
    finally:
        for layer, kept in zip(layers, buffers, strict=True):
            layer._buffers.update(kept)
        for part, training in modes:
            part.training = training


def _cosines(outputs: list[Tensor]) -> Tensor:
    """Return cosine similarities (candidates, candidates), mean over images; NaN for zero vectors or unequal shapes."""
    cosines = torch.full((len(outputs), len(outputs)), torch.nan)
    vectors = [output.detach().float().flatten(1) for output in outputs]
    directions = [vector / vector.norm(dim=1, keepdim=True) for vector in vectors]
    for i, first in enumerate(directions):
        for j, second in enumerate(directions):
            if outputs[i].shape == outputs[j].shape:
                cosines[i, j] = (first * second).sum(dim=1).mean().cpu()
    return cosines
