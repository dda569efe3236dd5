"""The graph of an architecture's own network: nodes, edges, distances, and the nodes of the layers."""

from __future__ import annotations

import numpy as np
import pytest
from hyper.branches import SHAPE, made, supernet_of
from small_cells import cell_space

import onepath as op
from onepath.hyper import PathGraph, chosen_layers, path_graph
from onepath.hyper.path_graph import OPERATIONS


def graph_of(text: str) -> PathGraph:
    twin = supernet_of().on_meta()
    return path_graph(twin, twin.space.parse(text), SHAPE)


def named(graph: PathGraph) -> list[str]:
    return [OPERATIONS[kind] for kind in graph.kinds]


def test_a_chain() -> None:
    graph = graph_of("1")
    assert named(graph) == [
        *("input", "convolution", "normalisation", "activation", "depthwise convolution", "normalisation"),
        *("activation", "average pooling", "linear"),
    ]
    assert graph.edges.tolist() == [[place, place + 1] for place in range(8)]
    assert graph.shapes[4].tolist() == [6, 1, 5, 5]
    assert graph.shapes[8].tolist() == [3, 6, 1, 1]
    assert graph.shapes[3].tolist() == [0, 0, 0, 0]


def test_a_shortcut_is_an_edge() -> None:
    graph = graph_of("2")
    names = named(graph)
    branch, total = names.index("activation"), names.index("sum")
    assert [branch, total] in graph.edges.tolist()
    assert [graph.nodes["block.candidates.2.second"], total] in graph.edges.tolist()
    distances = graph.distances
    assert distances[branch, total] == 1
    assert distances[branch, total + 1] == 2
    assert distances[total, branch] == 0
    assert distances[0, total] == 4


def test_layers_lead_to_the_nodes_that_read_their_weights() -> None:
    graph, names = graph_of("2"), named(graph_of("2"))
    first, second = (graph.nodes[f"block.candidates.2.{name}"] for name in ("first", "second"))
    assert names[first] == names[second] == "convolution"
    assert first < second
    assert "block.candidates.0.0" not in graph.nodes
    assert names[graph.nodes["head"]] == "linear"


def test_every_layer_of_every_path_of_a_space_has_a_node() -> None:
    supernet = op.Supernet(cell_space())
    layers, twin, rng = chosen_layers(supernet), supernet.on_meta(), np.random.default_rng(0)
    for _ in range(6):
        architecture = supernet.space.random(rng)
        graph = path_graph(twin, architecture, SHAPE)
        own = {layer.path: layer.shape for layer in layers if layer.is_in(architecture.options)}
        assert own.keys() <= graph.nodes.keys()
        for path, shape in own.items():
            assert tuple(graph.shapes[graph.nodes[path]].astype(int)) == shape
        assert (graph.edges[:, 0] < graph.edges[:, 1]).all()


def test_the_supernet_is_traced_without_its_weights() -> None:
    supernet = made("ghn")
    architecture = supernet.space.parse("0")
    graph = supernet.weights.encoder.graph(architecture)
    assert named(graph) == named(graph_of("0"))
    assert supernet.weights.encoder.graph(architecture) is graph


def test_a_far_node_has_no_distance() -> None:
    num = 60
    edges = np.asarray([[place, place + 1] for place in range(num - 1)])
    graph = PathGraph(np.zeros(num, np.int64), np.zeros((num, 4), np.float32), edges, {})
    distances = graph.distances
    assert distances[0, 50] == 50
    assert distances[0, 51] == 0


def test_a_wrong_shape_is_the_users_mistake() -> None:
    twin = supernet_of().on_meta()
    with pytest.raises(op.errors.ShapeError, match="must accept inputs of shape"):
        path_graph(twin, twin.space.parse("0"), (3, 8, 8))
