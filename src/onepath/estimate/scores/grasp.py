"""`grasp`: how much removing a weight would lower the flow of gradients, summed.

Source: Wang et al., "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020 (arXiv
2002.07376), equation 8; summed over a network as in "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134).
"""

from __future__ import annotations

import torch

from onepath.estimate.scores.backward import gradients_of
from onepath.estimate.scores.definition import DegenerateNetworkError, ScoreDefinition
from onepath.estimate.scores.probe import Probe, weighted_layers


def grasp(probe: Probe) -> float:
    """`-sum of w * (H g)` over the weights of convolutions and linear layers; higher is better.

    H is the Hessian of the loss over these weights and g its gradient; `H g` comes from a second backward pass through
    `g^T constant(g)`. For a loss `1/2 w^T A w` it is `-w^T A (A w)`.

    Raises:
        DegenerateNetworkError: there are no weights, or every gradient is zero.
    """
    weights = [layer.weight for layer in weighted_layers(probe.network)]
    if not weights:
        raise DegenerateNetworkError("the network has no convolution and no linear layer")
    with torch.enable_grad():
        loss = probe.loss(probe.network(probe.inputs), probe.targets)
        gradients = gradients_of(loss, weights, create_graph=True)
        if not any(bool(gradient.any()) for gradient in gradients):
            raise DegenerateNetworkError("every gradient is zero: the output does not depend on the weights")
        flow = torch.stack([(g * g.detach()).sum() for g in gradients]).sum()
        products = gradients_of(flow, weights)
    pairs = zip(weights, products, strict=True)
    return -float(torch.stack([(w.detach() * hg).sum(dtype=torch.float64) for w, hg in pairs]).sum())


DEFINITION = ScoreDefinition(
    "grasp",
    grasp,
    needs=("inputs", "labels"),
    cost="1 forward, 1 backward that is differentiated, 1 backward through both: about 4 passes",
    direction="the sign is chosen so that higher is better; it is the opposite of the pruning paper's",
    known_failure="the sign of its relation to accuracy differs between spaces; large variance between seeds",
)
