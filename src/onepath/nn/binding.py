"""Find the choices of a module, and the options under which each choice is active."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from onepath.errors import BindingError
from onepath.nn.choice_block import ChoiceBlock
from onepath.nn.depth import ElasticDepth
from onepath.nn.edge_sum import EdgeSum
from onepath.nn.registration import check_modules
from onepath.nn.selection import Selection, has_choices
from onepath.space import Choice, Option, SearchSpace

Condition = tuple[tuple[Choice, frozenset[Option]], ...]
"""Pairs of a choice and its allowed options; the condition holds if every choice has one of its allowed options."""


@dataclass
class _Sites:
    """The places where choices are read: for each choice the first path, and the conditions of all its places."""

    paths: dict[Choice, str] = field(default_factory=dict)
    conditions: dict[Choice, list[Condition]] = field(default_factory=dict)
    modules: dict[str, tuple[Condition, tuple[Choice, ...]]] = field(default_factory=dict)

    def add(self, choice: Choice, path: str, condition: Condition) -> None:
        """Record that the module at `path` reads `choice` under `condition`."""
        self.paths.setdefault(choice, path)
        self.conditions.setdefault(choice, []).append(condition)


def bind(root: nn.Module) -> tuple[SearchSpace, Selection]:
    """Find every choice below `root`, make the choices that blocks lack, and give all modules one shared selection.

    A choice block without a choice of its own gets one that is named by the block's path. A choice is active if the
    options of the other choices keep at least one of its modules in the path: for a nested block, the candidates around
    it; for a block of an `ElasticDepth`, the depths that include it.

    Args:
        root: module to search; its modules with choices are changed.

    Returns:
        The search space, whose choices are in the order of the modules but with parents before children; and the shared
        selection.

    Raises:
        BindingError: there is no choice; two different choices have one name (the message names both paths); a choice
            depends on itself; or a module cannot be part of a supernet, see `check_modules`.
    """
    check_modules(root)
    selection = Selection()
    sites = _Sites()
    for path, module in root.named_modules():
        if hasattr(module, "own_choices") and not has_choices(module):
            raise BindingError(
                f"{path or 'root'}: a module with own_choices() must begin with `selection = Selection()`, but "
                f"{type(module).__name__} has {getattr(module, 'selection', None)!r}; set it in __init__"
            )
        if has_choices(module):
            module.path = path
            module.selection = selection
        if isinstance(module, ChoiceBlock) and module.has_own_choice:
            module.choice = Choice(path or "root", module.names, role="operation")
    _collect(root, "", (), sites)
    if not sites.paths:
        raise BindingError(
            f"a supernet needs at least one choice, but {type(root).__name__} has none; put a ChoiceBlock or elastic "
            "layer with a Choice into it"
        )
    _check_names(sites.paths)
    choices = list(_parents_first(sites))
    space = SearchSpace(choices, _conditions_by_name(choices, sites), getattr(root, "notation", None))
    return space, selection


def choices_by_path(root: nn.Module, space: SearchSpace) -> dict[str, tuple[Choice, ...]]:
    """Return path of each module -> the choices that its presence and its own sizes depend on, nearest last.

    A choice that only decides whether another of these choices is active is left out, because the activity of the other
    choice already implies it.
    """
    sites = _Sites()
    _collect(root, "", (), sites)
    return {
        path: tuple(dict.fromkeys((*(choice for choice, _ in _not_implied(condition, own, space)), *own)))
        for path, (condition, own) in sites.modules.items()
    }


def conditions_by_path(root: nn.Module) -> dict[str, Condition]:
    """Return path of each module -> the condition under which the module is in the network."""
    sites = _Sites()
    _collect(root, "", (), sites)
    return {path: condition for path, (condition, _) in sites.modules.items()}


def _not_implied(condition: Condition, own: tuple[Choice, ...], space: SearchSpace) -> Condition:
    """Return the part of a condition that the activity of its other choices, or of `own`, does not imply."""
    others = {*own, *(choice for choice, _ in condition)}
    implied: set[Choice] = set()
    for child in others:
        alternatives = space.conditions.alternatives[space.column(child.name)] or ()
        for column, mask in alternatives[0] if len(alternatives) == 1 else ():
            parent = space.choices[column]
            sure = {option for option, allowed in zip(parent.options, mask, strict=True) if allowed}
            if any(choice is parent and sure <= allowed for choice, allowed in condition):
                implied.add(parent)
    return tuple((choice, allowed) for choice, allowed in condition if choice not in implied)


def _collect(module: nn.Module, path: str, condition: Condition, sites: _Sites) -> None:
    """Walk the module tree and note in `sites` the condition under which each module is in the path."""
    own = module.own_choices() if has_choices(module) else ()
    presence = getattr(module, "presence", None) if own else None
    if presence is not None:  # what is in a module that is left out is not read
        sites.add(presence[0], path, condition)
        if len(presence[1]) < presence[0].num_options:
            condition = (*condition, presence)
        own = tuple(choice for choice in own if choice is not presence[0])
    sites.modules[path] = condition, own
    for choice in own:
        sites.add(choice, path, condition)
    for name, child in module.named_children():
        child_path = f"{path}.{name}" if path else name
        if isinstance(module, ChoiceBlock):
            if name != "candidates":
                continue
            assert module.choice is not None
            for index, (option, candidate) in enumerate(zip(module.names, module.candidates, strict=True)):
                inside = (*condition, (module.choice, frozenset({option})))
                _collect(candidate, f"{child_path}.{index}", inside, sites)
        elif isinstance(module, EdgeSum) and module.choice is not None:
            for index, edge in enumerate(module.edges):
                kept = frozenset(module.options_with(index))
                _collect(edge, f"{child_path}.{index}", (*condition, (module.choice, kept)), sites)
        elif isinstance(module, ElasticDepth) and isinstance(module.depth, Choice):
            for index, block in enumerate(module.blocks):
                reaching = frozenset(depth for depth in module.depth.options if int(depth) > index)
                inside = condition
                if len(reaching) < module.depth.num_options:
                    inside = (*condition, (module.depth, reaching))
                _collect(block, f"{child_path}.{index}", inside, sites)
        else:
            _collect(child, child_path, condition, sites)


def _check_names(paths: dict[Choice, str]) -> None:
    """Raise if two different choice objects have the same name."""
    first: dict[str, Choice] = {}
    for choice, path in paths.items():
        other = first.setdefault(choice.name, choice)
        if other is not choice:
            raise BindingError(
                f"{path}: choices must have distinct names, but {choice.name!r} here is another choice than "
                f"{choice.name!r} at {paths[other]}; pass one Choice object to both to share it, or rename one"
            )


def _parents_of(choice: Choice, sites: _Sites) -> set[Choice]:
    """Return the choices that decide whether `choice` is active."""
    return {parent for condition in _alternatives(choice, sites) for parent, _ in condition}


def _alternatives(choice: Choice, sites: _Sites) -> list[Condition]:
    """Return the conditions of a choice's sites; an empty list if one site is always in the path.

    A site inside a module that the choice itself decides is ignored: if it is reached, an outer site is reached too.
    """
    conditions = [c for c in sites.conditions[choice] if all(parent is not choice for parent, _ in c)]
    return [] if any(not condition for condition in conditions) else conditions


def _parents_first(sites: _Sites) -> Iterator[Choice]:
    """Iterate over all choices in module order, except that the parents of a choice come before it."""
    done: set[Choice] = set()

    def visit(choice: Choice, trail: tuple[Choice, ...]) -> Iterator[Choice]:
        if choice in done:
            return
        if choice in trail:
            raise BindingError(
                f"{sites.paths[choice]}: a choice must not depend on itself through others, but "
                f"{' -> '.join(repr(c.name) for c in (*trail, choice))} does; use separate choices"
            )
        for parent in sorted(_parents_of(choice, sites), key=list(sites.paths).index):
            yield from visit(parent, (*trail, choice))
        done.add(choice)
        yield choice

    for choice in sites.paths:
        yield from visit(choice, ())


def _conditions_by_name(
    choices: list[Choice], sites: _Sites
) -> dict[str, list[dict[str, frozenset[Option]]]]:
    """Return the conditions in the form that `SearchSpace` takes, with as few alternatives as possible."""
    result: dict[str, list[dict[str, frozenset[Option]]]] = {}
    for choice in choices:
        alternatives: list[dict[str, frozenset[Option]]] = []
        for condition in _alternatives(choice, sites):
            conjunction: dict[str, frozenset[Option]] = {}
            for parent, options in condition:
                conjunction[parent.name] = conjunction.get(parent.name, options) & options
            if all(conjunction.values()) and conjunction not in alternatives:
                alternatives.append(conjunction)
        num_options = {c.name: c.num_options for c in choices}
        while _merge_two(alternatives, num_options):
            pass
        if alternatives and {} not in alternatives:
            result[choice.name] = alternatives
    return result


def _merge_two(alternatives: list[dict[str, frozenset[Option]]], num_options: dict[str, int]) -> bool:
    """Join two alternatives that differ in one parent's options; return whether there were two such alternatives.

    A parent that may then have any option is dropped.
    """
    for index, first in enumerate(alternatives):
        for second in alternatives[index + 1 :]:
            different = [name for name in first if first[name] != second.get(name)]
            if set(first) != set(second) or len(different) > 1:
                continue
            alternatives.remove(second)
            for name in different:
                first[name] = first[name] | second[name]
                if len(first[name]) == num_options[name]:
                    del first[name]
            return True
    return False
