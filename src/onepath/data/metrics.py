"""Metrics that judge a network: each has a name, a direction, and a way to add up over batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onepath.errors import ConfigurationError, shown


@dataclass(frozen=True)
class Metric:
    """A metric that compares outputs of a network with targets.

    Attributes:
        name: name for records and reports, for example "accuracy".
        higher_is_better: whether a higher value is better.
        tally: function from the outputs and targets of a batch to a tensor that adds up over batches, such as counts,
            sums or a confusion matrix. Its shape must not depend on the batch size.
        value: function from the sum of these tensors over all batches to the metric.
        is_share: whether the metric is a share in [0, 1], which reports may write in percent.
    """

    name: str
    higher_is_better: bool
    tally: Callable[[Any, Any], Tensor]
    value: Callable[[Tensor], float]
    is_share: bool = False


def _sums(*values: Any) -> Tensor:
    return torch.stack([torch.as_tensor(value, dtype=torch.float64).cpu() for value in values])


def _accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    found = outputs.argmax(dim=1) == targets
    return _sums(found.sum(), found.numel())


def _ratio(tally: Tensor) -> float:
    return float(tally[0] / tally[1]) if tally[1] else math.nan


def _confusion(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return (classes, classes): how often a class (row) was taken for a class (column)."""
    num = outputs.shape[1]
    pairs = targets.flatten() * num + outputs.argmax(dim=1).flatten()
    return torch.bincount(pairs, minlength=num * num).reshape(num, num).double().cpu()


def _balanced(matrix: Tensor) -> float:
    rows = matrix.sum(1)
    return float((matrix.diagonal()[rows > 0] / rows[rows > 0]).mean())


def _f1(matrix: Tensor) -> float:
    total = matrix.sum(0) + matrix.sum(1)
    return float((2 * matrix.diagonal()[total > 0] / total[total > 0]).mean())


def _iou(matrix: Tensor) -> float:
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return float((matrix.diagonal()[union > 0] / union[union > 0]).mean())


def _like(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return targets in the shape and type of the outputs, for example from (B,) to (B, 1)."""
    return targets.reshape(outputs.shape).to(outputs.dtype)


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    error = outputs.double() - _like(outputs, targets).double()
    return _sums(error.square().sum(), error.numel())


def _distances(outputs: Tensor, targets: Tensor) -> Tensor:
    error = outputs.double() - _like(outputs, targets).double()
    return _sums(error.abs().sum(), error.numel())


def _variation(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return (4,): the summed squared error, and the count, the sum and the sum of squares of the targets' numbers."""
    wanted = _like(outputs, targets).double()
    return _sums(
        (outputs.double() - wanted).square().sum(), wanted.numel(), wanted.sum(), wanted.square().sum()
    )


def _r2(tally: Tensor) -> float:
    error, num, total, squares = tally.tolist()
    spread = squares - total**2 / num
    return 1 - error / spread if spread > 0 else math.nan


def _labels(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return (3, labels): how often each label was predicted rightly, predicted wrongly, and missed.

    A label is predicted if its output is above 0.
    """
    named, holds = outputs > 0, targets > 0.5
    return (
        torch.stack([(named & holds).sum(0), (named & ~holds).sum(0), (~named & holds).sum(0)]).double().cpu()
    )


def _labels_f1(tally: Tensor) -> float:
    right, wrong, missed = tally
    total = 2 * right + wrong + missed
    return float((2 * right[total > 0] / total[total > 0]).mean()) if (total > 0).any() else math.nan


def _word_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    total = functional.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="sum")
    return _sums(total.detach(), targets.numel())


def _perplexity(tally: Tensor) -> float:
    mean = _ratio(tally)
    return math.exp(mean) if mean < 709 else math.inf


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _accuracy, _ratio, is_share=True),
        Metric("balanced-accuracy", True, _confusion, _balanced, is_share=True),
        Metric("f1", True, _confusion, _f1),
        Metric("mean-iou", True, _confusion, _iou),
        Metric("multilabel-f1", True, _labels, _labels_f1),
        Metric("mse", False, _squares, _ratio),
        Metric("rmse", False, _squares, lambda tally: math.sqrt(_ratio(tally))),
        Metric("mae", False, _distances, _ratio),
        Metric("r2", True, _variation, _r2),
        Metric("perplexity", False, _word_loss, _perplexity),
    )
}
"""Name -> metric, for the metrics of this package.

For metrics of classes, outputs are (B, classes, ...) and targets (B, ...). For perplexity, outputs are (B, T, words of
the vocabulary) and targets (B, T).
"""


def metric_of(given: Any) -> Metric:
    """Return the metric of a name in `METRICS` or of a torchmetrics metric; a `Metric` is returned unchanged.

    Args:
        given: a name, a `Metric`, or an object or class of torchmetrics. Unless `higher_is_better` of torchmetrics is
            False, higher values count as better.

    Raises:
        ConfigurationError: there is no metric of that name, or its states do not add up over batches.
    """
    if isinstance(given, Metric):
        return given
    if isinstance(given, str):
        if given not in METRICS:
            raise ConfigurationError(
                f"a metric must be one of {', '.join(METRICS)}, a Metric or one of torchmetrics, but got "
                f"{shown(given)}; use one of them"
            )
        return METRICS[given]
    given = given() if isinstance(given, type) else given
    if callable(getattr(given, "update", None)) and callable(getattr(given, "compute", None)):
        return _of_torchmetrics(given)
    raise ConfigurationError(
        f"a metric must be a name, a Metric or one of torchmetrics, but got {type(given).__name__}; give one of these"
    )


def _of_torchmetrics(given: Any) -> Metric:
    """Return a `Metric` that computes a metric of torchmetrics, whose states must be tensors that sum up."""
    reductions: dict[str, Any] = getattr(given, "_reductions", {})
    names = list(reductions)
    adds_up = names and all(getattr(how, "__name__", "") == "dim_zero_sum" for how in reductions.values())
    if not adds_up or not all(isinstance(getattr(given, name), Tensor) for name in names):
        raise ConfigurationError(
            f"a metric of torchmetrics must have states that sum up over batches, but {type(given).__name__} has "
            "others; use one that keeps sums or counts"
        )
    shapes = [getattr(given, name).shape for name in names]

    def tally(outputs: Any, targets: Any) -> Tensor:
        own = given.clone()
        own.reset()
        own.update(outputs.cpu(), targets.cpu())
        return torch.cat([getattr(own, name).double().flatten() for name in names])

    def value(total: Tensor) -> float:
        own = given.clone()
        parts = torch.split(total, [max(1, math.prod(shape)) for shape in shapes])
        for name, part, shape in zip(names, parts, shapes, strict=True):
            setattr(own, name, part.reshape(shape).to(getattr(own, name).dtype))
        own._update_count = 1
        return float(own.compute())

    higher = getattr(given, "higher_is_better", None)
    return Metric(type(given).__name__, higher is not False, tally, value)
