"""Drawings of cells as graphs: nodes in a line with operations as arcs between them.

Everything is read from the names of the choices.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onepath.report.drawing import option_hues
from onepath.report.formats import shortened

_EDGE = re.compile(r"(?:(?P<cell>.+)\.)?(?P<source>\d+)->(?P<node>\d+)")
_SIDE = re.compile(r"(?P<cell>.+)\.(?P<node>\d+)\.(?P<side>[a-z]+)\.(?P<part>input|operation)")
# Name of a space -> how its cells combine their inner nodes to the output, and how their inputs are labelled.
_OUTPUTS = {"darts": "concat", "darts-rnn": "mean", "enas-micro": "concat"}
_INPUTS = {
    "darts": ("c(k−2)", "c(k−1)"),
    "enas-micro": ("c(k−2)", "c(k−1)"),
    "darts-rnn": ("x, h",),
    "nasbench201": ("in",),
    "enas-macro": ("in",),
}
_LOOSE_ENDS = ("enas-micro",)  # the output of a cell has only the nodes that no node reads
_WITHOUT_NONE = ("enas-macro",)  # most of its edges could skip, and few do
_NONE, _SKIPS = "none", ("skip", "skip_connect", "identity")
_MARGIN, _RADIUS, _RISE = 46, 17, 30
# Pixels for a letter of a label, and for the space around a label between two nodes.
_LETTER, _BETWEEN = 7, 50
_LABEL_LENGTH = 18
_SHORT_LABEL, _WIDE = 3, 25


@dataclass(frozen=True)
class Node:
    """A node of the cell: its label, the position `x` of its centre and half its width, in pixels."""

    label: str
    x: float
    half_width: float


@dataclass(frozen=True)
class Arc:
    """An operation from one node to another.

    Attributes:
        label: name of the operation, shortened.
        title: the choice and the chosen option, for example "normal.0->2 = none".
        path: SVG path from the source to the edge of the target node.
        x, y: centre of the label, in pixels.
        hue: hue of the operation, in degrees.
        kind: "operation", "skip" or "none".
    """

    label: str
    title: str
    path: str
    x: float
    y: float
    hue: int
    kind: str


@dataclass(frozen=True)
class Cell:
    """A drawing of a cell, all in pixels.

    Attributes:
        name: name of the cell; "" if the space does not name its cells.
        width, height: size of the drawing.
        line: vertical position of the nodes.
        nodes: nodes from left to right.
        arcs: operations between the nodes.
        rails: SVG paths from the inner nodes to the output.
    """

    name: str
    width: float
    height: float
    line: float
    nodes: tuple[Node, ...]
    arcs: tuple[Arc, ...]
    rails: tuple[str, ...]


def draw_cells(choices: Sequence[Mapping[str, Any]], active: Mapping[str, Any], space: str) -> list[Cell]:
    """Draw the cells of an architecture whose edges are choices.

    An edge is a choice called "0->1", or "normal.0->2" in a cell called "normal"; or it is two choices,
    "normal.2.first.input", whose option is the source, and "normal.2.first.operation".

    Args:
        choices: all choices of the space, each {"name": str, "options": [...]}; they determine the colours.
        active: name of each choice that has an effect -> chosen option.
        space: name of the space, which tells for known spaces how a cell combines its nodes.

    Returns:
        One drawing for each cell, in the order of `active`; empty if no choice is an edge.
    """
    hues = option_hues(choices)
    cells: dict[str, dict[tuple[int, int], str]] = {}
    for name, option in active.items():
        found = _EDGE.fullmatch(str(name))
        if found is not None and int(found["source"]) < int(found["node"]):
            edge = (int(found["source"]), int(found["node"]))
            if str(option) != _NONE or space not in _WITHOUT_NONE:
                cells.setdefault(found["cell"] or "", {})[edge] = str(option)
        side = _SIDE.fullmatch(str(name))
        source = (
            active.get(f"{side['cell']}.{side['node']}.{side['side']}.input") if side is not None else None
        )
        if side is not None and side["part"] == "operation" and str(source).isdecimal():
            edges = cells.setdefault(side["cell"], {})
            edge = (int(str(source)), int(side["node"]))
            edges[edge] = f"{edges[edge]} + {option}" if edge in edges else str(option)
    return [_cell(name, edges, hues, space) for name, edges in cells.items()]


def _cell(name: str, edges: Mapping[tuple[int, int], str], hues: Mapping[str, int], space: str) -> Cell:
    numbers = sorted(set(itertools.chain.from_iterable(edges)))
    if space in _LOOSE_ENDS:
        numbers = list(range(numbers[-1] + 1))  # an input that no node reads is a part of the output
    place = {number: index for index, number in enumerate(numbers)}
    spans = [place[node] - place[source] for source, node in edges]
    tops = [span - 1 for span in spans]
    line = _RADIUS + 22 + _RISE * max(tops)
    step = _BETWEEN + _LETTER * max(len(shortened(option, _LABEL_LENGTH)) for option in edges.values())
    xs = [_MARGIN + step * index for index in range(len(numbers))]
    output = _OUTPUTS.get(space)
    labels = _labels(numbers, edges, space, output is not None)
    nodes = [_node(label, x) for label, x in zip(labels, xs, strict=True)]
    below = max((span - 1 for edge, span in zip(edges, spans, strict=True) if _is_below(edge)), default=0)
    height = line + _RADIUS + 10 + (_RISE * below + 14 if below else 0)
    arcs = tuple(
        _arc(name, edge, option, nodes[place[edge[0]]], nodes[place[edge[1]]], line, span, hues)
        for (edge, option), span in zip(edges.items(), spans, strict=True)
    )
    rails: tuple[str, ...] = ()
    if output is not None:
        inner = [x for number, x in zip(numbers, xs, strict=True) if _is_in_output(number, edges, space)]
        rail, end = height + 8, xs[-1] + step
        nodes.append(_node(output, end))
        rails = (
            *(f"M{x:g} {line + _RADIUS:g}V{rail:g}" for x in inner),
            f"M{inner[0]:g} {rail:g}H{end:g}V{line + _RADIUS + 2:g}",
        )
        height = rail + 10
    return Cell(name, nodes[-1].x + _MARGIN, height, line, tuple(nodes), arcs, rails)


def _is_in_output(number: int, edges: Mapping[tuple[int, int], str], space: str) -> bool:
    if space in _LOOSE_ENDS:
        return all(number != source for source, _ in edges)
    return any(number == node for _, node in edges)


def _node(label: str, x: float) -> Node:
    return Node(label, x, _RADIUS if len(label) <= _SHORT_LABEL else _WIDE)


def _is_below(edge: tuple[int, int]) -> bool:
    """Whether an edge over several nodes is drawn below the line: true if its source has an odd number."""
    return edge[0] % 2 == 1


def _labels(
    numbers: Sequence[int], edges: Mapping[tuple[int, int], str], space: str, has_output: bool
) -> list[str]:
    """Return the labels of the nodes.

    Inputs have the names of the space, the last node is "out" unless an output node is added, and other nodes have
    their number.
    """
    inputs = [number for number in numbers if all(number != node for _, node in edges)]
    names = dict(zip(inputs, _INPUTS.get(space, ()), strict=False))
    if not has_output:
        names.setdefault(numbers[-1], "out")
    return [names.get(number, str(number)) for number in numbers]


def _arc(
    cell: str,
    edge: tuple[int, int],
    option: str,
    source: Node,
    node: Node,
    line: float,
    span: int,
    hues: Mapping[str, int],
) -> Arc:
    kind = "none" if option == _NONE else "skip" if option in _SKIPS else "operation"
    start, end = source.x, node.x
    middle, title = (start + end) / 2, f"{cell}.{edge[0]}->{edge[1]}".lstrip(".") + f" = {option}"
    label = shortened(option, _LABEL_LENGTH)
    if span == 1:
        path = f"M{start + source.half_width:g} {line:g}H{end - node.half_width - 2:g}"
        middle = (start + source.half_width + end - node.half_width) / 2
        return Arc(label, title, path, middle, line - 6, hues.get(option, 0), kind)
    sign = 1 if _is_below(edge) else -1
    apex = line + sign * (_RADIUS + _RISE * (span - 1))
    near, bend = line + sign * _RADIUS, 0.3 * (end - start) / span
    path = (
        f"M{start + 5:g} {near:g}C{start + bend:g} {apex:g} {start + bend:g} {apex:g} {middle:g} {apex:g}"
        f"S{end - bend:g} {apex:g} {end - 6:g} {near + 2 * sign:g}"
    )
    return Arc(label, title, path, middle, apex - 5 if sign < 0 else apex + 13, hues.get(option, 0), kind)
