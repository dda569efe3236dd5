"""The importance of units, and sorting units by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.conversion.families import Layout
from onepath.conversion.trace import output_tensors
from onepath.errors import ConfigurationError, shown
from onepath.tree import call

Scores = dict[int, float]
"""Root -> importance of its unit, higher matters more."""


def weight_importance(layout: Layout) -> Scores:
    """Return the mean absolute weight of each unit relative to all units in the same tensor, averaged over the tensors.

    Biases and buffers do not count.

    Source: L1 norms as in "Pruning Filters for Efficient ConvNets" (arXiv 1608.08710); averaged over all tensors that a
    unit lies in, as group pruning does.
    """
    return _scores(layout, lambda source: source.abs(), is_relative=True)


def taylor_importance(
    layout: Layout, model: nn.Module, batches: Iterable[tuple[Any, Any]], loss: Callable[[Any, Any], Tensor]
) -> Scores:
    """Return how much the loss would change, to first order, if a unit were removed.

    The importance of a unit is |sum of weight * gradient| over its part of a parameter, added up over the parameters.
    The gradients are summed over the batches, and the result is divided by the number of batches.

    Args:
        layout: the layout of the network.
        model: the network, in the mode in which it is to run; its gradients are cleared before and afterwards.
        batches: pairs of inputs and targets.
        loss: function of outputs and targets that returns a scalar.

    Raises:
        ConfigurationError: the batches are not pairs, or the model or the loss does not take them.

    Source: "Importance Estimation for Neural Network Pruning", equation 8 (arXiv 1906.10771). Differs from it: absolute
    values in place of squares, and the parts of a unit do not cancel each other.
    """
    model.zero_grad()
    frozen = [p for p in model.parameters() if p.is_floating_point() and not p.requires_grad]
    num = 0
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for inputs, targets in batches:
            loss(call(model, inputs), targets).backward()  # type: ignore[no-untyped-call]
            num += 1
    except Exception as error:
        raise ConfigurationError(
            "data must be a task, or batches of inputs and targets that the model and a loss take, but measuring "
            f"importance raised {type(error).__name__}: {shown(str(error), 120)}; give such batches, or none"
        ) from error
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    scores = _scores(
        layout, lambda tensor: tensor * (torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)
    )
    model.zero_grad()
    return {root: score / max(1, num) for root, score in scores.items()}


def default_loss(outputs: Any, targets: Any) -> Tensor:
    """Return the cross-entropy for targets of whole numbers, the mean squared error for others; a scalar.

    Args:
        outputs: a tensor, or any structure of tensors, of which the first counts.
        targets: class indices, or values in the shape of the outputs.
    """
    outputs = output_tensors(outputs)[0]
    if targets.is_floating_point():
        return functional.mse_loss(outputs, targets)
    return functional.cross_entropy(outputs, targets)


def _scores(layout: Layout, measure: Callable[[Tensor], Tensor], *, is_relative: bool = False) -> Scores:
    sums: dict[int, list[float]] = {root: [] for root in layout.family_of}
    for (number, dim), roots in layout.vectors.items():
        source = layout.sources[number]
        if not isinstance(source.tensor, nn.Parameter) or (is_relative and "bias" in source.name):
            continue
        with torch.no_grad():
            measured = measure(source.tensor).double().movedim(dim, 0).reshape(len(roots), -1)
            own = measured.mean(1) if is_relative else measured.sum(1)
        found, places = np.unique(roots, return_inverse=True)
        total = np.zeros(len(found))
        np.add.at(total, places, own.cpu().numpy())
        values = total / np.bincount(places) if is_relative else np.abs(total)
        scale = values.mean() if is_relative and values.mean() > 0 else 1.0
        for root, value in zip(found.tolist(), (values / scale).tolist(), strict=True):
            if root in sums:
                sums[root].append(value)
    return {
        root: (float(np.mean(found)) if is_relative else float(np.sum(found))) if found else 0.0
        for root, found in sums.items()
    }


def orders_by(layout: Layout, scores: Scores, families: Iterable[int]) -> dict[int, npt.NDArray[np.int64]]:
    """Return number of a family -> ranks of its units, from the most important to the least; ties keep their order.

    Args:
        layout: the layout of the network.
        scores: root -> importance of its unit.
        families: numbers of the families to sort.
    """
    return {
        family: np.argsort([-scores[root] for root in layout.families[family].roots], kind="stable")
        for family in families
    }


@torch.no_grad()
def permute_units(layout: Layout, orders: Mapping[int, Sequence[int] | npt.NDArray[np.int64]]) -> None:
    """Reorder the units of families in all their tensors, in place; the network computes the same function.

    Args:
        layout: the layout of the network; its tensors are changed.
        orders: number of a family -> present ranks of its units, in the new order.
    """
    for (number, dim), roots in layout.vectors.items():
        index = np.arange(len(roots))
        owners, ranks = layout.owners(roots)
        for family, order in orders.items():
            places = np.flatnonzero(owners == family)
            if len(places):
                by_unit = places[np.argsort(ranks[places], kind="stable")].reshape(len(order), -1)
                index[by_unit] = by_unit[np.asarray(order)]
        if (index != np.arange(len(roots))).any():
            tensor = layout.sources[number].tensor
            tensor.copy_(tensor.index_select(dim, torch.from_numpy(index).to(tensor.device)))
