"""Trials of smaller networks: whether a network that was cut down to an architecture runs as its units promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onepath.conversion.adaptations import Adaptations
from onepath.conversion.families import Layout
from onepath.conversion.rules import apply_rule
from onepath.conversion.running import same_shapes
from onepath.conversion.trace import Source, Trace, output_tensors
from onepath.conversion.units import Units
from onepath.nn.adapted import adapt, restore
from onepath.nn.extraction import extract_module
from onepath.nn.selection import Selection
from onepath.space import Choice, Option

_FAILURES = (RuntimeError, ValueError, TypeError, IndexError, AssertionError, AttributeError, KeyError)


@contextmanager
def adapted(model: nn.Module, adaptations: Adaptations) -> Iterator[Selection]:
    """Context in which a network's modules are elastic and read the selection that it yields; restored afterwards."""
    modules, selection = dict(model.named_modules()), Selection()
    changed = [modules[path] for path in adaptations.paths()]
    for path in adaptations.paths():
        found = adaptations.of(path)
        assert found is not None
        adapt(modules[path], found)
        modules[path].selection = selection
    try:
        yield selection
    finally:
        for module in changed:
            restore(module)


def failing_families(
    model: nn.Module,
    inputs: Sequence[Any],
    units: Units,
    layout: Layout,
    adaptations: Adaptations,
    options: Mapping[Choice, Option],
    returned: Sequence[Tensor],
) -> tuple[set[int], str] | None:
    """Cut a network down to an architecture, trace it, and return the families that cannot be cut.

    A family fails if its units are united or frozen in the smaller network, but not in the whole one.

    Args:
        model: the network; it is as before afterwards.
        inputs: its positional arguments.
        units: the units of the whole network; not changed.
        layout: the layout of the whole network.
        adaptations: the adaptations of its modules.
        options: choice -> its option in the architecture.
        returned: tensors that the whole network returns.

    Returns:
        None if the smaller network runs as it should. Otherwise the numbers of the families that fail, and the reason.
        The numbers are empty if the network raised an error.
    """
    with adapted(model, adaptations) as selection:
        selection.options.update(options)
        origins: dict[nn.Module, str] = {}
        plain = extract_module(model, inherit=True, origins=origins).eval()
        known = _known(layout, adaptations, options)
    renamed = {path: origins.get(module, path) for path, module in plain.named_modules()}
    found = {
        (path, name): source for path, own in renamed.items() for name, source in known.get(own, {}).items()
    }
    trial = units.copied()
    before, frozen = trial.num, len(trial.frozen)
    trial.merged.clear()
    trace = Trace(plain, trial, apply_rule, found)
    try:
        output = trace.run(inputs)
    except _FAILURES as error:
        return set(), f"the network's own code does not take another size ({_first_line(error)})"
    if not same_shapes(returned, output_tensors(output)):
        return set(), "what the model returns would have another shape"
    roots = {root for pair in trial.merged if max(pair) < before for root in pair}
    roots |= {root for root in list(trial.frozen)[frozen:] if root < before}
    families = {layout.family_of[root] for root in roots if root in layout.family_of}
    return (families, "its channels lie otherwise where there are fewer of them") if families else None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:100]}" if lines else type(error).__name__


def _known(
    layout: Layout, adaptations: Adaptations, options: Mapping[Choice, Option]
) -> dict[str, dict[str, Source]]:
    """Return path -> name -> a source whose labels are those of the entries that are kept."""
    found: dict[str, dict[str, Source]] = {}
    for number, source in enumerate(layout.sources):
        copied = Source(source.path, source.name, source.tensor)
        for dim, labels in source.vectors.items():
            copied.vectors[dim] = _kept(labels, 0, layout, adaptations, (number, dim), options)
        if source.elements is not None:
            elements = source.elements
            for dim in range(elements.dim()):
                elements = _kept(elements, dim, layout, adaptations, (number, dim), options)
            copied.elements = elements
        for path, name in source.holders:
            found.setdefault(path, {})[name] = copied
    return found


def _kept(
    labels: Tensor,
    dim: int,
    layout: Layout,
    adaptations: Adaptations,
    place: tuple[int, int],
    options: Mapping[Choice, Option],
) -> Tensor:
    """Return the labels that the options keep along a dimension of a source."""
    roots = layout.vectors.get(place)
    part = None if roots is None else adaptations.part(np.asarray(roots))
    return labels if part is None else part.of(labels, dim, options).clone()


def smallest(adaptations: Adaptations, kept: Sequence[int] | None = None) -> dict[Choice, Option]:
    """Return the smallest option of each choice; if `kept` is given, families that are not in it get their largest."""
    return {
        choice: min(choice.options) if kept is None or family in kept else max(choice.options)
        for family, (choice, _) in adaptations.choices.items()
    }


def drawn(adaptations: Adaptations, generator: torch.Generator) -> dict[Choice, Option]:
    """Return an option of each choice, drawn uniformly."""
    return {
        choice: choice.options[int(torch.randint(len(choice.options), (1,), generator=generator))]
        for choice, _ in adaptations.choices.values()
    }
