from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from counting.tables import (
    conditional_space,
    conditional_table,
    pair_space,
    pair_table,
    plain_space,
    plain_table,
)

from onepath.counting import CostTable, CostTerm
from onepath.errors import SpaceError
from onepath.space import Choice, SearchSpace
from onepath.space.layers import (
    Layer,
    _layers_in,
    build_layers,
    closing_order,
    decision_order,
    extremes,
    num_paths,
    write_options,
)


def paths(layers: list[Layer]) -> list[tuple[list[int], int]]:
    """Every path as its edges and its cost, walked one by one."""
    found = [([], 0, 0)]
    for layer in layers:
        found = [
            ([*edges, edge], int(layer.following[state, edge]), cost + int(layer.costs[state, edge]))
            for edges, state, cost in found
            for edge in range(layer.num_edges[state])
        ]
    return [(edges, cost) for edges, _, cost in found]


@pytest.mark.parametrize("kind", ["int", "float"])
def test_paths_are_the_distinct_architectures_with_their_costs(kind: str) -> None:
    space, table = conditional_space(), conditional_table(kind)
    layers = build_layers(space, table)
    every = paths(layers)
    rows = np.zeros((len(every), 7), dtype=np.uint8)
    write_options(layers, np.array([edges for edges, _ in every]).T, rows)
    assert len(np.unique(rows, axis=0)) == len(every) == space.size == num_paths(layers)[0][0]
    assert (space.canonical(rows) == rows).all()
    costs = np.array([cost for _, cost in every]) + table.constant_ticks
    assert (costs == table.ticks(space, rows)).all()
    lowest, highest = extremes(layers)
    assert (lowest, highest) == (min(cost for _, cost in every), max(cost for _, cost in every))


def test_every_order_has_the_same_paths() -> None:
    space, table = conditional_space(), conditional_table("int")
    terms = list(zip(table.columns(space), table.term_ticks, strict=True))
    orders = [closing_order(space, terms), decision_order(space, terms)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(space.num_choices))
    for column in range(space.num_choices):
        for parent in space.conditions.parents(column):
            assert orders[0].index(parent) < orders[0].index(column)
    costs = [sorted(cost for _, cost in paths(_layers_in(order, space, terms))) for order in orders]
    assert costs[0] == costs[1]


def test_joined_states_have_the_same_paths() -> None:
    """Also where a choice is inactive, and where two options leave the same costs."""
    space, table = conditional_space(), conditional_table("int")
    equal = np.zeros((3, 3, 3, 3), dtype=int)
    equal[..., 2] = 7  # of four choices, only the last one matters
    names = ("blocks.0", "blocks.3", "depth", "blocks.4")
    table = CostTable(table.constant, [*table.terms, CostTerm(names, equal)])
    terms = list(zip(table.columns(space), table.term_ticks, strict=True))
    order = decision_order(space, terms)
    plain, joined = _layers_in(order, space, terms), _layers_in(order, space, terms, joins=True)
    assert sum(len(layer.num_edges) for layer in joined) < sum(len(layer.num_edges) for layer in plain)
    found = []
    for layers in (plain, joined):
        every = paths(layers)
        rows = np.zeros((len(every), 7), dtype=np.uint8)
        write_options(layers, np.array([edges for edges, _ in every]).T, rows)
        assert [cost for _, cost in every] == (table.ticks(space, rows) - table.constant_ticks).tolist()
        found.append({tuple(row) for row in rows.tolist()})
    assert found[0] == found[1]
    assert len(found[0]) == space.size


