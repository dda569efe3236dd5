"""The best architecture under a limit if scores and costs are sums over choices: exact, without sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onepath.counting.best_first import Accepts, best_first
from onepath.counting.cost_table import CostTable
from onepath.errors import InfeasibleError, SpaceError
from onepath.space.layers import decision_order, joint_cost, last_uses

if TYPE_CHECKING:
    from onepath.space.architecture import Architecture
    from onepath.space.search_space import SearchSpace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MOST_LABELS = 2**21


@dataclass(frozen=True)
class _Labels:
    """Partial architectures in one state: their costs, their scores, and the options chosen so far."""

    costs: Ints
    scores: Floats
    rows: npt.NDArray[np.int16]  # (labels, num_choices) option indices; -1: inactive or not decided yet


def most_probable(
    space: SearchSpace,
    scores: Mapping[str, Sequence[float]],
    table: CostTable | None = None,
    maximum: float | None = None,
    accepts: Accepts | None = None,
) -> Architecture:
    """Return the architecture with the highest sum of scores among those whose cost is at most `maximum`.

    If the scores are logarithms of probabilities, this is the most probable architecture. Choices are decided one after
    the other. Among the partial architectures that later choices cannot tell apart, those that cost no less and score
    no more than another one are dropped, so the answer is exact.

    Among equal scores, the less costly architecture wins if there is a limit, then the first in lexicographic order of
    the option indices in the order of the space. If `accepts` rejects this architecture, the others are tried in the
    order of `best_first`.

    Args:
        space: space whose architectures are searched.
        scores: choice -> one finite number per option, higher is better; a score counts only if the choice is active. A
            choice without an entry has score 0 for every option.
        table: additive cost of an architecture; None: there is no cost.
        maximum: largest cost allowed, inclusive, in the table's unit; None: there is no limit.
        accepts: tells whether an architecture is acceptable; architectures are tried by falling score until one is.
            None accepts every architecture.

    Raises:
        SpaceError: a score is of an unknown choice, is not finite, or there is not one per option; or so many choices
            are tied together that the partial architectures cannot be listed; or too many architectures are rejected by
            `accepts`, see `best_first`.
        InfeasibleError: no architecture is within the limit, and the message names the smallest cost; or `accepts`
            rejects every architecture within the limit.

    Example:
        >>> space = SearchSpace([Choice("a", ["small", "large"]), Choice("b", ["small", "large"])])
        >>> table = CostTable(0, [CostTerm("a", [1, 5]), CostTerm("b", [1, 4])])
        >>> scores = {"a": [0.0, 2.0], "b": [0.0, 1.5]}
        >>> [most_probable(space, scores, table, limit).indices for limit in (9, 8, 5)]
        [(1, 1), (1, 0), (0, 1)]
    """
    own = _checked(space, scores)
    best = _most_probable(space, own, table, maximum)
    if accepts is None or accepts(best):
        return best
    for architecture in best_first(space, own):
        within = table is None or maximum is None or table.cost(architecture) <= maximum
        if within and accepts(architecture):
            return architecture
    raise InfeasibleError(
        "some architecture within the limit must be accepted, but none is: a cell whose output depends on its input, "
        "for one; raise the limit"
    )


def _most_probable(
    space: SearchSpace, own: Sequence[Floats], table: CostTable | None, maximum: float | None
) -> Architecture:
    """Return the answer of `most_probable` if every architecture is accepted."""
    limit = None if table is None or maximum is None else table.highest_tick(maximum) - table.constant_ticks
    terms = []
    if table is not None and limit is not None:
        terms = list(zip(table.columns(space), table.term_ticks, strict=True))
    order = decision_order(space, terms)
    position = {column: step for step, column in enumerate(order)}
    last_use = last_uses(order, space, terms)
    nothing = np.full((1, space.num_choices), -1, dtype=np.int16)
    states: dict[tuple[int, ...], _Labels] = {(): _Labels(np.zeros(1, dtype=np.int64), np.zeros(1), nothing)}
    is_open: list[int] = []
    for step, column in enumerate(order):
        completed = [(c, t) for c, t in terms if max(position[other] for other in c) == step]
        still_open = [other for other in [*is_open, column] if last_use[other] > step]
        following: dict[tuple[int, ...], list[_Labels]] = {}
        for state, labels in states.items():
            known: dict[int, int] = dict(zip(is_open, state, strict=True))
            active = space.conditions.is_active(column, known.__getitem__)
            for index in range(space.choices[column].num_options) if active else (-1,):
                known[column] = index
                cost = sum(joint_cost(columns, ticks, known) for columns, ticks in completed)
                rows = labels.rows.copy()
                rows[:, column] = index
                score = own[column][index] if index >= 0 else 0.0
                key = tuple(known[other] for other in still_open)
                following.setdefault(key, []).append(
                    _Labels(labels.costs + cost, labels.scores + score, rows)
                )
        states = {key: _best(parts, bounded=limit is not None) for key, parts in following.items()}
        if sum(len(labels.costs) for labels in states.values()) > _MOST_LABELS:
            raise SpaceError(
                f"the search for the best architecture may keep {_MOST_LABELS} partial ones, but needs more; "
                "use a cost table with coarser numbers"
            )
        is_open = still_open
    labels = states[()]
    within = np.ones(len(labels.costs), dtype=np.bool_) if limit is None else labels.costs <= limit
    if not within.any():
        assert table is not None
        least = table.in_unit(int(labels.costs.min()) + table.constant_ticks)
        raise InfeasibleError(
            f"the limit must leave an architecture, but the least costly one has {f'{least} {table.unit}'.rstrip()} "
            f"and the limit is {maximum}; raise it"
        )
    winner = int(np.flatnonzero(within)[-1])  # costs and scores rise together
    return space.architecture([max(index, 0) for index in labels.rows[winner].tolist()])


def _checked(space: SearchSpace, scores: Mapping[str, Sequence[float]]) -> list[Floats]:
    own = [np.zeros(choice.num_options) for choice in space.choices]
    for name, values in scores.items():
        column = space.column(name)
        array = np.asarray(values, dtype=np.float64)
        if array.shape != own[column].shape or not np.isfinite(array).all():
            raise SpaceError(
                f"scores must be one finite number per option; got {array.tolist()} for choice {name!r} of "
                f"{len(own[column])} options; check them"
            )
        own[column] = array
    return own


def _best(parts: Sequence[_Labels], *, bounded: bool) -> _Labels:
    """Return the labels that no other one dominates, by rising cost and score; unless `bounded`, only the best one."""
    costs = np.concatenate([part.costs for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    if not bounded:
        costs = np.zeros_like(costs)
    order = np.lexsort((*rows.T[::-1], -scores, costs))
    best = np.maximum.accumulate(scores[order])
    kept = order[np.concatenate([[True], best[1:] > best[:-1]])]
    return _Labels(costs[kept], scores[kept], rows[kept])
