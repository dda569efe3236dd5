"""`grasp`: how much removing a weight would lower the flow of gradients, summed.

Source: Wang et al., "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020 (arXiv
2002.07376); summed over a network as in "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134).
"""

from __future__ import annotations

import torch

from onepath.estimate.scores.backward import check_depends, gradients_of, watched
from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.probe import Probe, weighted_layers


def grasp(probe: Probe) -> float:
    """`-sum of w * (H g)` over the weights of convolutions and linear layers; higher is better.

    H is the Hessian of the loss with respect to these weights and g the gradient; a second backward pass through
    `g^T constant(g)` gives `H g`. For a loss `1/2 w^T A w` the score is `-w^T A (A w)`.

    Raises:
        DegenerateNetworkError: there are no weights, every gradient is zero, or the loss does not depend on the inputs.
    """
    weights = [layer.weight for layer in weighted_layers(probe.network)]
    if not weights:
        raise DegenerateNetworkError("the network has no convolution and no linear layer")
    with torch.enable_grad():
        inputs = watched(probe.inputs)
        loss = probe.loss(probe.network(inputs), probe.targets)
        *gradients, by_inputs = gradients_of(loss, (*weights, inputs), create_graph=True)
        check_depends(inputs, by_inputs, gradients)
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
