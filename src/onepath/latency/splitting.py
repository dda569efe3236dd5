"""The parts of a supernet that a latency table has entries for, and the candidates that can take their places."""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from onepath.cost.additive_costs import MOST_OPTIONS_TOGETHER, dependencies, sweep
from onepath.cost.architecture import shape_twin
from onepath.errors import ShapeError, SpaceError
from onepath.latency.keys import candidate_key, shape_text
from onepath.nn import ChoiceBlock, ElasticDepth, Supernet
from onepath.nn.inputs import blank_inputs
from onepath.nn.selection import has_choices
from onepath.space import Architecture, SearchSpace

NUM_CHECKED = 8
_CANDIDATE = re.compile(r"(.*)\.candidates\.\d+")


class PartsError(SpaceError):
    """The latency of a space is not the sum over its parts, or the parts cannot be measured one by one."""


class Part(NamedTuple):
    """A module of the supernet whose candidates are measured.

    Attributes:
        path: path of the module in the supernet.
        choices: names of the choices that its latency depends on, in the order of the space; empty for a part that no
            choice changes.
    """

    path: str
    choices: tuple[str, ...]


class Candidate(NamedTuple):
    """The module that takes the place of a part in one architecture.

    Attributes:
        key: key of its entry in the table; equal for equal modules at equal input shapes, wherever they are.
        path: path of the part in the supernet.
        input_shape: shape of one example, without the batch.
        further: the arguments after the input with which it is called: positional ones and keywords; none is a tensor.
    """

    key: str
    path: str
    input_shape: tuple[int, ...]
    further: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})


