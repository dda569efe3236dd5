"""Additive cost tables: what every option of a search space adds to the cost of an architecture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from onepath.cost.architecture import Refuse, refuse_uncounted, shape_twin
from onepath.cost.costs import Cost, cost_of
from onepath.counting import CostTable, CostTerm
from onepath.errors import SpaceError
from onepath.nn import Supernet
from onepath.space import SearchSpace

MOST_OPTIONS_TOGETHER = 4096  # joint options of one term of a table
NUM_CHECKED = 8  # architectures on which a table is compared with the direct count


@runtime_checkable
class HasCostTable(Protocol):
    """A supernet's module that knows the additive costs of its architectures in closed form."""

    def cost_table(self, input_shape: tuple[int, ...], kind: str) -> CostTable | None:
        """Return the additive table, or None for a cost that the module does not know.

        Args:
            input_shape: shape of one example, without the batch.
            kind: name of the cost, such as "macs".
        """


def table(
    supernet: Supernet,
    input_shape: tuple[int, ...],
    kind: str | Cost,
    *,
    on_uncounted: Refuse = refuse_uncounted,
) -> CostTable:
    """Return a table of what every option costs, so that an architecture's cost is a sum over the table.

    The cost of a layer depends on a few choices: the ones that set its sizes, and the ones that decide whether it is
    in the path. Layers that depend on the same choices make one term of the table. For an operator with a channel
    scale this is a term over two choices. A supernet's module that has a `cost_table` provides the table itself; that
    table is also compared with direct counts.

    Args:
        supernet: the supernet whose architectures are counted; not changed, and no data runs through it.
        input_shape: shape of one example, without the batch.
        kind: an additive cost, or its name: "macs", "params", "layers" (convolutions and linear layers) or "size".
        on_uncounted: called once if `kind` is macs and some architecture runs an operation that has no counter. Its
            argument has the form of `ModuleCost.uncounted`. The default raises ConfigurationError. If it returns, the
            table leaves those operations out.

    Returns:
        A table of exact integers, equal to the direct count for every architecture.

    Raises:
        SpaceError: the cost is not additive over modules, does not split into terms of at most 4,096 joint options, or
            the terms do not add up to the direct count.
        ConfigurationError: there is no cost named `kind`, or some operation cannot be counted.
        ShapeError: the network rejects `input_shape`.
    """
    cost = cost_of(kind)
    if not cost.is_additive:
        raise SpaceError(
            "a cost table needs a cost that adds up over the layers, but "
            f"{cost.name} does not; count each architecture "
            "instead"
        )
    twins = _Measured(supernet, input_shape, cost)
    result = _table(supernet, input_shape, twins)
    if twins.uncounted:
        on_uncounted(twins.uncounted)
    return result


def _table(supernet: Supernet, input_shape: tuple[int, ...], twins: _Measured) -> CostTable:
    space, kind = supernet.space, twins.cost.name
    module = shape_twin(supernet).module  # its layers hold weights, if only shapes
    if isinstance(module, HasCostTable):
        known = module.cost_table(input_shape, kind)
        if known is not None:
            _check(known, twins)
            return known
    groups = _groups(twins)
    for names in groups:
        joint = math.prod(space.choices[space.column(name)].num_options for name in names)
        if joint > MOST_OPTIONS_TOGETHER:
            raise SpaceError(
                f"a cost table needs layers that depend on at most {MOST_OPTIONS_TOGETHER} joint options, but a layer "
                f"depends on {len(names)} choices with {joint}: {', '.join(names)}; count each architecture instead"
            )
    constant = twins.cost_by_choices((0,) * space.num_choices).get((), 0)
    terms = _terms(space, groups, twins)
    result = CostTable(constant, terms, unit=twins.cost.unit)
    _check(result, twins)
    return result


class _Measured:
    """Direct counts of architectures, split by the choices that each layer depends on."""

    def __init__(self, supernet: Supernet, input_shape: tuple[int, ...], cost: Cost) -> None:
        self.supernet, self.input_shape, self.cost = supernet, input_shape, cost
        self.space = supernet.space
        self.choices_of = dependencies(supernet)
        self.homes = _homes(supernet, self.choices_of)
        self.uncounted: dict[str, str] = {}

    def cost_by_choices(self, indices: Sequence[int]) -> dict[tuple[str, ...], int]:
        """Return names of choices -> summed cost of the layers that depend on exactly these choices.

        Args:
            indices: option index of every choice.
        """
        architecture = self.space.architecture(indices)
        model, origins = shape_twin(self.supernet).extract_with_origins(architecture, inherit=False)
        counted = self.cost.count(model, self.input_shape)
        self.uncounted.update(counted.uncounted)
        if counted.by_tensor:
            return self._by_owner(counted.by_tensor, origins)
        return self._summed(counted.by_module, origins)

    def _summed(
        self, costs: Mapping[nn.Module, int], origins: Mapping[nn.Module, str]
    ) -> dict[tuple[str, ...], int]:
        result: dict[tuple[str, ...], int] = {}
        for module, own in costs.items():
            if module not in origins:
                raise SpaceError(
                    f"a cost table needs modules that come from the supernet's, but a {type(module).__name__} with "
                    f"{own} {self.cost.name} does not; count each architecture instead"
                )
            if own:
                names = self._names(origins[module])
                result[names] = result.get(names, 0) + own
        return result

    def _names(self, path: str) -> tuple[str, ...]:
        """Return the names of the choices that the cost of the module at `path` depends on."""
        if path in self.homes:
            raise SpaceError(
                f"a cost table needs layers that depend on the same choices wherever they stand, but {path} is also "
                f"{self.homes[path]}; count each architecture instead"
            )
        return self.choices_of[path]

    def _by_owner(
        self, sizes: Mapping[Tensor, int], origins: Mapping[nn.Module, str]
    ) -> dict[tuple[str, ...], int]:
        """Sum tensor sizes by choices, each tensor once.

        A tensor that several modules share counts for the module that depends on no choice, if there is one.
        """
        owners: dict[Tensor, tuple[str, ...]] = {}
        for module, path in origins.items():
            for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                if tensor not in sizes:
                    continue
                names = self._names(path)
                other = owners.setdefault(tensor, names)
                if not names:
                    owners[tensor] = names
                elif other and other != names:
                    raise SpaceError(
                        "a cost table needs shared parameters whose modules depend on the same choices, but one at "
                        f"{path} depends on {', '.join(names)} and elsewhere on {', '.join(other)}; count each "
                        "architecture instead"
                    )
        result: dict[tuple[str, ...], int] = {}
        for tensor, names in owners.items():
            result[names] = result.get(names, 0) + sizes[tensor]
        return result


