"""Folding batch normalisation into the convolution before it, for faster scoring."""

from __future__ import annotations

import itertools
from collections import Counter

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_weights

from onepath.tree import Tree, call, first_tensor

_CHECK_TOLERANCE = 1e-3  # relative to the largest output; a wrong fold differs by far more


@torch.no_grad()
def fold_batchnorm(model: nn.Module, example: Tree) -> int:
    """Fold every `BatchNorm2d` that directly follows a `Conv2d` in an `nn.Sequential` into the convolution, in place.

    The outputs on `example` before and after are compared. If they differ, because the model uses the layers of a
    sequence in some other way, the model is restored.

    Args:
        model: network of plain torch layers, in eval mode, without autocast.
        example: a few inputs (B, C, H, W) on the model's device.

    Returns:
        The number of normalisations folded; 0 if there was nothing to fold or the model was restored.
    """
    pairs = _foldable(model)
    if not pairs:
        return 0
    expected = first_tensor(call(model, example))
    for sequence, i, conv, norm in pairs:
        sequence[i], sequence[i + 1] = _folded(conv, norm), nn.Identity()
    tolerance = _CHECK_TOLERANCE * float(expected.abs().max())
    if torch.allclose(first_tensor(call(model, example)), expected, rtol=0.0, atol=tolerance, equal_nan=True):
        return len(pairs)
    for sequence, i, conv, norm in pairs:
        sequence[i], sequence[i + 1] = conv, norm
    return 0


def _foldable(model: nn.Module) -> list[tuple[nn.Sequential, int, nn.Conv2d, nn.BatchNorm2d]]:
    """List (sequence, position, convolution, following normalisation) of layers that the model uses in one place."""
    places = Counter(id(m) for _, m in model.named_modules(remove_duplicate=False))
    pairs = []
    for sequence in model.modules():
        if type(sequence) is not nn.Sequential:
            continue
        for i, (conv, norm) in enumerate(itertools.pairwise(sequence)):
            if type(conv) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d or norm.running_mean is None:
                continue
            if places[id(conv)] == places[id(norm)] == 1:
                pairs.append((sequence, i, conv, norm))
    return pairs


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Return a convolution that computes `norm(conv(x))`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    folded = nn.Conv2d.__new__(nn.Conv2d)
    folded.__dict__ = {**conv.__dict__, "_parameters": {"weight": weight, "bias": bias}}
    return folded
