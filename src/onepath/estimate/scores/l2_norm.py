"""`l2_norm`: how large the weights are.

Source: the baseline of the released code of "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134).
"""

from __future__ import annotations

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.probe import Probe, weighted_layers


def l2_norm(probe: Probe) -> float:
    """`sum over layers of |w_l|_2`, w_l the weight of a convolution or linear layer; higher is taken as better.

    Raises:
        DegenerateNetworkError: the network has no convolution and no linear layer.
    """
    layers = weighted_layers(probe.model)
    if not layers:
        raise DegenerateNetworkError("the network has no convolution and no linear layer")
    return sum(float(layer.weight.detach().double().norm()) for layer in layers)


DEFINITION = ScoreDefinition(
    "l2_norm",
    l2_norm,
    needs=(),
    cost="none",
    direction="larger weights are taken as better; a baseline",
    known_failure="counts layers and channels, and does not see whether the output depends on the input",
)
