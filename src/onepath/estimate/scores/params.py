"""`params`: the number of parameters, the baseline that a score must beat."""

from __future__ import annotations

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.probe import Probe


def params(probe: Probe) -> float:
    """Count the parameters, a shared one once; higher is taken as better."""
    return float(sum(parameter.numel() for parameter in probe.model.parameters()))


DEFINITION = ScoreDefinition(
    "params",
    params,
    needs=(),
    cost="none",
    direction="more parameters are taken as better",
    known_failure="many ties; says little among the best networks of a space, and nothing at a given size",
    reads_weights=False,
)
