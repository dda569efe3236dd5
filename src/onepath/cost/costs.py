"""What a network costs: one object per cost, each with its name, its unit and how it is counted.

Adding a cost is one `Cost` and its place in `COSTS`; limits, trials, results and reports take any number of them, and a
cost of the user's own goes wherever one of these goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from onepath import option_types as types
from onepath.cost.count import module_cost
from onepath.cost.memory import peak_memory_bytes
from onepath.cost.shape_only import is_layer
from onepath.errors import ConfigurationError, shown

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Counted:
    """What one plain network costs.

    Attributes:
        total: of the network.
        by_module: module -> its share, without its children; or
        by_tensor: parameter or buffer -> its share. Where one of them is given, the shares sum up to the total, and the
            cost of an architecture is a sum over its choices.
        uncounted: operation without a counter -> path of the first module that runs it; see `ModuleCost`.
    """

    total: int
    by_module: Mapping[nn.Module, int] = field(default_factory=dict)
    by_tensor: Mapping[Tensor, int] = field(default_factory=dict)
    uncounted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """A cost of plain networks; lower is better.

    Attributes:
        name: in options ("max_" and the name), records and tables, for example "macs".
        unit: of its numbers: its name, or "bytes".
        label: in sentences and reports, for example "MACs".
        help: of the limit, a phrase such as "Most multiply-accumulates of the network found".
        count: network and shape of one example -> its cost.
        is_additive: whether it is a sum over modules or tensors, so that a space has a table of it.
        needs_inputs: whether it depends on the shape of the inputs.

    Example:
        ``Cost("depth", "depth", "blocks", "Most blocks", lambda model, shape: Counted(len(list(model.children()))))``
    """

    name: str
    unit: str
    label: str
    help: str
    count: Callable[[nn.Module, Shape], Counted]
    is_additive: bool = False

    def parsed(self, maximum: object) -> float:
        """A limit as it may be written: 30M, 1.5k; of bytes also 256KiB or 1MB.

        Raises:
            ConfigurationError: it is no positive number.
        """
        try:
            number = types.parse_bytes(maximum) if self.unit == "bytes" else types.parse_count(maximum)
        except ValueError as error:
            raise ConfigurationError(
                f"max_{self.name} {error}, but got {shown(maximum)}; change it"
            ) from error
        plain = types.plain(number)
        if plain is None or not plain > 0:
            raise ConfigurationError(f"max_{self.name} > 0 must hold, but got {shown(maximum)}; raise it")
        return plain

    @property
    def limit_type(self) -> Any:
        """The type of the option that limits it: one number or several."""
        return types.Sizes if self.unit == "bytes" else types.Counts


def _macs(model: nn.Module, input_shape: Shape) -> Counted:
    cost = module_cost(model, input_shape)
    return Counted(cost.macs, by_module=cost.macs_by_module, uncounted=cost.uncounted)


def _params(model: nn.Module, input_shape: Shape) -> Counted:
    del input_shape
    sizes: dict[Tensor, int] = {parameter: parameter.numel() for parameter in model.parameters()}
    return Counted(sum(sizes.values()), by_tensor=sizes)


def _layers(model: nn.Module, input_shape: Shape) -> Counted:
    del input_shape
    found = {module: 1 for module in model.modules() if is_layer(module)}
    return Counted(len(found), by_module=found)


def _size(model: nn.Module, input_shape: Shape) -> Counted:
    del input_shape
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    sizes = {tensor: tensor.numel() * tensor.element_size() for tensor in tensors}
    return Counted(sum(sizes.values()), by_tensor=sizes)


def _memory(model: nn.Module, input_shape: Shape) -> Counted:
    return Counted(peak_memory_bytes(model, input_shape))


MACS = Cost("macs", "macs", "MACs", "Most multiply-accumulates of the network found, as in 30M", _macs, True)
PARAMS = Cost(
    "params", "params", "parameters", "Most parameters of the network found, as in 1M", _params, True
)
LAYERS = Cost(
    "layers", "layers", "layers", "Most convolutions and linear layers of the network found", _layers, True
)
MEMORY = Cost(
    "memory",
    "bytes",
    "bytes of activations",
    "Most bytes of activations that are alive at once in one inference, as in 256KiB",
    _memory,
)
SIZE = Cost(
    "size", "bytes", "bytes of weights", "Most bytes of the weights as stored, as in 1MB", _size, True
)

COSTS: Mapping[str, Cost] = {cost.name: cost for cost in (MACS, PARAMS, LAYERS, MEMORY, SIZE)}
"""The costs by name; each has a limit `max_<name>`."""


def cost_of(kind: str | Cost) -> Cost:
    """A cost, by its name or as it is.

    Raises:
        ConfigurationError: there is no such cost.
    """
    if isinstance(kind, Cost):
        return kind
    if kind not in COSTS:
        raise ConfigurationError(
            f"a cost must be one of {', '.join(COSTS)}, but got {shown(kind)}; use one of them"
        )
    return COSTS[kind]
