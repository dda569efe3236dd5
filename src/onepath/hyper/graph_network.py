"""The codes of GHN-2: a gated graph network passes messages over the operations of the network itself.

Source: Zhang et al., "Graph HyperNetworks for Neural Architecture Search", ICLR 2019 (arXiv 1810.05749); Knyazev et
al., "Parameter Prediction for Unseen Deep Architectures", NeurIPS 2021 (arXiv 2110.13100), and its released code
(ppuda). One round of messages runs forward and one backward in topological order:

    m_v = sum over u in N(v) of MLP(h_u) + sum over u with 1 < s_vu <= 50 of MLP_ve(h_u) / s_vu,    h_v = GRU(h_v, m_v)

where N(v) are the nodes before v (then: behind v), and s_vu is the shortest distance. Differs from them: nodes are the
operations that a trace of the network finds, of fewer kinds; their parameters' shapes are read as logarithms, not from
tables; the last layer of the two perceptrons has no bias.

Shapes: N nodes, L layers, D width of a state.
"""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.hyper.path_graph import OPERATIONS, PathGraph, path_graph
from onepath.nn import Supernet
from onepath.nn.copying import whole_copy
from onepath.nn.weight_source import SourcedLayer
from onepath.space import Architecture

_NUM_KEPT = 512  # graphs


@dataclass(frozen=True, eq=False)
class _Direction:
    """The order of the nodes in one direction, and what each reads from those before it.

    Attributes:
        order: (N,) the nodes by level; a node reads only nodes of earlier levels.
        place: (N,) the place of each node in `order`.
        levels: first place of each level and the one behind its last.
        edges: (2, N, N) weight of the edge, and of the virtual edge, from the column's place to the row's.
    """

    order: Tensor
    place: Tensor
    levels: tuple[tuple[int, int], ...]
    edges: Tensor


class GatedGraphNetwork(nn.Module):
    """States of the nodes of a graph, which depend on the graph and not on the order of its nodes.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kinds = nn.Embedding(len(OPERATIONS), width)
        self.shapes = nn.Linear(4, width)
        # The two perceptrons side by side. What follows the sum is linear, so that it is applied once, to the sum.
        self.message = nn.Linear(width, 2 * width)
        self.received = nn.Linear(2 * width, width, bias=False)
        self.gate = nn.GRUCell(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, graph: PathGraph) -> Tensor:
        """Return the states (N, D) of the nodes of a graph."""
        device = self.norm.weight.device
        sizes = torch.from_numpy(np.log2(graph.shapes + 1)).to(device)
        states = self.kinds(torch.from_numpy(graph.kinds).to(device)) + self.shapes(sizes)
        for reads in (graph.distances, graph.distances.T):
            states = self._pass(states, _direction(reads, device))
        normalised: Tensor = self.norm(states)
        return normalised

    def _pass(self, states: Tensor, direction: _Direction) -> Tensor:
        """Return the states after one round of messages in one direction."""
        states = states[direction.order]
        done: list[Tensor] = []
        sent: list[Tensor] = []  # (2, nodes of a level, D): messages over edges, and over virtual edges
        for begin, end in direction.levels:
            own = states[begin:end]
            message = torch.zeros_like(own)
            if begin:
                sums = direction.edges[:, begin:end, :begin] @ torch.cat(sent, 1)
                message = self.received(sums.transpose(0, 1).flatten(1))
            new = self.gate(message, own)
            done.append(new)
            sent.append(torch.relu(self.message(new)).view(len(own), 2, -1).transpose(0, 1))
        return torch.cat(done)[direction.place]


class GraphEncoder(nn.Module):
    """Codes of layers: the states of the nodes that read their weights.

    Args:
        supernet: the supernet, whose layers still hold their weights.
        layers: the layers with codes.
        input_shape: shape of one example, without the batch.
        width: D, width of a code.
    """

    def __init__(
        self, supernet: Supernet, layers: Sequence[SourcedLayer], input_shape: tuple[int, ...], width: int
    ) -> None:
        super().__init__()
        # A reference, not a child: its parameters are the supernet's.
        self.root, self.layers, self.input_shape = (supernet.module,), tuple(layers), input_shape
        self.network = GatedGraphNetwork(width)

    def forward(self, architecture: Architecture, numbers: Sequence[int]) -> Tensor:
        """Return the codes (L, D) of the layers with these numbers.

        Raises:
            ConfigurationError: a layer is not run in evaluation mode.
        """
        graph = self.graph(architecture)
        nodes = []
        for number in numbers:
            node = graph.node_of(self.layers[number].path)
            if node is None:
                raise ConfigurationError(
                    "a graph network makes weights for layers that the network runs in evaluation mode, but it does "
                    f"not run {self.layers[number].path}; use method smash"
                )
            nodes.append(node)
        states: Tensor = self.network(graph)
        return states[nodes]

    def graph(self, architecture: Architecture) -> PathGraph:
        """Return the graph of an architecture's network; the last ones that were asked for are kept."""
        twin, kept = _known(self)
        key = architecture.indices
        if key in kept:
            kept.move_to_end(key)
        else:
            kept[key] = path_graph(twin, architecture, self.input_shape)
            if len(kept) > _NUM_KEPT:
                kept.popitem(last=False)
        return kept[key]


# Not attributes of the encoder, so that they are neither copied nor stored with it.
_Kept = tuple[Supernet, OrderedDict[tuple[int, ...], PathGraph]]
_known_graphs: weakref.WeakKeyDictionary[GraphEncoder, _Kept] = weakref.WeakKeyDictionary()


def _known(encoder: GraphEncoder) -> _Kept:
    """Return a copy of an encoder's supernet on torch's meta device, which holds all weights, and the known graphs."""
    if encoder not in _known_graphs:
        twin = whole_copy(encoder.root[0], lambda tensor: tensor.detach().to("meta"), apart=True)
        for layer in encoder.layers:
            empty = torch.empty(layer.shape, device="meta")
            twin.get_submodule(layer.path)._parameters["weight"] = nn.Parameter(empty)
        _known_graphs[encoder] = Supernet(twin), OrderedDict()
    return _known_graphs[encoder]


def _direction(distances: np.ndarray, device: torch.device) -> _Direction:
    """Return one direction of a graph.

    Args:
        distances: (N, N) distance from the row's node to the column's, along which states are passed on; 0 for none.
        device: device of the tensors.
    """
    levels = _levels(distances == 1)
    order = np.argsort(levels, kind="stable")
    bounds = np.flatnonzero(np.diff(levels[order], prepend=-1, append=-1)).tolist()
    read = distances.T[order][:, order].astype(np.float32)
    far = np.where(read > 1, 1 / np.maximum(read, 1), 0)
    return _Direction(
        torch.from_numpy(order).to(device),
        torch.from_numpy(np.argsort(order)).to(device),
        tuple(itertools.pairwise(bounds)),
        torch.from_numpy(np.stack([read == 1, far]).astype(np.float32)).to(device),
    )


def _levels(edges: np.ndarray) -> np.ndarray:
    """Return (N,) the length of the longest way that leads to each node of a graph without circles.

    Args:
        edges: (N, N) whether an edge leads from the row's node to the column's.
    """
    levels = np.zeros(len(edges), np.int64)
    left = edges.sum(0)
    ready = np.flatnonzero(left == 0)
    while len(ready):
        behind = edges[ready]
        reached = np.flatnonzero(behind.any(0))
        levels[reached] = np.maximum(levels[reached], levels[ready].max() + 1)
        left[reached] -= behind[:, reached].sum(0)
        ready = reached[left[reached] == 0]
    return levels
