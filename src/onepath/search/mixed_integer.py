"""A search by mixed-integer programming: the least sum of losses, one for each option, under additive limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.counting import CostTable, CostTerm
from onepath.counting.joint_terms import joint_terms
from onepath.errors import InfeasibleError
from onepath.search.algorithm import Proposal, Score
from onepath.search.driver import check_told
from onepath.search.feasible import Constraint, FeasibleSet
from onepath.space import Architecture, Option, SearchSpace
from onepath.space.ends import end_of, swaps_of

_MOST_ILLEGAL = 20  # answers that break a limit without a table before the search is guided
_NUM_HALVINGS, _FAR = 12, 2.0
_GAP = 1e-4


class MixedInteger:
    """Proposes the architectures with the least sums of losses, where each option of a choice has its own loss.

    The variables are x[choice, option] in {0, 1}, with a sum of 1 over the options of a choice. Each limit with an
    additive table is one inequality. A term over several choices has one more variable for each joint option, whose
    sums over the other choices equal the x of each choice. A choice that is not active costs nothing and loses nothing.

    The first `ask` proposes up to `num` architectures, the best first; any two of them differ in at least
    `num_different` choices. An architecture that breaks a limit without a table, such as a peak of memory, is left
    out, and the next best one is taken. If 20 are not enough, the sizes are bounded until answers are legal, as if
    costs rose with every size; these answers need not be the best. After the first `ask` the search is finished.

    Args:
        space: the space to search.
        losses: name of a choice -> loss of each of its options, lower is better. Choices that are not named lose
            nothing.
        num: number of architectures to propose.
        num_different: number of choices in which two of them differ at least.

    Source: Bercovich et al., "Puzzle: Distillation-Based NAS for Inference-Optimized LLMs" (arXiv 2411.19146). Differs
    from it: the variants of a block are the joint options of its choices, and their costs may depend on other blocks.
    """

    def __init__(
        self,
        space: SearchSpace,
        losses: Mapping[str, Mapping[Option, float]],
        num: int = 1,
        num_different: int = 1,
    ) -> None:
        self.space, self.num, self.num_different = space, num, num_different
        self._losses = losses
        self._asked: list[Architecture] | None = None

    @property
    def generation(self) -> int:
        """0 for the architectures to evaluate; -1 before the first `ask`."""
        return -1 if self._asked is None else 0

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """Return the architectures at the first call, an empty list at later ones.

        Raises:
            ConfigurationError: a term of a limit's table has more than 65,536 joint options.
            InfeasibleError: no architecture that was tried meets the limits.
        """
        if self._asked is not None:
            return []
        found = self._answers(self._program(feasible), feasible)
        if not found:
            found = self._guided(feasible)
        if not found:
            limits = ", ".join(f"{limit.name}={limit.maximum:g}" for limit in feasible.limits)
            raise InfeasibleError(
                f"an architecture must meet the limits, but none of those tried meets {limits}; raise them"
            )
        self._asked = found
        return [Proposal(architecture, "derived") for architecture in found]

    def _program(self, feasible: FeasibleSet) -> _Program:
        program = _Program(self.space, self._table())
        for limit in feasible.limits:
            if limit.table is not None:
                program.limit(limit.table, limit.maximum)
        return program

    def _answers(self, program: _Program, feasible: FeasibleSet) -> list[Architecture]:
        """Return up to `num` legal answers of a program, the best first; fewer after 20 illegal ones."""
        found: list[Architecture] = []
        num_illegal = 0
        while len(found) < self.num and num_illegal < _MOST_ILLEGAL:
            solved = program.solve()
            if solved is None:
                break
            is_legal = bool(feasible.is_legal(self.space.matrix([solved]))[0])
            found += [solved] if is_legal else []
            num_illegal += not is_legal
            program.forbid(solved, self.num_different if is_legal else 1)
        return found

    def _guided(self, feasible: FeasibleSet) -> list[Architecture]:
        """Return answers under limits without a table, by the largest bound on the rise above the smallest sizes.

        The rise of an option is the cost of the smallest architecture with that option over its own cost, as a share
        of what the limit leaves. Options whose rise alone is too much are left out. The bound on the sum of the rises
        is found by bisection.
        """
        rise = self._rise([limit for limit in feasible.limits if limit.table is None])
        if rise is None:
            return []

        def bounded(bound: float) -> _Program:
            program = self._program(feasible)
            program.limit(rise, bound)
            program.leave_out(rise, 1.0)
            return program

        low, high = 0.0, float(sum(max(term.costs[term.costs <= 1], default=0.0) for term in rise.terms))
        bound = high
        for _ in range(_NUM_HALVINGS):
            first = bounded(bound).solve()
            is_legal = first is not None and bool(feasible.is_legal(self.space.matrix([first]))[0])
            low, high = (bound, high) if is_legal else (low, bound)
            bound = (low + high) / 2
        return self._answers(bounded(low), feasible)

    def _rise(self, limits: Sequence[Constraint]) -> CostTable | None:
        """Return the largest rise over these limits of each option; None if the smallest sizes break one of them."""
        smallest = end_of(self.space, min)
        swaps = swaps_of(smallest)
        rows, rises = self.space.matrix([smallest, *swaps.values()]), np.zeros(len(swaps))
        for limit in limits:
            costs = np.asarray(limit.costs(rows), dtype=np.float64)
            if costs[0] > limit.maximum:
                return None
            left = max(limit.maximum - costs[0], np.finfo(np.float64).tiny)
            rises = np.maximum(rises, np.minimum((costs[1:] - costs[0]) / left, _FAR))
        shares = np.split(rises, np.cumsum(self.space.num_options)[:-1])
        return CostTable(
            0.0,
            [CostTerm(choice.name, part) for choice, part in zip(self.space.choices, shares, strict=True)],
        )

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Check the scores as `Algorithm.tell` does; they are not used.

        Raises:
            ConfigurationError: the architectures are not those of the last `ask`.
        """
        check_told(self._asked or [], architectures, scores)

    def _table(self) -> CostTable:
        terms = []
        for name, losses in self._losses.items():
            choice = self.space.choices[self.space.column(name)]
            terms.append(CostTerm(name, [float(losses[option]) for option in choice.options]))
        return CostTable(0.0, terms, "loss")


