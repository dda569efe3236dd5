"""From logits to one architecture."""

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
    """The most probable architecture, of those within a limit; exact, see `most_probable`.

    Of a node's edges those are kept whose best operations weigh most. A block's `none` is never taken. Architectures
    whose output does not depend on their input are passed over (`SearchSpace.is_connected`).

    Args:
        relaxation: not changed.
        rule: what is compared between edges. "weights" are softmax weights, so that a large weight of `none` demotes
            its edge, as in the released code of DARTS; "logits" are raw logits, which know nothing of `none`, as in
            other implementations. Between the operations of one edge both agree. Ties go to the lowest index.
        table: an additive cost.
        maximum: largest cost allowed, inclusive, in the table's unit.

    Raises:
        ConfigurationError: another rule.
        InfeasibleError: no such architecture is within the limit.
    """
    space, scores = relaxation.space, option_scores(relaxation, rule)
    return most_probable(space, scores, table, maximum, accepts=space.is_connected)


def option_scores(relaxation: Relaxation, rule: Rule) -> dict[str, list[float]]:
    """Differentiable choice -> a score per option, higher is better; `derive` takes the highest sum over active ones.

    Raises:
        ConfigurationError: another rule.
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
    """How many of the active differentiable choices hand their input on."""
    options = architecture.options
    return sum(
        options.get(name) in skips for name, skips in zip(relaxation.names, relaxation.skips, strict=True)
    )
