"""`grad_norm`: how large the gradients are at initialisation.

Source: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021 (arXiv 2101.08134).
"""

from __future__ import annotations

import torch

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.probe import Probe


def grad_norm(probe: Probe) -> float:
    """`sum over layers of |g_l|_2`, where g_l is the gradient of the loss by a layer's weight; higher is better.

    Raises:
        DegenerateNetworkError: every gradient is zero.
    """
    return float(torch.stack([gradient.double().norm() for gradient in probe.gradients.gradients]).sum())


DEFINITION = ScoreDefinition(
    "grad_norm",
    grad_norm,
    needs=("inputs", "labels"),
    cost="1 forward, 1 backward, shared with snip, plain and fisher",
    direction="larger gradients are taken as better",
    known_failure="depends on the scale of the initial weights and grows with the number of layers",
)