class Called(nn.Module):
    """A module with the fixed arguments that it is called with after its input.

    Args:
        module: the module to call.
        further: positional and keyword arguments after the input.
    """

    def __init__(self, module: nn.Module, further: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        super().__init__()
        self.module = module
        self.further = further

    def forward(self, x: Tensor) -> Any:
        """Return the output of the module for an input."""
        return self.module(x, *self.further[0], **self.further[1])


@dataclass(frozen=True)
class Term:
    """The candidates of the parts that depend on the same choices.

    Attributes:
        choices: names of the choices, one or more.
        shape: number of options of each choice.
        keys: keys of the candidates under each joint option, math.prod(shape) tuples; the last choice changes fastest.
    """

    choices: tuple[str, ...]
    shape: tuple[int, ...]
    keys: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Layout:
    """The candidates that make up each architecture of a supernet.

    Attributes:
        constant: keys of the parts that no choice changes.
        terms: all other parts; an architecture has the candidates of each term whose choices are all active.
        shown: key -> an architecture that has the candidate, and the candidate as it is in this architecture.
    """

    constant: tuple[str, ...]
    terms: tuple[Term, ...]
    shown: dict[str, tuple[Architecture, Candidate]] = field(repr=False)

    def modules(self, supernet: Supernet) -> Iterator[tuple[str, tuple[int, ...], nn.Module]]:
        """Yield every key with its input shape and its candidate as a stand-alone module.

        The modules are in eval mode and freshly initialised.
        """
        for architecture in dict.fromkeys(one for one, _ in self.shown.values()):
            _, origins = supernet.extract_with_origins(architecture, inherit=False)
            standing = _standing(supernet, origins)
            for key, (shown_in, candidate) in self.shown.items():
                if shown_in == architecture:
                    module = standing[candidate.path]
                    if any(candidate.further):
                        module = Called(module, candidate.further)
                    yield key, candidate.input_shape, module.eval()


def find_parts(supernet: Supernet) -> list[Part]:
    """Return the parts of a supernet, in the order of its modules.

    The parts are the outermost choice blocks, the elastic layers outside of choice blocks, and what is around them: the
    largest modules with parameters that no choice changes, and the largest modules below the root whose layers with
    choices all depend on the same choices.
    """
    choices_of = dependencies(supernet)
    below: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for path, names in choices_of.items():
        for around in ("", *itertools.accumulate(path.split("."), "{}.{}".format)):
            below[around].add(names)

    def walk(path: str, module: nn.Module) -> Iterator[Part]:
        union = {name for names in below[path] for name in names}
        together = tuple(sorted(union, key=supernet.space.column))
        is_whole = not union or all(names in ((), together) for names in below[path])
        is_called = not isinstance(module, nn.ModuleList | nn.ModuleDict)
        is_leaf = isinstance(module, ChoiceBlock) or (
            has_choices(module) and not isinstance(module, ElasticDepth)
        )
        if path and is_called and (is_leaf or is_whole):
            if union or next(module.parameters(), None) is not None:
                yield Part(path, together)
            return
        for name, child in module.named_children():
            yield from walk(f"{path}.{name}" if path else name, child)

    return list(walk("", supernet.module))


def find_layout(supernet: Supernet, input_shape: Sequence[int]) -> Layout:
    """Find every candidate of a supernet at its input shape; only shapes are computed.

    Args:
        supernet: the supernet; not changed.
        input_shape: shape of one example, without the batch.

    Raises:
        PartsError: a part depends on more than 4,096 joint options, or on choices of other parts; or a part with
            choices does not take and return exactly one tensor, besides numbers and words as further arguments.
        ShapeError: the network rejects the shape.
    """
    space = supernet.space
    twin = shape_twin(supernet)
    parts = {part.path: part for part in find_parts(supernet)}
    groups = list(dict.fromkeys(part.choices for part in parts.values() if part.choices))
    shapes = {
        names: tuple(space.choices[space.column(name)].num_options for name in names) for names in groups
    }
    for names, shape in shapes.items():
        if math.prod(shape) > MOST_OPTIONS_TOGETHER:
            raise PartsError(
                f"a latency table needs parts that depend on at most {MOST_OPTIONS_TOGETHER} joint options, but one "
                f"depends on {len(names)} choices with {math.prod(shape)}: {', '.join(names)}; measure whole networks "
                "instead"
            )
    found_keys: dict[tuple[str, ...], dict[tuple[int, ...], dict[str, list[str]]]] = {}
    constant: tuple[str, ...] = ()
    shown: dict[str, tuple[Architecture, Candidate]] = {}
    for indices, cells in sweep(space, groups):
        architecture = space.architecture(indices)
        active = space.active(space.matrix([architecture]))[0]
        found = candidates(twin, parts, architecture, input_shape)
        fixed = [one for one in found if not parts[one.path].choices]
        constant = constant or tuple(one.key for one in fixed)
        for names in cells:
            # A choice inside a candidate that is not taken is inactive: then the term is over the other choices.
            alive = tuple(name for name in names if active[space.column(name)])
            joint = tuple(architecture.indices[space.column(name)] for name in alive)
            here: dict[str, list[str]] = {}
            for one in found:
                if parts[one.path].choices == names:
                    here.setdefault(one.path, []).append(one.key)
            found_keys.setdefault(alive, {}).setdefault(joint, {}).update(here)
        for one in found:
            shown.setdefault(one.key, (architecture, one))
    layout = Layout(constant, tuple(_terms(space, found_keys)), shown)
    _check(layout, twin, parts, input_shape)
    return layout


def _terms(
    space: SearchSpace, found: dict[tuple[str, ...], dict[tuple[int, ...], dict[str, list[str]]]]
) -> Iterator[Term]:
    """Yield the terms, from choices -> joint option -> path -> keys; terms without any key are left out."""
    for names, cells in found.items():
        shape = tuple(space.choices[space.column(name)].num_options for name in names)
        keys = [
            tuple(key for here in cells.get(joint, {}).values() for key in here)
            for joint in itertools.product(*map(range, shape))
        ]
        if any(keys):
            yield Term(names, shape, tuple(keys))


def candidates(
    twin: Supernet, parts: dict[str, Part], architecture: Architecture, input_shape: Sequence[int]
) -> list[Candidate]:
    """Return the candidates that one architecture has in the parts, in the order in which they are called.

    Args:
        twin: the supernet on torch's meta device.
        parts: path -> part.
        architecture: architecture of the supernet's space.
        input_shape: shape of one example, without the batch.

    Raises:
        PartsError: a part with choices does not take and return exactly one tensor.
        ShapeError: the network rejects the shape.
    """
    model, origins = twin.extract_with_origins(architecture, inherit=False)
    standing = _standing(twin, origins)
    calls: list[Candidate] = []

    def note(part: Part, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
            first, *more = inputs or (None,)
            if (
                not isinstance(first, Tensor)
                or not isinstance(output, Tensor)
                or not are_plain([*more, keywords])
            ):
                if part.choices:
                    raise PartsError(
                        f"{part.path}: a part with choices must take one tensor and return one to be measured alone, "
                        "but it is called otherwise; measure whole networks instead"
                    )
                return
            shape = tuple(first.shape[1:])
            called = f"{name}{tuple(more)}{keywords}" if more or keywords else name
            key = candidate_key(called, shape, tuple(output.shape[1:]), module)
            calls.append(Candidate(key, part.path, shape, (tuple(more), keywords)))

        return hook

    paths = {id(module): path for path, module in standing.items()}
    for module, origin in origins.items():
        path = paths.get(id(module))
        if path in parts:
            name = _name(twin, parts[path], origin, module)
            module.register_forward_hook(note(parts[path], name), with_kwargs=True)
    try:
        with torch.no_grad():
            model.eval()(blank_inputs(model, input_shape, device="meta"))
    except (RuntimeError, TypeError) as error:
        raise ShapeError(
            f"the network must accept inputs of shape {shape_text(input_shape)}, but it raised: "
            f"{str(error).splitlines()[0]}; give the shape of one example without the batch"
        ) from error
    return calls


def are_plain(values: Any) -> bool:
    """Whether these are only numbers, words and None, in lists, tuples and dictionaries, and so equal in every call."""
    return all(isinstance(leaf, bool | int | float | str | None) for leaf in tree_leaves(values))


def _standing(supernet: Supernet, origins: dict[nn.Module, str]) -> dict[str, nn.Module]:
    """Return path of every active module of the supernet -> the extracted module that takes its place."""
    standing: dict[str, nn.Module] = {}
    for module, path in origins.items():
        standing.setdefault(path, module)  # the layer itself comes before the modules it is made of
    for path, module in list(standing.items()):
        # A choice block is replaced by its candidate, whose path is directly below the block's. The block around it
        # may be replaced in the same way.
        around = path
        while (match := _CANDIDATE.fullmatch(around)) is not None:
            around = match[1]
            if isinstance(supernet.module.get_submodule(around), ChoiceBlock):
                standing[around] = module
    return standing


def _name(supernet: Supernet, part: Part, origin: str, module: nn.Module) -> str:
    """Return the beginning of a key: the names of the options that a choice block takes, or a fixed part's path."""
    if not part.choices:
        return part.path
    names, path = [], part.path
    while path != origin:
        block = supernet.module.get_submodule(path)
        assert isinstance(block, ChoiceBlock)
        index = origin.removeprefix(f"{path}.candidates.").partition(".")[0]
        names.append(block.names[int(index)])
        path = f"{path}.candidates.{index}"
    return "/".join(names) or type(module).__name__


def _check(layout: Layout, twin: Supernet, parts: dict[str, Part], input_shape: Sequence[int]) -> None:
    """Raise PartsError unless the layout agrees with a few architectures that a fixed seed draws."""
    space = twin.space
    for architecture in space.architectures(space.sample(NUM_CHECKED, np.random.default_rng(0))):
        found = sorted(one.key for one in candidates(twin, parts, architecture, input_shape))
        active = space.active(space.matrix([architecture]))[0]
        told = list(layout.constant)
        for term in layout.terms:
            columns = [space.column(name) for name in term.choices]
            if active[columns].all():
                joint = tuple(architecture.indices[column] for column in columns)
                told += term.keys[int(np.ravel_multi_index(joint, term.shape))]
        if found != sorted(told):
            odd = next(iter(set(found) ^ set(told)), "a part that is called again")
            raise PartsError(
                "a latency table needs parts whose shapes depend on their own choices alone, but in "
                f"{architecture} they do not: {odd}; measure whole networks instead"
            )
