"""The graph of the operations that the network of an architecture runs.

The stand-alone network is extracted without data and traced as `op.convert` traces a model. An operation is a node, and
an edge leads from the operation that made a tensor to one that reads it. Operations that only change a shape are left
out, as are those on parameters alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from onepath.conversion.trace import Source, Trace
from onepath.conversion.units import Units
from onepath.cost.count import run_without_data
from onepath.nn import Supernet
from onepath.nn.inputs import blank_inputs
from onepath.space import Architecture

OPERATIONS = (
    *("input", "convolution", "depthwise convolution", "dilated convolution", "linear", "normalisation"),
    *("activation", "average pooling", "max pooling", "sum", "product", "concatenation", "softmax", "other"),
)
MOST_DISTANCE = 50
"""Largest distance over which two nodes have a virtual edge."""

_SHAPE = "shape"
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("addmm", "mm", "bmm", "baddbmm", "linear"), "linear"),
    **dict.fromkeys(("relu", "hardtanh", "silu", "gelu", "sigmoid", "tanh", "hardswish"), "activation"),
    **dict.fromkeys(("hardsigmoid", "leaky_relu", "elu", "prelu", "mish", "softplus"), "activation"),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "_adaptive_avg_pool2d", "mean"), "average pooling"),
    **dict.fromkeys(("max_pool2d_with_indices", "adaptive_max_pool2d", "amax", "max"), "max pooling"),
    **dict.fromkeys(("add", "sum", "sub"), "sum"),
    **dict.fromkeys(("mul", "div"), "product"),
    **dict.fromkeys(("cat", "stack"), "concatenation"),
    **dict.fromkeys(("_softmax", "_log_softmax"), "softmax"),
    **dict.fromkeys(("clone", "_unsafe_view", "_reshape_copy", "contiguous", "_to_copy"), _SHAPE),
    **dict.fromkeys(("constant_pad_nd", "roll", "channel_shuffle", "pixel_unshuffle"), _SHAPE),
}


@dataclass(frozen=True, eq=False)
class PathGraph:
    """A directed graph without circles, in any order of its nodes.

    Attributes:
        kinds: (N,) index of each node in `OPERATIONS`.
        shapes: (N, 4) shape of the largest parameter that a node reads, as (O, I, KH, KW) with 1 for a dimension that
            it lacks; zeros for a node that reads none.
        edges: (E, 2) a node, and one that reads its result.
        nodes: path of a layer in the supernet -> the node that reads its weight. The path of a layer that extraction
            makes anew, as one whose weight is sliced, is that of the module around it.
    """

    kinds: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.float32]
    edges: npt.NDArray[np.int64]
    nodes: Mapping[str, int]

    @property
    def num_nodes(self) -> int:
        """Number of nodes N."""
        return len(self.kinds)

    def node_of(self, path: str) -> int | None:
        """Return the node that reads the weight of the layer at this path in the supernet; None if none does."""
        around = path.rpartition(".")[0]
        return self.nodes.get(path, self.nodes.get(around) if around else None)

    @cached_property
    def distances(self) -> npt.NDArray[np.uint8]:
        """(N, N) the number of edges on the shortest way from the row's node to the column's; 0 where there is none.

        A way of more than `MOST_DISTANCE` edges counts as none.
        """
        ones = np.ones(len(self.edges))
        graph = csr_array((ones, (self.edges[:, 0], self.edges[:, 1])), shape=(self.num_nodes,) * 2)
        found = shortest_path(graph, unweighted=True)
        return np.where(found <= MOST_DISTANCE, found, 0).astype(np.uint8)


def path_graph(twin: Supernet, architecture: Architecture, input_shape: tuple[int, ...]) -> PathGraph:
    """Return the graph of an architecture's stand-alone network.

    Args:
        twin: the supernet on torch's meta device.
        architecture: an architecture of its space.
        input_shape: shape of one example, without the batch.

    Raises:
        ShapeError: the network rejects `input_shape`.
    """
    model, origins = twin.extract_with_origins(architecture, inherit=False, seed=None)
    recorder = _Recorder()

    def traced(network: nn.Module, device: str) -> Trace:
        trace = Trace(network.eval(), Units(), recorder.kind)
        recorder.calls.clear()
        inputs = blank_inputs(network, input_shape, device=device)
        trace.run(inputs if isinstance(inputs, tuple) else (inputs,))
        return trace

    trace, _ = run_without_data(model, input_shape, traced)
    paths = {own: origins.get(module, "") for own, module in model.named_modules()}
    return _graph(trace, recorder.calls, paths)


class _Recorder:
    """The tensors that each recorded operation reads and makes, which a `Trace` knows by their ids alone."""

    def __init__(self) -> None:
        self.calls: list[tuple[Sequence[Any], Any]] = []

    def kind(
        self, trace: Trace, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any
    ) -> str:
        """Return what an operation is: one of `OPERATIONS`, or "shape"."""
        del trace
        self.calls.append((tree_leaves([args, kwargs]), output))
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        if name == "convolution":
            dilation, groups = args[5], args[8]
            if max(dilation) > 1:
                return "dilated convolution"
            return "depthwise convolution" if groups > 1 else name
        if "batch_norm" in name or name in ("native_layer_norm", "native_group_norm"):
            return "normalisation"
        return _SHAPE if func.is_view else _KINDS.get(name, "other")


def _shape_of(sources: Sequence[Source]) -> npt.NDArray[np.float32]:
    """Return (4,) the shape of the parameter with the most dimensions, see `PathGraph.shapes`."""
    if not sources:
        return np.zeros(4, np.float32)
    shape = max((tuple(source.tensor.shape) for source in sources), key=len)
    return np.asarray([*shape, 1, 1, 1, 1][:4], np.float32)


def _graph(trace: Trace, calls: Sequence[tuple[Sequence[Any], Any]], paths: Mapping[str, str]) -> PathGraph:
    """Return the graph of a trace.

    Args:
        trace: the trace of a network.
        calls: for each operation, its arguments and its output.
        paths: path of a module in the network -> its path in the supernet.
    """
    makers: dict[int, int] = {}  # id of a tensor -> the node that made it
    # Id of a parameter, or of what was computed from parameters alone -> its source; None for a constant.
    read: dict[int, Source | None] = dict(trace.sources)
    kinds, shapes = [0], [_shape_of(())]
    edges: list[tuple[int, int]] = []
    nodes: dict[str, int] = {}
    for operation, (arguments, output) in zip(trace.operations, calls, strict=True):
        inputs = [leaf for leaf in arguments if isinstance(leaf, Tensor)]
        results = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        fixed = [read[id(tensor)] for tensor in inputs if id(tensor) in read]
        sources = [source for source in fixed if source is not None]
        if len(fixed) == len(inputs):
            read.update((id(result), sources[0] if sources else None) for result in results)
            continue
        before = [makers.get(id(tensor), 0) for tensor in inputs if id(tensor) not in read]
        if operation.kind == _SHAPE:
            makers.update((id(result), before[0]) for result in results if before)
            continue
        node = len(kinds)
        kinds.append(OPERATIONS.index(operation.kind))
        shapes.append(_shape_of(sources))
        edges += [(first, node) for first in dict.fromkeys(before)]
        for source in sources:
            for path, name in source.holders if source.name == "weight" else ():
                if name == "weight":
                    nodes.setdefault(paths.get(path, ""), node)
        makers.update((id(result), node) for result in results)
    found = np.asarray(edges, np.int64).reshape(-1, 2)
    return PathGraph(np.asarray(kinds, np.int64), np.stack(shapes), found, nodes)
