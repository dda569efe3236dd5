"""The report of a conversion: the choices of each module, or the reason why it was left alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import nn

from onepath.conversion.adaptations import Adaptations
from onepath.conversion.families import Layout
from onepath.conversion.sorting import Sorting
from onepath.conversion.tracing import Traced
from onepath.conversion.units import Units
from onepath.nn.selection import has_choices


class Row(NamedTuple):
    """A module of the original network, and what the conversion made of it.

    Attributes:
        path: path of the module in the model; "" for the model itself.
        choices: names of the choices that decide the module's sizes, its kernel or whether it is present; empty if the
            module was left alone.
        reason: why the module was left alone; "" if it has choices.
        macs: multiply-accumulates of the module without its children, on the example inputs. If the model has choice
            blocks, they are added up over one pass for each of the candidates.
        params: number of the module's own parameters; a shared parameter counts at the first module that holds it.
    """

    path: str
    choices: tuple[str, ...]
    reason: str
    macs: int
    params: int


@dataclass(frozen=True)
class Conversion:
    """The report of a conversion; `print` shows a table of the modules that have parameters or choices.

    Attributes:
        rows: a row for each module, in the order of the network.
        elastic_macs_share: share of the multiply-accumulates, 0 to 1, in modules that depend on a choice.
        elastic_params_share: share of the parameters, 0 to 1, in modules that depend on a choice.
        value_reads: paths of modules whose code reads values of tensors, as `if x.mean() > 0` does.
        sorting: sorts the channels of the network again, after a training for example.
    """

    rows: tuple[Row, ...]
    elastic_macs_share: float
    elastic_params_share: float
    value_reads: tuple[str, ...]
    sorting: Sorting = field(repr=False, compare=False)

    @property
    def remark(self) -> str:
        """What to know about a network whose code reads values of tensors, in one sentence; else empty."""
        if not self.value_reads:
            return ""
        where = ", ".join(path or "the model itself" for path in self.value_reads[:3])
        return (
            f"The code of {where} branches on values: only what the example inputs run is elastic, and a graph of the "
            "network (model.pt2, model.onnx) may not be possible."
        )

    def __str__(self) -> str:
        shown = [row for row in self.rows if row.params or row.choices]
        width = max((len(row.path or "(model)") for row in shown), default=0)
        lines = [
            f"{row.path or '(model)':<{width}}  {row.macs:>14,}  {row.params:>11,}  {_words(row)}"
            for row in shown
        ]
        heading = f"{'module':<{width}}  {'MACs':>14}  {'parameters':>11}  choices, or why it is left alone"
        share = (
            f"elastic: {100 * self.elastic_macs_share:.1f} % of multiply-accumulates, "
            f"{100 * self.elastic_params_share:.1f} % of parameters"
        )
        return "\n".join([heading, *lines, share, *([self.remark] if self.remark else [])])


def _words(row: Row) -> str:
    return ", ".join(row.choices) if row.choices else f"({row.reason})"


def make_conversion(
    model: nn.Module, traced: Traced, adaptations: Adaptations, divisor: int, whole: Sequence[str]
) -> Conversion:
    """Make the report on a traced network and its adaptations.

    Args:
        model: the network, before its modules are adapted.
        traced: the recorded passes of the network.
        adaptations: the adaptations of its modules.
        divisor: number whose multiples the numbers of channels are; reasons mention it.
        whole: names of choices that the model as a whole depends on.
    """
    macs: dict[str, int] = {}
    for operation in traced.operations:
        macs[operation.path] = macs.get(operation.path, 0) + operation.macs
    ran = {call.path for call in traced.trace.calls} | {""}
    counted: set[int] = set()
    rows = []
    for path, module in model.named_modules():
        own = [p for p in module._parameters.values() if p is not None and id(p) not in counted]
        counted |= {id(parameter) for parameter in own}
        params = sum(parameter.numel() for parameter in own)
        names = (*(() if path else whole), *_choices(path, module, adaptations))
        reason = "" if names else _reason(path, module, adaptations.layout, traced.trace.units, ran, divisor)
        rows.append(Row(path, names, reason, macs.get(path, 0), params))
    shares = (_share([(row.macs, row) for row in rows]), _share([(row.params, row) for row in rows]))
    return Conversion(
        tuple(rows), *shares, traced.value_reads, Sorting(adaptations.layout, adaptations.choices)
    )


def _choices(path: str, module: nn.Module, adaptations: Adaptations) -> tuple[str, ...]:
    """Names of the choices that a module depends on; those of the blocks around it come last."""
    adaptation = adaptations.of(path)
    choices = [] if adaptation is None else list(adaptation.choices)
    choices += module.own_choices() if has_choices(module) else ()
    choices += [choice for top, (choice, _) in adaptations.presences.items() if path.startswith(f"{top}.")]
    return tuple(dict.fromkeys(choice.name for choice in choices))


def _reason(
    path: str, module: nn.Module, layout: Layout, units: Units, ran: Collection[str], divisor: int
) -> str:
    """Return the reason why nothing in a module is elastic."""
    if not module._parameters:
        return "it has no parameters of its own"
    if isinstance(module, torch.jit.ScriptModule):
        return "it is a script module"
    if path not in ran:
        return "it does not run with the example inputs"
    held = [
        (dim != layout.sources[number].made, vector)
        for (number, dim), vector in layout.vectors.items()
        if path in dict(layout.sources[number].holders)
    ]
    # The dimension of a weight's outputs explains more than that of its inputs, so it comes first.
    roots = [int(root) for _, vector in sorted(held, key=itemgetter(0)) for root in vector if root]
    for source in layout.sources:
        if path in dict(source.holders) and source.elements is not None:
            roots += torch.unique(units.roots(source.elements)).tolist()
    frozen = next((layout.reasons[root] for root in roots if root in layout.reasons), None)
    if frozen is not None:
        return frozen
    family = next(
        (layout.families[layout.family_of[root]] for root in roots if root in layout.family_of), None
    )
    if family is None:
        return "its sizes are those of what comes in and goes out"
    if len(family.roots) == 1:
        return f"its {family.num_channels} channels can only stay together"
    if family.is_heads:
        return f"its {len(family.roots)} attention heads cannot be fewer"
    return f"its {family.num_channels} channels cannot be fewer in steps of {divisor}"


def _share(amounts: Sequence[tuple[int, Row]]) -> float:
    total = sum(amount for amount, _ in amounts)
    return sum(amount for amount, row in amounts if row.choices) / total if total else 0.0
