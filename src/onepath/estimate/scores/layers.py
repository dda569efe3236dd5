"""`layers`: the number of convolutions and linear layers."""

from __future__ import annotations

from onepath.cost import COSTS
from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.probe import Probe


def layers(probe: Probe) -> float:
    """Count the convolutions and linear layers, those of parallel branches too; higher is taken as better."""
    return float(COSTS["layers"].count(probe.model, tuple(probe.inputs.shape[1:])).total)


DEFINITION = ScoreDefinition(
    "layers",
    layers,
    needs=(),
    cost="none",
    direction="more layers are taken as better",
    known_failure="many ties, and nothing where all networks have as many layers",
    reads_weights=False,
)
