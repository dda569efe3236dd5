from __future__ import annotations

import time

import numpy as np
import pytest
from counting.tables import conditional_space, conditional_table, plain_space, plain_table

from onepath.counting import CostTable, CostTerm
from onepath.errors import SpaceError


def test_cost_is_the_constant_plus_active_terms() -> None:
    space = conditional_space()
    table = CostTable(
        5,
        [
            CostTerm(("depth",), [1, 2, 3]),
            CostTerm(("blocks.2", "depth"), np.arange(9).reshape(3, 3) * 10),
            CostTerm(("blocks.4",), [1000, 2000, 3000]),
        ],
        "MACs",
    )
    assert table.cost(space.architecture([0, 0, 0, 0, 0, 0, 0])) == 6
    assert table.cost(space.architecture([1, 0, 0, 2, 0, 0, 0])) == 5 + 2 + 70
    assert table.cost(space.architecture([2, 0, 0, 1, 0, 2, 0])) == 5 + 3 + 50 + 3000
    assert isinstance(table.cost(space.architecture([0] * 7)), int)


@pytest.mark.parametrize("kind", ["int", "float"])
def test_costs_of_rows_agree_with_a_plain_sum(kind: str) -> None:
    space, table = conditional_space(), conditional_table(kind)
    rows = space.enumerate_matrix()
    costs = table.costs(space, rows)
    assert costs.dtype == (np.int64 if kind == "int" else np.float64)
    for architecture, cost in zip(space.architectures(rows[::37]), costs[::37], strict=True):
        expected = table.constant
        for term in table.terms:
            if all(name in architecture.options for name in term.choices):
                expected += term.costs[
                    tuple(architecture.indices[space.column(name)] for name in term.choices)
                ]
        assert cost == pytest.approx(expected, rel=1e-12)


def test_inactive_options_do_not_count_even_where_rows_are_not_canonical() -> None:
    space, table = conditional_space(), conditional_table("int")
    rows = np.random.default_rng(0).integers(0, 3, (200, 7))
    assert (table.costs(space, rows) == table.costs(space, space.canonical(rows))).all()


def test_float_sums_are_exact_in_any_order() -> None:
    space = plain_space(6)
    rng = np.random.default_rng(0)
    terms = [CostTerm((f"c{index}",), rng.lognormal(size=4) * 10.0**index) for index in range(6)]
    rows = space.sample(5000, rng)
    costs = CostTable(0.1, terms).costs(space, rows)
    assert (costs == CostTable(0.1, terms[::-1]).costs(space, rows)).all()
    plain = 0.1 + sum(term.costs[rows[:, index]] for index, term in enumerate(terms))
    assert costs == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_float_tables_of_any_scale(scale: float) -> None:
    space = plain_space(3)
    table = CostTable(
        0, [CostTerm((f"c{index}",), np.array([1.0, 2.5, 3.0, 7.25]) * scale) for index in range(3)]
    )
    assert table.extremes(space) == (pytest.approx(3 * scale), pytest.approx(21.75 * scale))
    costs = table.costs(space, space.enumerate_matrix())
    assert space.count_within(table, None, float(np.median(costs))) == (costs <= np.median(costs)).sum()


@pytest.mark.parametrize("kind", ["int", "float"])
def test_extremes_agree_with_enumeration(kind: str) -> None:
    space, table = conditional_space(), conditional_table(kind)
    costs = table.costs(space, space.enumerate_matrix())
    assert table.extremes(space) == (costs.min(), costs.max())


def test_empty_table_costs_its_constant() -> None:
    space = plain_space(3)
    table = CostTable(7, [])
    assert table.extremes(space) == (7, 7)
    assert space.count_within(table, 7, 7) == 64
    assert space.count_within(table, 8, None) == 0


def test_json_round_trip() -> None:
    for kind in ("int", "float"):
        table = conditional_table(kind)
        again = CostTable.from_json(table.to_json())
        assert again.fingerprint == table.fingerprint
        assert again.unit == table.unit
        assert again.is_integer == (kind == "int")
    with pytest.raises(SpaceError, match="constant, terms and unit"):
        CostTable.from_json("{}")
    with pytest.raises(SpaceError, match="constant, terms and unit"):
        CostTable.from_json("not json")


def test_fingerprint_sees_every_number() -> None:
    tables = [
        CostTable(0, [CostTerm(("a",), [1, 2])]),
        CostTable(1, [CostTerm(("a",), [1, 2])]),
        CostTable(0, [CostTerm(("a",), [1, 3])]),
        CostTable(0, [CostTerm(("b",), [1, 2])]),
        CostTable(0.0, [CostTerm(("a",), [1, 2])]),
    ]
    assert len({table.fingerprint for table in tables}) == len(tables)


def test_terms_do_not_change() -> None:
    given = np.array([1, 2, 3, 4])
    term = CostTerm("c0", given)
    given[0] = 100
    assert term.choices == ("c0",)
    assert term.costs[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        term.costs[0] = 2


@pytest.mark.parametrize(
    ("choices", "costs", "message"),
    [
        ((), 1, "one or more distinct"),
        (("a", "a"), [[1]], "one or more distinct"),
        (("a", "b"), [1, 2], "need 2 dimensions"),
        (("a",), [1.0, float("nan")], "finite"),
        (("a",), ["x", "y"], "finite numbers"),
        (("a",), [True, False], "finite numbers"),
    ],
)
def test_malformed_terms(choices, costs, message) -> None:
    with pytest.raises(SpaceError, match=message):
        CostTerm(choices, costs)


def test_malformed_tables() -> None:
    space = plain_space(3)
    with pytest.raises(SpaceError, match="must be a number"):
        CostTable("1", [])
    with pytest.raises(SpaceError, match="must be finite"):
        CostTable(float("inf"), [])
    with pytest.raises(SpaceError, match="below 2\\^48"):
        CostTable(0, [CostTerm(("c0",), [0, 2**48, 0, 0])])
    with pytest.raises(SpaceError, match="got 'c9'; did you mean"):
        CostTable(0, [CostTerm(("c9",), [0, 1, 2, 3])]).extremes(space)
    with pytest.raises(SpaceError, match=r"must have shape \(4,\); got \(3,\)"):
        CostTable(0, [CostTerm(("c0",), [0, 1, 2])]).extremes(space)


def test_a_hundred_thousand_rows_cost_little_time() -> None:
    space, table = plain_space(), plain_table()
    rows = space.sample(100_000, np.random.default_rng(0))
    seconds = []
    for _ in range(5):
        start = time.process_time()
        table.costs(space, rows)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1
