"""`zen`: how strongly the features of a plain network with Gaussian weights react to its input.

Source: Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", ICCV 2021 (arXiv 2102.01063).
The six steps of its algorithm are numbered below. Differs from it: the norm of a difference is the sum of absolute
values, as in the released code (`norm="l2"` is the paper's norm), which adds a constant that depends on the size of the
features. Residual links are left out by the rules of the module `tracing`.
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

    x and e are standard normal. f gives the features before the global pooling; normalisation uses the statistics of
    the batch. sigma^2 is the mean over channels of the batch's variances before a normalisation. Normalisation hides
    the effect of the scale of a weight; the sum adds it again. So the score is nearly that of the network without
    normalisation, whose numbers would overflow.

    Args:
        probe: network and batch; only the shape, dtype and device of the inputs matter, labels are not used.
        norm: norm of the difference of the features of one example.
        alpha: size of the perturbation; shifts the score by about the logarithm of `alpha`.
        repeats: number of draws of weights and inputs over which the score is averaged.
        keeps_links: True keeps residual links and gates.
        draws_weights: False keeps the network's own weights, for tests.

    Raises:
        ConfigurationError: an option is out of range.
        DegenerateNetworkError: the features do not depend on the input, or overflow.
    """
    check(norm, alpha, repeats)
    network = probe.copy()  # (1) the trace leaves residual links out
    layout = torch.channels_last if probe.inputs.ndim == 4 else torch.preserve_format
    for layer in weighted_layers(network):  # channels_last is 1.5 times as fast on a CPU
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
    """Return the features of two batches, and the variances before the normalisations of the first batch.

    Both batches share one pass if the network keeps the examples in the first dimension. Otherwise there are two
    passes, in torch's default memory layout, because a `view` in the network may rely on it.

    Args:
        network: network to run; normalisation uses the statistics of each batch.
        x: (B, ...) first batch.
        moved: (B, ...) second batch, the perturbed inputs.
        keeps_links: False leaves residual links and gates out.

    Returns:
        Features (B, ...) of `x`, features of `moved`, and the variances (C,) for each normalisation of `x`.
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
    """Draw weights of convolutions and linear layers from N(0, 1), in place; set biases to 0 and scales to 1.

    Args:
        network: network whose weights are replaced; its batch normalisations get scale 1 and shift 0.
        probe: gives the seed, the device and the dtype.
        step: number of the draw; each number gives other weights.
    """
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
    """Return the mean over examples of the norm of the difference of two sets of features (B, ...).

    Raises:
        DegenerateNetworkError: the mean is 0 or not finite.
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
