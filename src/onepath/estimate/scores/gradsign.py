"""`gradsign`: how far single examples agree on the direction in which each weight should move.

Source: Zhang and Jia, "GradSign: Model Performance Inference with Theoretical Insights", ICLR 2022 (arXiv
2110.08616). The score is the sum over the parameters. Another file of the released code takes the mean, which ranks
networks differently. As in the released code, only weights of convolutions and linear layers count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.per_sample import chunk_size, per_sample_gradients
from onepath.estimate.scores.probe import Probe, weighted_layers


def gradsign(probe: Probe) -> float:
    """`sum over weights of |sum over examples of sign(g_i)|`, g_i the gradient of example i's loss; higher is better.

    The value is between 0 and the number of weights times the number of examples. If the signs of n examples were
    random and independent, each weight would add `sqrt(2 n / pi)`. Batch normalisation uses the statistics of one
    image. The memory limit of the probe bounds how many examples run at a time. This does not change the value, except
    through the signs of gradients that are 0 up to rounding.

    Raises:
        DegenerateNetworkError: every gradient is zero, there are no weights, or a normalisation sees one value per
            channel of one example.
    """
    network, targets = probe.copy(), probe.targets
    if not weighted_layers(network):
        raise DegenerateNetworkError("the network has no convolution and no linear layer")
    chunk = chunk_size(network, probe.inputs[:1], probe.max_memory_bytes)
    sums: list[Tensor] | None = None
    for inputs, part in zip(torch.split(probe.inputs, chunk), torch.split(targets, chunk), strict=True):
        found = per_sample_gradients(network, inputs, part, probe.loss, lambda g: g.sign_().sum(dim=0))
        sums = found if sums is None else [before + new for before, new in zip(sums, found, strict=True)]
    assert sums is not None, "a batch has an example"
    total = float(torch.stack([signs.abs().sum(dtype=torch.float64) for signs in sums]).sum())
    if total == 0.0:
        raise DegenerateNetworkError("every gradient is zero, or the signs of the examples cancel everywhere")
    return total


DEFINITION = ScoreDefinition(
    "gradsign",
    gradsign,
    needs=("inputs", "labels"),
    cost="1 forward, 1 backward of each example by itself",
    direction="more agreement is taken as better",
    known_failure="a sum over weights, so that it follows their number; undefined where maps shrink to one pixel",
)
