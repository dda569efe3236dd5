"""Derive one architecture from the logits of a differentiable search."""

from __future__ import annotations

from typing import Literal

from onepath.counting import CostTable, most_probable
from onepath.errors import ConfigurationError
from onepath.nn.relaxations.relaxation import Relaxation
from onepath.space import Architecture

Rule = Literal["weights", "logits"]


def derive(
    relaxation: Relaxation,
    *,
    rule: Rule = "weights",
    table: CostTable | None = None,
    maximum: float | None = None,
) -> Architecture:
    """Return the most probable architecture among those within a limit; the answer is exact, see `most_probable`.

    A node keeps those of its edges whose best operations weigh most. A block's `none` is never taken. Architectures
    whose output does not depend on their input are skipped (`SearchSpace.is_connected`).

    Args:
        relaxation: the logits; not changed.
        rule: how edges are compared. "weights" compares softmax weights, so that a large weight of `none` makes its
            edge less likely to be kept, as in the released code of DARTS. "logits" compares raw logits, which do not
            depend on `none`, as in other implementations. Both rank the operations of one edge in the same way. Ties go
            to the lowest index.
        table: additive cost of an architecture; None: there is no cost.
        maximum: largest cost allowed, inclusive, in the table's unit; None: there is no limit.

    Raises:
        ConfigurationError: `rule` is neither "weights" nor "logits".
        InfeasibleError: no connected architecture is within the limit.
    """
    space, scores = relaxation.space, option_scores(relaxation, rule)
    return most_probable(space, scores, table, maximum, accepts=space.is_connected)


def option_scores(relaxation: Relaxation, rule: Rule) -> dict[str, list[float]]:
    """Return differentiable choice -> one score per option, higher is better.

    `derive` takes the architecture with the highest sum of scores over its active choices. `rule` is as for `derive`.

    Raises:
        ConfigurationError: `rule` is neither "weights" nor "logits".
    """
    if rule not in ("weights", "logits"):
        raise ConfigurationError(f"rule must be 'weights' or 'logits', but got {rule!r}; use one of them")
    scores = {}
    for name, logits, num in zip(relaxation.names, relaxation.logits, relaxation.num_options, strict=True):
        values = logits.detach().double()
        values = values.log_softmax(0) if rule == "weights" else values
        scores[name] = values[:num].tolist()
    return scores


def num_skips(relaxation: Relaxation, architecture: Architecture) -> int:
    """Return the number of active differentiable choices whose option is a skip connection or an identity."""
    options = architecture.options
    return sum(
        options.get(name) in skips for name, skips in zip(relaxation.names, relaxation.skips, strict=True)
    )