def test_a_term_over_many_choices_needs_few_states_if_little_of_it_matters() -> None:
    """The cost is the number of options that none of eight choices takes: a state is the set of those taken."""
    space = plain_space(8)
    costs = sum(
        functools.reduce(np.multiply.outer, [np.arange(4) != option] * 8).astype(int) for option in range(4)
    )
    table = CostTable(0, [CostTerm(space.names, costs)])
    terms = list(zip(table.columns(space), table.term_ticks, strict=True))
    with pytest.raises(SpaceError, match="joint options at a time"):
        _layers_in(decision_order(space, terms), space, terms)
    layers = build_layers(space, table)
    assert max(len(layer.num_edges) for layer in layers) <= 2**4
    assert num_paths(layers)[0][0] == 4**8
    assert extremes(layers) == (0, 3)


def test_a_chain_of_large_groups_is_listed_group_by_group() -> None:
    """Of six groups of four choices, tied to the next by one of 12 options: never more than two groups are open."""
    rng = np.random.default_rng(0)
    choices, terms = [Choice("link.0", range(12))], []
    for group in range(6):
        inner = [Choice(f"inner.{group}.{index}", range(3)) for index in range(4)]
        link = Choice(f"link.{group + 1}", range(12))
        names = [choices[-1].name, *(choice.name for choice in inner), link.name]
        terms.append(CostTerm(names, rng.integers(100, size=(12, 3, 3, 3, 3, 12))))
        choices += [*inner, link]
    # All inner choices before all links: an order that goes by the number of options opens every group.
    space, table = SearchSpace(sorted(choices, key=lambda choice: choice.name)), CostTable(0, terms)
    layers = build_layers(space, table)
    assert num_paths(layers)[0][0] == space.size == 12**7 * 81**6
    lows, reached = np.zeros(12, dtype=int), []
    for term in terms:
        lows = (lows[:, None] + term.costs.min(axis=(1, 2, 3, 4))).min(axis=0)
        reached.append(lows.min())
    assert extremes(layers)[0] == reached[-1]


def test_without_a_table_paths_are_the_distinct_architectures() -> None:
    space = conditional_space()
    assert len(paths(build_layers(space))) == space.size


def test_a_pair_of_tied_choices_is_one_layer_wherever_they_stand() -> None:
    space = pair_space(5)
    apart = SearchSpace(sorted(space.choices, key=lambda choice: choice.name))
    for ordered in (space, apart):
        layers = build_layers(ordered, pair_table(5))
        assert [layer.costs.shape for layer in layers] == [(1, 32)] * 5


def test_layers_that_move_the_cost_least_come_last() -> None:
    table = plain_table(8)
    spreads = [np.ptp(layer.costs) for layer in build_layers(plain_space(8), table)]
    assert spreads == sorted(spreads, reverse=True)
    free = CostTable(0, [term for term in table.terms if term.choices != ("c3",)])
    assert build_layers(plain_space(8), free)[0].columns == (3,)


def test_parents_come_before_children() -> None:
    space = conditional_space()
    for names in itertools.combinations(space.names, 2):
        shape = tuple(space.choices[space.column(name)].num_options for name in names)
        table = CostTable(0, [CostTerm(names, np.arange(np.prod(shape)).reshape(shape) ** 2)])
        order = [column for layer in build_layers(space, table) for column in layer.columns]
        assert sorted(order) == list(range(7))
        assert all(order.index(0) < order.index(child) for child in (3, 4, 5, 6))


def test_a_chain_of_pairs_keeps_one_choice_open() -> None:
    space = plain_space(30)
    terms = [
        CostTerm((f"c{index}", f"c{index + 1}"), np.arange(16).reshape(4, 4) % (index + 3))
        for index in range(29)
    ]
    layers = build_layers(space, CostTable(0, terms))
    assert max(len(layer.num_edges) for layer in layers) == 4
    assert num_paths(layers)[0][0] == 4**30


def test_more_alternatives_do_not_make_more_architectures() -> None:
    a, b = Choice("a", [0, 1]), Choice("b", [0, 1, 2])
    space = SearchSpace([a, b], {"b": [{"a": [1]}, {"a": [1]}]})
    assert len(paths(build_layers(space))) == space.size == 4