def dependencies(supernet: Supernet) -> dict[str, tuple[str, ...]]:
    """Return path of each module -> names of the choices that its cost depends on, in the order of the space."""
    from onepath.nn.binding import choices_by_path

    return {
        path: tuple(sorted({choice.name for choice in choices}, key=supernet.space.column))
        for path, choices in choices_by_path(supernet.module, supernet.space).items()
    }


def _homes(supernet: Supernet, choices_of: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return path -> other path of each module that occurs at two paths that depend on different choices."""
    first: dict[nn.Module, str] = {}
    found: dict[str, str] = {}
    for path, module in supernet.module.named_modules(remove_duplicate=False):
        other = first.setdefault(module, path)
        if choices_of.get(other) != choices_of.get(path):
            found |= {path: other, other: path}
    return found


def _groups(twins: _Measured) -> list[tuple[str, ...]]:
    """Return the distinct non-empty sets of choices that layers depend on."""
    return [names for names in dict.fromkeys(twins.choices_of.values()) if names]


def _terms(space: SearchSpace, groups: list[tuple[str, ...]], twins: _Measured) -> list[CostTerm]:
    """Count the cost of every joint option of every group, and return a term for each group that costs anything."""
    shapes = {
        names: tuple(space.choices[space.column(name)].num_options for name in names) for names in groups
    }
    costs = {names: np.zeros(shape, dtype=np.int64) for names, shape in shapes.items()}
    for indices, cells in sweep(space, groups):
        measured = twins.cost_by_choices(indices)
        for names, joint in cells.items():
            costs[names][joint] = measured.get(names, 0)
    return [CostTerm(names, array) for names, array in costs.items() if array.any()]


def sweep(
    space: SearchSpace, groups: Sequence[tuple[str, ...]]
) -> Iterator[tuple[list[int], dict[tuple[str, ...], tuple[int, ...]]]]:
    """Yield architectures in which every joint option of every group of choices is active once.

    Groups are swept together if they, each with the choices that activate it, have no choice in common, so that few
    architectures are enough.

    Args:
        space: the search space that the choices belong to.
        groups: distinct, non-empty sets of names of choices.

    Yields:
        (indices, joint options): the option index of every choice, and group -> option indices of its choices, for
        the groups whose joint option this architecture represents.
    """
    options = {
        names: list(
            itertools.product(*(range(space.choices[space.column(name)].num_options) for name in names))
        )
        for names in groups
    }
    parents = {name: _activating_options(space, name) for name in space.names}
    for together in _disjoint(list(groups), parents):
        for step in range(max(len(options[names]) for names in together)):
            indices = [0] * space.num_choices
            for names in together:
                joint = options[names][step % len(options[names])]
                for name, option in zip(names, joint, strict=True):
                    indices[space.column(name)] = option
                for name in names:
                    for parent, option in parents[name].items():
                        if parent not in names:
                            indices[space.column(parent)] = option
            yield (
                indices,
                {names: options[names][step] for names in together if step < len(options[names])},
            )


def _activating_options(space: SearchSpace, name: str) -> dict[str, int]:
    """Return other choice -> index of an option that makes the choice `name` active, by its first alternative."""
    alternatives = space.conditions.alternatives[space.column(name)]
    if alternatives is None:
        return {}
    return {space.names[parent]: int(allowed.argmax()) for parent, allowed in alternatives[0]}


def _disjoint(
    groups: list[tuple[str, ...]], parents: dict[str, dict[str, int]]
) -> Iterator[list[tuple[str, ...]]]:
    """Partition the groups into classes; within a class, groups and the choices that activate them are disjoint."""
    left = list(groups)
    while left:
        together: list[tuple[str, ...]] = []
        taken: set[str] = set()
        for names in left:
            touched = set(names).union(*(parents[name] for name in names))
            if not touched & taken:
                together.append(names)
                taken |= touched
        left = [names for names in left if names not in together]
        yield together


def _check(result: CostTable, twins: _Measured) -> None:
    """Raise SpaceError unless the table equals the direct count on a few architectures drawn with a fixed seed."""
    space = twins.space
    for row in space.sample(NUM_CHECKED, np.random.default_rng(0)):
        architecture = space.architecture([int(index) for index in row])
        direct = sum(twins.cost_by_choices(architecture.indices).values())
        if result.cost(architecture) != direct:
            raise SpaceError(
                f"a cost table needs layers whose {twins.cost.name} depend on their own choices alone, but the table "
                f"gives {result.cost(architecture)} and the count {direct} for {architecture}; count each architecture"
            )
