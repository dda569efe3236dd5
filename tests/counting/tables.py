"""Spaces and tables that several tests use."""

from __future__ import annotations

import numpy as np

from onepath.counting import CostTable, CostTerm
from onepath.space import Choice, SearchSpace


def conditional_space() -> SearchSpace:
    """819 architectures: depth 1, 2, 3 leaves 2, 4, 6 of the blocks."""
    depth = Choice("depth", [1, 2, 3])
    blocks = [Choice(f"blocks.{index}", ["a", "b", "c"]) for index in range(6)]
    conditions = {f"blocks.{index}": [{"depth": [2, 3]}] for index in (2, 3)}
    conditions |= {f"blocks.{index}": [{"depth": [3]}] for index in (4, 5)}
    return SearchSpace([depth, *blocks], conditions)


def conditional_table(kind: str) -> CostTable:
    """A table with terms over one, two and three choices; `kind` is "int" or "float"."""
    rng = np.random.default_rng(7)
    shapes = {
        ("depth",): (3,),
        ("blocks.0",): (3,),
        ("blocks.1", "blocks.4"): (3, 3),
        ("blocks.5", "depth"): (3, 3),
        ("blocks.2", "blocks.3", "blocks.5"): (3, 3, 3),
    }
    draw = (
        (lambda shape: rng.integers(-20, 60, shape))
        if kind == "int"
        else (lambda shape: rng.normal(size=shape))
    )
    return CostTable(
        3 if kind == "int" else 0.1, [CostTerm(names, draw(shape)) for names, shape in shapes.items()]
    )


def plain_space(num_choices: int = 20, num_options: int = 4) -> SearchSpace:
    """Equal choices, none conditional."""
    return SearchSpace([Choice(f"c{index}", list(range(num_options))) for index in range(num_choices)])


def plain_table(
    num_choices: int = 20, num_options: int = 4, largest: int = 10**8, seed: int = 0
) -> CostTable:
    """Arbitrary integer costs for `plain_space`."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, largest, (num_choices, num_options))
    return CostTable(0, [CostTerm((f"c{index}",), row) for index, row in enumerate(costs)], "MACs")


def pair_space(num_pairs: int = 20) -> SearchSpace:
    """Operator and channel scale side by side: 4 * 8 joint options per pair."""
    pairs = [
        (Choice(f"op{index}", list("abcd")), Choice(f"scale{index}", list(range(1, 9))))
        for index in range(num_pairs)
    ]
    return SearchSpace([choice for pair in pairs for choice in pair])


def pair_table(num_pairs: int = 20, seed: int = 0) -> CostTable:
    """Costs that grow with the scale, arbitrary to the last digit, for `pair_space`."""
    rng = np.random.default_rng(seed)
    terms = []
    for index in range(num_pairs):
        costs = (
            rng.integers(10**6, 10**8)
            * rng.uniform(0.5, 1.5, (4, 1))
            * np.arange(1, 9)
            * rng.uniform(0.9, 1.1, (4, 8))
        )
        terms.append(CostTerm((f"op{index}", f"scale{index}"), costs.astype(np.int64)))
    return CostTable(12_345, terms, "MACs")


def window_of(space: SearchSpace, table: CostTable, share: float) -> tuple[int, int]:
    """A window around the median that holds about this share of the space."""
    costs = table.costs(space, space.sample(100_000, np.random.default_rng(0)))
    if share >= 0.01:
        low, high = np.quantile(costs, [0.5 - share / 2, 0.5 + share / 2])
        return int(low), int(high)
    low, high = np.quantile(costs, [0.495, 0.505])
    half = (high - low) * share / 0.01 / 2
    middle = np.median(costs)
    return int(middle - half), int(middle + half)
