"""`zen`: how strongly the features of a plain network with Gaussian weights react to its input.

Source: Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", ICCV 2021 (arXiv 2102.01063).
Its six steps are numbered below. Differs from it: the norm of a difference is the sum of absolute values, as in the
released code (`norm="l2"` is the paper's), which adds a constant that depends on the size of the features. Residual
links are left out as `tracing` says.
"""

from __future__ import annotations

import contextlib
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from onepath.errors import ConfigurationError
from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.probe import Probe, weighted_layers
from onepath.estimate.scores.tracing import NotBatchFirstError, Trace

Norm = Literal["l1", "l2"]

ALPHA = 0.01
"""Size of the perturbation of the input, as in the paper."""


def zen(
    probe: Probe,
    *,
    norm: Norm = "l1",
    alpha: float = ALPHA,
    repeats: int = 1,
    keeps_links: bool = False,
    draws_weights: bool = True,
) -> float:
    """`log E |f(x) - f(x + alpha e)| + sum over normalisations of log sigma`; higher is better.

    f are the features before the global pooling, normalised by the batch's own statistics; sigma^2 is the mean over
    channels of the batch's variances. Normalisation hides how far a scaled weight reaches, and the sum gives it back:
    the score is nearly that of the network without normalisation, which would overflow.

    Args:
        probe: of the inputs, only shape and device matter; neither data nor labels are used.
        norm: of the difference of features of one example.
        alpha: size of the perturbation; shifts the score by about its logarithm.
        repeats: draws of weights and inputs, over which the score is averaged.
        keeps_links: True leaves residual links and gates as they are.
        draws_weights: False takes the weights as they are, for tests.

    Raises:
        ConfigurationError: an option is out of range.
        DegenerateNetworkError: the features do not depend on the input, or overflow.
    """
    check(norm, alpha, repeats)
    network = probe.copy()  # (1) without residual links, while it is traced
    layout = torch.channels_last if probe.inputs.ndim == 4 else torch.preserve_format
    for layer in weighted_layers(network):  # 1.5 times as fast on a CPU
        if layer.weight.ndim == 4:
            layer.weight.data = layer.weight.data.contiguous(memory_format=layout)
    values = []
    for repeat in range(repeats):
        if draws_weights:
            draw_gaussian_(network, probe, repeat)  # (2)
        x = probe.normal("zen input", probe.inputs.shape, repeat)  # (3)
        noise = probe.normal("zen noise", probe.inputs.shape, repeat)
        features, moved, variances = reactions(network, x, x + alpha * noise, keeps_links=keeps_links)
        difference = mean_distance(features, moved, norm)  # (4)
        sigmas = [0.5 * math.log(max(float(v.mean()), 1e-300)) for v in variances]  # (5)
        values.append(math.log(difference) + sum(sigmas))  # (6)
    return sum(values) / repeats


def reactions(
    network: nn.Module, x: Tensor, moved: Tensor, *, keeps_links: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Features of both batches, each with its own statistics, and the variances (C,) of normalisations of the first.

    In one pass where the network keeps the examples apart, one after the other, and else in two, in the plain layout of
    memory, which a `view` may rely on.
    """
    layout = torch.channels_last if x.ndim == 4 else torch.preserve_format
    joint = torch.cat([x, moved]).contiguous(memory_format=layout)
    with contextlib.suppress(NotBatchFirstError, RuntimeError, ValueError):
        with contextlib.closing(Trace(network, keeps_links=keeps_links, num_batches=2)) as trace:
            first, second = trace.run(joint).chunk(2)
        return first, second, [variances for _, variances, _ in trace.variances()]
    network.to(memory_format=torch.contiguous_format)
    with contextlib.closing(Trace(network, keeps_links=keeps_links)) as trace:
        second = trace.run(moved.contiguous())
        first = trace.run(x.contiguous())
    return first, second, [variances for _, variances, _ in trace.variances()]


def check(norm: str, alpha: float, repeats: int) -> None:
    """Raise ConfigurationError unless the options are in range."""
    if norm not in ("l1", "l2") or not alpha > 0 or repeats < 1:
        raise ConfigurationError(
            f"`norm in (l1, l2)`, `alpha > 0` and `repeats >= 1` must hold, but got {norm}, {alpha} and {repeats}; "
            "change the one that does not"
        )


def draw_gaussian_(network: nn.Module, probe: Probe, step: int) -> None:
    """Weights of convolutions and linear layers from N(0, 1), biases 0, normalisation of scale 1 and shift 0."""
    layers = weighted_layers(network)
    numbers = probe.normal("zen weights", (sum(layer.weight.numel() for layer in layers),), step)
    parts = torch.split(numbers, [layer.weight.numel() for layer in layers])
    with torch.no_grad():
        for layer, part in zip(layers, parts, strict=True):
            layer.weight.copy_(part.view_as(layer.weight))
        for module in network.modules():
            if isinstance(module, _ConvNd | nn.Linear | _BatchNorm) and isinstance(module.bias, Tensor):
                module.bias.zero_()
            if isinstance(module, _BatchNorm) and isinstance(module.weight, Tensor):
                module.weight.fill_(1.0)


def mean_distance(first: Tensor, second: Tensor, norm: Norm) -> float:
    """The mean over examples of the norm of the difference of features (B, ...).

    Raises:
        DegenerateNetworkError: it is 0 or not finite.
    """
    difference = (first.double() - second.double()).flatten(1)
    value = float(torch.linalg.vector_norm(difference, 1 if norm == "l1" else 2, dim=1).mean())
    if value == 0.0:
        raise DegenerateNetworkError("the features do not depend on the input")
    if not math.isfinite(value):
        raise DegenerateNetworkError("the features overflow; the network has too few normalisations")
    return value


DEFINITION = ScoreDefinition(
    "zen",
    zen,
    needs=("random input",),
    cost="2 forward a repeat; the batch may be small (16)",
    direction="stronger reaction is taken as better",
    known_failure="undefined for irregular cells; grows with depth and width without end, so search it under limits",
    reads_weights=False,
)
