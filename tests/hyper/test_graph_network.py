"""The gated graph network: its formula, and what it depends on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from onepath.hyper import GatedGraphNetwork, PathGraph
from onepath.hyper.graph_network import _levels
from onepath.hyper.path_graph import OPERATIONS

DIAMOND = np.asarray([[0, 1], [0, 2], [1, 3], [2, 3], [3, 4]])


def graph_of(edges: np.ndarray, num: int, seed: int = 0) -> PathGraph:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(OPERATIONS), num)
    return PathGraph(kinds, rng.integers(1, 9, (num, 4)).astype(np.float32), edges, {})


def permuted(graph: PathGraph, order: np.ndarray) -> PathGraph:
    """The same graph, whose node i is the old node `order[i]`."""
    place = np.argsort(order)
    return PathGraph(graph.kinds[order], graph.shapes[order], place[graph.edges][::-1], {})


@pytest.fixture
def network() -> GatedGraphNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GatedGraphNetwork(8)


def test_states_do_not_depend_on_the_order_of_the_nodes(network: GatedGraphNetwork) -> None:
    graph = graph_of(DIAMOND, 5)
    states = network(graph)
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(5)
        assert torch.allclose(network(permuted(graph, order)), states[order], atol=1e-5)


def test_states_are_the_same_to_the_bit_for_the_same_graph(network: GatedGraphNetwork) -> None:
    assert torch.equal(network(graph_of(DIAMOND, 5)), network(graph_of(DIAMOND, 5)))


def by_the_formula(network: GatedGraphNetwork, graph: PathGraph) -> Tensor:
    """The states, node by node: all nodes before (behind) a node have been visited when it is."""
    sizes = torch.from_numpy(np.log2(graph.shapes + 1))
    states = list(network.kinds(torch.from_numpy(graph.kinds)) + network.shapes(sizes))
    distances, width = graph.distances.astype(int), network.norm.normalized_shape[0]

    def sent(state: Tensor, is_virtual: bool) -> Tensor:
        own = slice(width, None) if is_virtual else slice(width)
        return network.received.weight[:, own] @ torch.relu(network.message(state))[own]

    for order, way in ((range(5), distances), (reversed(range(5)), distances.T)):
        for node in order:
            message = torch.zeros(width)
            for other in range(5):
                if way[other, node] == 1:
                    message = message + sent(states[other], False)
                elif way[other, node] > 1:
                    message = message + sent(states[other], True) / int(way[other, node])
            states[node] = network.gate(message[None], states[node][None])[0]
    return network.norm(torch.stack(states))


def test_the_states_are_those_of_the_formula(network: GatedGraphNetwork) -> None:
    graph = graph_of(DIAMOND, 5)
    assert torch.allclose(network(graph), by_the_formula(network, graph), atol=1e-5)


def test_a_state_reads_what_stands_before_and_behind_it(network: GatedGraphNetwork) -> None:
    graph = graph_of(DIAMOND, 5)
    states = network(graph)
    for changed in (0, 4):
        kinds = graph.kinds.copy()
        kinds[changed] = (kinds[changed] + 1) % len(OPERATIONS)
        other = network(PathGraph(kinds, graph.shapes, graph.edges, {}))
        assert (states - other).abs().max(1).values.min() > 1e-6
    edges = np.asarray([[0, 1], [0, 2], [1, 3], [3, 4]])
    assert not torch.allclose(network(PathGraph(graph.kinds, graph.shapes, edges, {})), states)


def test_levels_are_longest_ways() -> None:
    edges = np.zeros((5, 5), bool)
    for first, second in [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)]:
        edges[first, second] = True
    assert _levels(edges).tolist() == [0, 1, 2, 3, 0]
