"""`snip`: how much the loss would change if a weight were removed, summed.

Source: Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019 (arXiv 1810.02340);
summed over a network as in "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134).
"""

from __future__ import annotations

import torch

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.probe import Probe


def snip(probe: Probe) -> float:
    """`sum of |w * g|` over the weights of convolutions and linear layers, g the gradient; higher is better.

    The value is at least `|plain|`.

    Raises:
        DegenerateNetworkError: every gradient is zero.
    """
    pairs = zip(probe.gradients.weights, probe.gradients.gradients, strict=True)
    return float(torch.stack([(w.detach() * g).abs().sum(dtype=torch.float64) for w, g in pairs]).sum())


DEFINITION = ScoreDefinition(
    "snip",
    snip,
    needs=("inputs", "labels"),
    cost="1 forward, 1 backward, shared with grad_norm, plain and fisher",
    direction="larger sensitivity is taken as better",
    known_failure="made for the weights of one network: between networks it mostly tells how many layers there are",
)
