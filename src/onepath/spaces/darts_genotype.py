"""The published notation of DARTS's cells, and the choices that represent it.

A cell has two inputs, 0 and 1, and four nodes, 2 to 5. Each node keeps two of the edges from all states before it,
and each kept edge has one operation. See docs/decisions/008.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from onepath.errors import SpaceError
from onepath.nn.edge_sum import edge_options
from onepath.space import Choice, Option
from onepath.spaces.darts_operations import OPERATIONS

CELLS = ("normal", "reduce")
NODES = (2, 3, 4, 5)
KEPT_EDGES = 2

_PAIR = r"\(\s*['\"](\w+)['\"]\s*,\s*(\d+)\s*\)"


def edge_name(cell: str, source: int, node: int) -> str:
    """Return the name of the choice that decides an edge's operation, such as "normal.0->2"."""
    return f"{cell}.{source}->{node}"


def kept_name(cell: str, node: int) -> str:
    """Return the name of the choice that decides a node's edges, such as "normal.3".

    Node 2 has only two edges to keep, so it has no such choice.
    """
    return f"{cell}.{node}"


def cell_choices(cell: str) -> tuple[dict[int, Choice | None], dict[tuple[int, int], Choice]]:
    """Make the choices of one kind of cell.

    Args:
        cell: "normal" or "reduce".

    Returns:
        Node -> the choice of its edges, or None for node 2; and (source, node) -> the choice of the edge's operation.
    """
    kept = {
        node: None if node == NODES[0] else Choice(kept_name(cell, node), edge_options(node, KEPT_EDGES))
        for node in NODES
    }
    edges = {
        (source, node): Choice(edge_name(cell, source, node), OPERATIONS)
        for node in NODES
        for source in range(node)
    }
    return kept, edges


class Genotype:
    """The notation `Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], ...)`.

    A cell has two pairs (operation, state) for each of the four nodes in turn. The order of the two pairs does not
    matter when a genotype is read; they are written by rising state.
    """

    def parse(self, text: str) -> Mapping[str, Option] | None:
        """Return the options (choice name -> option) of a genotype, or None for a text of another form.

        Raises:
            SpaceError: the genotype is of another space: it has another number of edges, an unknown operation, an edge
                from a later state, two edges of a node from one state, or an output other than all four nodes.
        """
        cells = written_cells(text)
        if cells is None:
            return None
        for cell in CELLS:
            concat = re.search(
                rf"\b{cell}_concat\s*=\s*(range\(\s*2\s*,\s*6\s*\)|\[\s*2\s*,\s*3\s*,\s*4\s*,\s*5\s*\])", text
            )
            if concat is None and f"{cell}_concat" in text:
                raise _wrong(f"{cell}_concat other than range(2, 6)")
        options: dict[str, Option] = {}
        for cell, pairs in cells.items():
            options.update(_cell_options(cell, pairs))
        return options

    def format(self, options: Mapping[str, Option]) -> str:
        """Return the genotype of these options (choice name -> option), on one line."""
        cells = ", ".join(f"{cell}={pairs_of(cell, options)}, {cell}_concat=range(2, 6)" for cell in CELLS)
        return f"Genotype({cells})"


def written_cells(text: str) -> dict[str, list[tuple[str, str]]] | None:
    """Return cell -> its pairs (operation, number of a state) as written; None if the text lacks a cell."""
    parts = {
        cell: re.search(rf"\b{cell}\s*=\s*\[((?:\s*{_PAIR}\s*,?)+)\s*\]", text, re.DOTALL) for cell in CELLS
    }
    found = {cell: re.findall(_PAIR, part[1]) for cell, part in parts.items() if part is not None}
    return found if len(found) == len(CELLS) else None


def pairs_of(cell: str, options: Mapping[str, Option]) -> list[tuple[str, int]]:
    """Return the (operation, state) pairs of a cell: two per node, by rising state.

    Args:
        cell: "normal" or "reduce".
        options: choice name -> option, for the choices of this cell.
    """
    return [
        (str(options[edge_name(cell, source, node)]), source)
        for node in NODES
        for source in map(int, str(options.get(kept_name(cell, node), "0,1")).split(","))
    ]


def _cell_options(cell: str, pairs: list[tuple[str, str]]) -> dict[str, Option]:
    if len(pairs) != KEPT_EDGES * len(NODES):
        raise _wrong(f"{len(pairs)} edges in the {cell} cell")
    options: dict[str, Option] = {}
    for position, node in enumerate(NODES):
        own = sorted((int(source), name) for name, source in pairs[2 * position : 2 * position + 2])
        sources = [source for source, _ in own]
        if len(set(sources)) < KEPT_EDGES or sources[-1] >= node:
            raise _wrong(f"edges from the states {sources} into node {node} of the {cell} cell")
        if node != NODES[0]:
            options[kept_name(cell, node)] = ",".join(map(str, sources))
        for source, name in own:
            if name not in OPERATIONS:
                raise _wrong(f"the operation {name!r}")
            options[edge_name(cell, source, node)] = name
    return options


def _wrong(what: str) -> SpaceError:
    return SpaceError(
        "a genotype of this space has 2 edges from different earlier states into each of 4 nodes, with operations of "
        f"{', '.join(OPERATIONS)}, and all nodes concatenated; got {what}; use one of this form"
    )
