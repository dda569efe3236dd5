"""`macs`: the multiply-accumulates of one example."""

from __future__ import annotations

from onepath.cost import module_cost
from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.probe import Probe


def macs(probe: Probe) -> float:
    """Count the multiply-accumulates of one example, see `onepath.cost.ModuleCost`; higher is taken as better.

    Raises:
        ShapeError: the network rejects the shape of the inputs.
    """
    return float(module_cost(probe.model, tuple(probe.inputs.shape[1:])).macs)


DEFINITION = ScoreDefinition(
    "macs",
    macs,
    needs=(),
    cost="1 forward without data",
    direction="more multiply-accumulates are taken as better",
    known_failure="as params: many ties, and nothing at a given cost",
    reads_weights=False,
)
