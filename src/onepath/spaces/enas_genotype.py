"""The notation of ENAS's cells, the choices that represent it, and a cell's loose ends.

A cell has two inputs, states 0 and 1, and five nodes, states 2 to 6. Each node adds two operations, and each operation
reads an earlier state of its own choice. The output of the cell joins its loose ends: the states that no node reads.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from onepath.errors import SpaceError
from onepath.space import Choice, Option
from onepath.spaces.darts_genotype import CELLS, written_cells

OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")
"""The operations in the order of the released code; their names are those of DARTS."""
NUM_INPUTS = 2
NUM_NODES = 5
NUM_STATES = NUM_INPUTS + NUM_NODES
NODES = tuple(range(NUM_INPUTS, NUM_STATES))
SIDES = ("first", "second")


def input_name(cell: str, node: int, side: str) -> str:
    """Return the name of the choice of the state that an operation reads, such as "normal.3.first.input"."""
    return f"{cell}.{node}.{side}.input"


def operation_name(cell: str, node: int, side: str) -> str:
    """Return the name of the choice of an operation, such as "normal.3.first.operation"."""
    return f"{cell}.{node}.{side}.operation"


def cell_choices(cell: str) -> dict[str, Choice]:
    """Make the choices of one kind of cell: name -> choice, in the order of the released code's integers.

    Args:
        cell: "normal" or "reduce".
    """
    choices = []
    for node in NODES:
        for side in SIDES:
            choices.append(Choice(input_name(cell, node, side), tuple(map(str, range(node)))))
            choices.append(Choice(operation_name(cell, node, side), OPERATIONS))
    return {choice.name: choice for choice in choices}


def loose_ends(read: Collection[int]) -> tuple[int, ...]:
    """Return the numbers of the states that are not among the states `read`, rising; they may include the inputs.

    The last node is always one of them, because no node comes after it.
    """
    return tuple(state for state in range(NUM_STATES) if state not in read)


class EnasGenotype:
    """The notation `Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=[4, 6], reduce=[...], ...)`.

    A cell has two pairs (operation, state) for each of the five nodes in turn. Their order is kept, because a supernet
    holds different weights for the two operations of a node. `normal_concat` and `reduce_concat` are the loose ends;
    they follow from the pairs and may be left out. The 40 integers of the released code, separated by spaces or commas,
    are the option indices and are read too.
    """

    def parse(self, text: str) -> Mapping[str, Option] | None:
        """Return the options (choice name -> option) of a genotype, or None for a text of another form.

        Raises:
            SpaceError: the genotype is of another space: it has another number of pairs, an unknown operation, a later
                state, or an output other than the loose ends.
        """
        cells = written_cells(text)
        if cells is None:
            return None
        options: dict[str, Option] = {}
        for cell, pairs in cells.items():
            options.update(_cell_options(cell, pairs))
            written, found = _written_concat(cell, text), loose_ends(states_read(cell, options))
            if written is not None and written != set(found):
                raise _wrong(f"{cell}_concat={sorted(written)} where the loose ends are {list(found)}")
        return options

    def format(self, options: Mapping[str, Option]) -> str:
        """Return the genotype of these options (choice name -> option), on one line."""
        cells = ", ".join(
            f"{cell}={pairs_of(cell, options)}, {cell}_concat={list(loose_ends(states_read(cell, options)))}"
            for cell in CELLS
        )
        return f"Genotype({cells})"

    def standalone_form(self, options: Mapping[str, Option]) -> Mapping[str, Option]:
        """Return the options with the two operations of every node by rising state, and then in operation order.

        The operations of a node are added, so their order does not change a stand-alone network. Nodes that could
        change places with each other are left as they are.
        """
        form: dict[str, Option] = {}
        for cell in CELLS:
            pairs = pairs_of(cell, options)
            for position, node in enumerate(NODES):
                own = sorted(
                    pairs[2 * position : 2 * position + 2],
                    key=lambda pair: (pair[1], OPERATIONS.index(pair[0])),
                )
                form.update(_node_options(cell, node, own))
        return form


def pairs_of(cell: str, options: Mapping[str, Option]) -> list[tuple[str, int]]:
    """Return the (operation, state) pairs of a cell: two per node, in the order of the nodes.

    Args:
        cell: "normal" or "reduce".
        options: choice name -> option, for the choices of this cell.
    """
    return [
        (str(options[operation_name(cell, node, side)]), int(options[input_name(cell, node, side)]))
        for node in NODES
        for side in SIDES
    ]


def states_read(cell: str, options: Mapping[str, Option]) -> set[int]:
    """Return the numbers of the states that some node of the cell reads."""
    return {state for _, state in pairs_of(cell, options)}


def _cell_options(cell: str, pairs: list[tuple[str, str]]) -> dict[str, Option]:
    if len(pairs) != len(SIDES) * NUM_NODES:
        raise _wrong(f"{len(pairs)} pairs in the {cell} cell")
    options: dict[str, Option] = {}
    for position, node in enumerate(NODES):
        own = [(name, int(state)) for name, state in pairs[2 * position : 2 * position + 2]]
        for name, state in own:
            if name not in OPERATIONS:
                raise _wrong(f"the operation {name!r}")
            if state >= node:
                raise _wrong(f"state {state} as an input of node {node} of the {cell} cell")
        options.update(_node_options(cell, node, own))
    return options


def _node_options(cell: str, node: int, pairs: list[tuple[str, int]]) -> dict[str, Option]:
    options: dict[str, Option] = {}
    for side, (name, state) in zip(SIDES, pairs, strict=True):
        options[input_name(cell, node, side)] = str(state)
        options[operation_name(cell, node, side)] = name
    return options


def _written_concat(cell: str, text: str) -> set[int] | None:
    """Return the states that a genotype names as the output of a cell, or None if it names none."""
    found = re.search(rf"\b{cell}_concat\s*=\s*(range\(\s*\d+\s*,\s*\d+\s*\)|\[[\d\s,]*\])", text)
    if found is None:
        return None
    numbers = [int(number) for number in re.findall(r"\d+", found[1])]
    return set(range(*numbers)) if found[1].startswith("range") else set(numbers)


def _wrong(what: str) -> SpaceError:
    return SpaceError(
        "a genotype of this space has 2 pairs of an operation and an earlier state for each of 5 nodes, with "
        f"operations of {', '.join(OPERATIONS)}, and its loose ends as output; got {what}; use one of this form"
    )
