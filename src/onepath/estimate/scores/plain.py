"""`plain`: the sum over weights of weight times gradient, which is `snip` without absolute values.

Source: the baseline of the released code of "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134).
"""

from __future__ import annotations

import torch

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.probe import Probe


def plain(probe: Probe) -> float:
    """`sum of w * g` over the weights of convolutions and linear layers, g the gradient; higher is taken as better.

    Raises:
        DegenerateNetworkError: every gradient is zero.
    """
    pairs = zip(probe.gradients.weights, probe.gradients.gradients, strict=True)
    return float(torch.stack([(w.detach() * g).sum(dtype=torch.float64) for w, g in pairs]).sum())


DEFINITION = ScoreDefinition(
    "plain",
    plain,
    needs=("inputs", "labels"),
    cost="1 forward, 1 backward, shared with grad_norm, snip and fisher",
    direction="as it is; a baseline that is not expected to rank",
    known_failure="is about 0 where normalisation makes the loss independent of the scale of the weights before it",
)
