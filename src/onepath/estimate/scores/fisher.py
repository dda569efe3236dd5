"""`fisher`: how much the loss would change if a channel were removed, summed.

Source: Turner et al., "BlockSwap: Fisher-guided Block Substitution for Network Compression on a Budget", ICLR 2020
(arXiv 1906.04113). Differs from it: activations are the outputs of convolutions and linear layers
(before normalisation), as in the released code of "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134).
"""

from __future__ import annotations

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.probe import Probe


def fisher(probe: Probe) -> float:
    """`sum over channels of 1/2 mean over examples of (sum over positions of a * dL/da)^2`; higher is better.

    a is the output of a convolution or linear layer and L the loss of the batch.

    Raises:
        DegenerateNetworkError: every gradient is zero.
    """
    value = probe.gradients.fisher
    assert value is not None, "the probe gathers activations where fisher is asked for"
    if value == 0.0:
        raise DegenerateNetworkError("no channel has an effect on the loss")
    return value


DEFINITION = ScoreDefinition(
    "fisher",
    fisher,
    needs=("inputs", "labels"),
    cost="1 forward, 1 backward, shared with grad_norm, snip and plain",
    direction="larger sensitivity is taken as better; 0 or more",
    known_failure="the weakest of the gradient scores on NAS-Bench-201; made for blocks within one network",
)
