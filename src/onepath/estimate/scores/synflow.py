"""`synflow`: the product of the absolute weights along all paths, summed.

Source: Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow", NeurIPS 2020
(arXiv 2006.05467); summed over a network as in "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134).
Differs from the latter: the score is the logarithm, because the sum reaches 10^61; each ReLU6 is replaced by a ReLU,
because its bound would stop the flow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from onepath.estimate.scores.backward import gradients_of
from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.probe import Probe, weighted_layers

_NORMALISATIONS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


def synflow(probe: Probe) -> float:
    """`log of sum of |w| * dR/d|w|`, R the sum of the outputs for one input of ones; higher is better.

    All parameters are replaced by their absolute values, normalisation is left out, and the computation is in float64.
    Neither the data nor the signs of the weights matter.

    Raises:
        DegenerateNetworkError: nothing flows from the input to the output.
    """
    model = probe.copy()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.abs_()
    for module in model.modules():
        if isinstance(module, _NORMALISATIONS):
            module.__dict__["forward"] = _unchanged
        elif isinstance(module, nn.ReLU6):
            module.__dict__["forward"] = torch.relu
    model.double()
    weights = [layer.weight for layer in weighted_layers(model)]
    with torch.enable_grad():
        ones = torch.ones(1, *probe.inputs.shape[1:], dtype=torch.float64, device=probe.device)
        ones.requires_grad_(True)
        *gradients, by_input = gradients_of(model(ones).sum(), (*weights, ones))
    total = sum(float((w.detach() * g).sum()) for w, g in zip(weights, gradients, strict=True))
    if total == 0.0 or not bool(by_input.any()):  # biases give flow even without an input
        raise DegenerateNetworkError("nothing flows from the input to the output")
    return math.log(total) if total > 0.0 else math.nan


def _unchanged(x: Tensor) -> Tensor:
    """Return the input; replaces the forward pass of a normalisation."""
    return x


DEFINITION = ScoreDefinition(
    "synflow",
    synflow,
    needs=(),
    cost="1 forward, 1 backward of one example in float64",
    direction="more flow is taken as better",
    known_failure="grows with width and depth without end, so that it mostly finds the largest network of a space",
)