class _Program:
    """A mixed-integer program over the options of a space: variables, equalities, inequalities and an objective.

    Args:
        space: space of the variables.
        objective: what is minimised.
    """

    def __init__(self, space: SearchSpace, objective: CostTable) -> None:
        self.space = space
        self._starts = np.concatenate([[0], np.cumsum(space.num_options)])
        self._num = int(self._starts[-1])
        self._groups: dict[tuple[int, ...], int] = {
            (c,): int(self._starts[c]) for c in range(space.num_choices)
        }
        self._equal: list[tuple[dict[int, float], float]] = [
            ({int(start) + option: 1.0 for option in range(num)}, 1.0)
            for start, num in zip(self._starts, space.num_options, strict=False)
        ]
        self._below: list[tuple[dict[int, float], float]] = []
        self._objective = self._row(objective)

    def limit(self, table: CostTable, maximum: float) -> None:
        """Add the inequality cost <= maximum, divided by its largest entry so that tolerances mean the same."""
        row, bound = self._row(table), float(maximum) - float(table.constant)
        scale = max([abs(bound), *map(abs, row.values())]) or 1.0
        self._below.append(({place: value / scale for place, value in row.items()}, bound / scale))

    def leave_out(self, table: CostTable, most: float) -> None:
        """Leave out the options whose own entry in a table of single choices is over `most`."""
        row = {place: 1.0 for place, value in self._row(table).items() if value > most}
        self._below.append((row, 0.0))

    def forbid(self, architecture: Architecture, num_different: int) -> None:
        """Demand of later solutions that `num_different` of the active options of an architecture change."""
        active = self.space.active_columns(architecture.indices)
        row = {int(self._starts[column]) + architecture.indices[column]: 1.0 for column in active}
        self._below.append((row, float(len(active) - num_different)))

    def solve(self) -> Architecture | None:
        """Return the architecture of the least objective; None if none meets the inequalities."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        costs = np.zeros(self._num)
        costs[list(self._objective)] = list(self._objective.values())
        rows = [*((row, bound, bound) for row, bound in self._equal)]
        rows += [(row, -np.inf, bound) for row, bound in self._below]
        constraint = LinearConstraint(
            _sparse([row for row, _, _ in rows], self._num),
            np.array([low for _, low, _ in rows]),
            np.array([high for _, _, high in rows]),
        )
        is_option = np.arange(self._num) < self._starts[-1]
        found = milp(
            costs,
            integrality=is_option.astype(np.int64),
            bounds=Bounds(0, 1),
            constraints=constraint,
            options={"mip_rel_gap": _GAP},
        )
        if found.x is None:
            return None
        options = [
            int(np.argmax(found.x[start:end]))
            for start, end in zip(self._starts, self._starts[1:], strict=False)
        ]
        return self.space.architecture(options)

    def _row(self, table: CostTable) -> dict[int, float]:
        """Return the coefficient of each variable in a cost, without the constant; variables are added as needed."""
        row: dict[int, float] = {}
        for columns, costs in joint_terms(self.space, table):
            start = self._group(columns, costs.shape)
            for place, cost in enumerate(costs.ravel().tolist()):
                if cost:
                    row[start + place] = row.get(start + place, 0.0) + cost
        return row

    def _group(self, columns: tuple[int, ...], shape: tuple[int, ...]) -> int:
        """Return the first of the variables of a group's joint options, one for each in the order of `ravel`."""
        if columns in self._groups:
            return self._groups[columns]
        start = self._groups[columns] = self._num
        joint = np.indices(shape).reshape(len(shape), -1)
        self._num += joint.shape[1]
        for axis, column in enumerate(columns):
            for option in range(shape[axis]):
                members = start + np.flatnonzero(joint[axis] == option)
                row = {int(member): 1.0 for member in members} | {int(self._starts[column]) + option: -1.0}
                self._equal.append((row, 0.0))
        return start


def _sparse(rows: Sequence[Mapping[int, float]], num_columns: int) -> npt.ArrayLike:
    from scipy.sparse import csr_array

    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    columns: list[Any] = [place for row in rows for place in row]
    values = [value for row in rows for value in row.values()]
    matrix: npt.ArrayLike = csr_array((values, columns, starts), shape=(len(rows), num_columns))
    return matrix
