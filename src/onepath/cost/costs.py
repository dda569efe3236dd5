"""The costs of a network: one `Cost` object each, with its name, its unit and the function that counts it.

To add a cost, write one `Cost` and list it in `COSTS`: limits, trials, results and reports take any number of costs. A
`Cost` of the user's own is accepted wherever one of these is.
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
    """The cost of one plain network. An additive cost also gives `by_module` or `by_tensor`.

    Attributes:
        total: cost of the whole network.
        by_module: module -> its share of the cost, without its children. If given, the shares sum to `total`.
        by_tensor: parameter or buffer -> its share of the cost. If given, the shares sum to `total`.
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
        name: name in records, tables and options (the limit is named "max_" and this name), for example "macs".
        unit: unit of the numbers: the name of the cost, or "bytes".
        label: name in sentences and reports, for example "MACs".
        help: help text of the limit's option, a phrase without a final period.
        count: function from a network and the shape of one example (without the batch) to the cost. Tables and limits
            call it with networks on torch's meta device.
        is_additive: whether the cost is a sum over modules or tensors, so that a space can have a table of it. `count`
            then fills `by_module` or `by_tensor`.

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
        """Return a limit as a number, from a number or a text such as 30M or 1.5k; for bytes also 256KiB or 1MB.

        Raises:
            ConfigurationError: `maximum` is not a positive number.
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
        """The type of the option that limits this cost, which accepts one number or several."""
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


MACS = Cost(
    "macs",
    "macs",
    "MACs",
    "Largest number of multiply-accumulates that the network found may have, such as 30M",
    _macs,
    True,
)
PARAMS = Cost(
    "params",
    "params",
    "parameters",
    "Largest number of parameters that the network found may have, such as 1M",
    _params,
    True,
)
LAYERS = Cost(
    "layers",
    "layers",
    "layers",
    "Largest number of convolutions and linear layers that the network found may have",
    _layers,
    True,
)
MEMORY = Cost(
    "memory",
    "bytes",
    "bytes of activations",
    "Largest number of bytes of activations that may be alive at once in one inference, such as 256KiB",
    _memory,
)
SIZE = Cost(
    "size",
    "bytes",
    "bytes of weights",
    "Largest size of the stored weights in bytes, such as 1MB",
    _size,
    True,
)

COSTS: Mapping[str, Cost] = {cost.name: cost for cost in (MACS, PARAMS, LAYERS, MEMORY, SIZE)}
"""Name -> cost; each cost has a limit named `max_<name>`."""


def cost_of(kind: str | Cost) -> Cost:
    """Return the cost of a name in `COSTS`; a `Cost` is returned unchanged.

    Raises:
        ConfigurationError: there is no cost of that name.
    """
    if isinstance(kind, Cost):
        return kind
    if kind not in COSTS:
        raise ConfigurationError(
            f"a cost must be one of {', '.join(COSTS)}, but got {shown(kind)}; use one of them"
        )
    return COSTS[kind]
