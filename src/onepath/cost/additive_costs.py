"""The additive cost table of a space: what every option adds."""

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

MOST_OPTIONS_TOGETHER = 4096
NUM_CHECKED = 8


@runtime_checkable
class HasCostTable(Protocol):
    """A supernet's module that knows the additive costs of its architectures in closed form."""

    def cost_table(self, input_shape: tuple[int, ...], kind: str) -> CostTable | None:
        """The table for inputs of a shape (without the batch); None for a cost that it does not know."""


def table(
    supernet: Supernet,
    input_shape: tuple[int, ...],
    kind: str | Cost,
    *,
    on_uncounted: Refuse = refuse_uncounted,
) -> CostTable:
    """The cost of every option of every choice, so that an architecture's cost is a sum.

    Each layer's cost depends on a few choices: those of its own sizes and those that put it into the path.
    Layers with the same choices make one term of the table; for an operator with a channel scale that is a
    term over two choices. A module that has its own `cost_table` is asked; what it says is checked all the same.

    Args:
        supernet: not changed; no data is run.
        input_shape: of one example, without the batch.
        kind: a cost that adds up, or its name: "macs", "params", "layers" (convolutions and linear layers) or "size".
        on_uncounted: called with the operations that have no counter, as `ModuleCost.uncounted`, where
            multiply-accumulates are asked for and some architecture runs any; by default it raises. Where it returns,
            the table leaves them out.

    Returns:
        A table of exact integers, equal to the direct count for every architecture.

    Raises:
        SpaceError: the cost does not add up over modules, does not split into terms of at most 4,096 joint options, or
            the terms do not add up.
        ConfigurationError: some operation cannot be counted.
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
    if isinstance(supernet.module, HasCostTable):
        known = supernet.module.cost_table(input_shape, kind)
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
    """Direct counts of architectures, split by the choices each layer depends on."""

    def __init__(self, supernet: Supernet, input_shape: tuple[int, ...], cost: Cost) -> None:
        self.supernet, self.input_shape, self.cost = supernet, input_shape, cost
        self.space = supernet.space
        self.choices_of = dependencies(supernet)
        self.homes = _homes(supernet, self.choices_of)
        self.uncounted: dict[str, str] = {}

    def cost_by_choices(self, indices: Sequence[int]) -> dict[tuple[str, ...], int]:
        """Names of choices -> summed cost of the layers that depend on just these."""
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
        """The choices that the cost of the module at a path depends on."""
        if path in self.homes:
            raise SpaceError(
                f"a cost table needs layers that depend on the same choices wherever they stand, but {path} is also "
                f"{self.homes[path]}; count each architecture instead"
            )
        return self.choices_of[path]

    def _by_owner(
        self, sizes: Mapping[Tensor, int], origins: Mapping[nn.Module, str]
    ) -> dict[tuple[str, ...], int]:
        """Every tensor once: one that several modules share goes to the one that is there in any case."""
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
    """Path of each module -> names of the choices that its cost depends on, in the order of the space."""
    from onepath.nn.binding import choices_by_path

    return {
        path: tuple(sorted({choice.name for choice in choices}, key=supernet.space.column))
        for path, choices in choices_by_path(supernet.module, supernet.space).items()
    }


def _homes(supernet: Supernet, choices_of: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Path of a module that stands in two places that depend on other choices -> the other place."""
    first: dict[nn.Module, str] = {}
    found: dict[str, str] = {}
    for path, module in supernet.module.named_modules(remove_duplicate=False):
        other = first.setdefault(module, path)
        if choices_of.get(other) != choices_of.get(path):
            found |= {path: other, other: path}
    return found


def _groups(twins: _Measured) -> list[tuple[str, ...]]:
    """The distinct non-empty sets of choices that some layer depends on."""
    return [names for names in dict.fromkeys(twins.choices_of.values()) if names]


def _terms(space: SearchSpace, groups: list[tuple[str, ...]], twins: _Measured) -> list[CostTerm]:
    """Measure the joint options of every group; groups that share no choice are measured in the same pass."""
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
    """Architectures in which every joint option of every group of choices is active once.

    Groups that share no choice, and do not decide each other's, are swept together, so that few architectures do.

    Args:
        space: of the choices.
        groups: distinct, non-empty sets of names of choices.

    Yields:
        Option indices of an architecture; group -> its joint option, for the groups this architecture is for.
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
    """Options of other choices, by index, under which a choice is active: those of its first alternative."""
    alternatives = space.conditions.alternatives[space.column(name)]
    if alternatives is None:
        return {}
    return {space.names[parent]: int(allowed.argmax()) for parent, allowed in alternatives[0]}


def _disjoint(
    groups: list[tuple[str, ...]], parents: dict[str, dict[str, int]]
) -> Iterator[list[tuple[str, ...]]]:
    """Partition the groups into classes whose members neither share nor decide each other's choices."""
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
    """Compare with the direct count on a few architectures drawn from a fixed seed."""
    space = twins.space
    for row in space.sample(NUM_CHECKED, np.random.default_rng(0)):
        architecture = space.architecture([int(index) for index in row])
        direct = sum(twins.cost_by_choices(architecture.indices).values())
        if result.cost(architecture) != direct:
            raise SpaceError(
                f"a cost table needs layers whose {twins.cost.name} depend on their own choices alone, but the table "
                f"gives {result.cost(architecture)} and the count {direct} for {architecture}; count each architecture"
            )
