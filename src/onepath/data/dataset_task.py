"""A task made of torch datasets, for example for regression, several labels, segmentation or sequences."""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onepath.data.dataset_examples import Examples, Indices, collated
from onepath.data.metrics import Metric, metric_of
from onepath.data.preprocessing import Preprocessing
from onepath.data.splits import drawn_part
from onepath.data.task import Batch, Split, Task
from onepath.errors import ConfigurationError, DataError, shown
from onepath.randomness import generator
from onepath.tree import Tree, first_tensor, tensors

Loss = Callable[[Any, Any], Tensor]
_HELD_OUT = 0.2
_MOST_VALIDATION = 5000
_FINGERPRINT_SAMPLE = 64


def _cross_entropy(outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)


def _like(outputs: Tensor, targets: Tensor) -> Tensor:
    return targets.reshape(outputs.shape).to(outputs.dtype)


LOSSES: Mapping[str, Loss] = {
    "cross-entropy": _cross_entropy,
    "mse": lambda outputs, targets: functional.mse_loss(outputs, _like(outputs, targets)),
    "l1": lambda outputs, targets: functional.l1_loss(outputs, _like(outputs, targets)),
    "huber": lambda outputs, targets: functional.smooth_l1_loss(outputs, _like(outputs, targets)),
    "bce": lambda outputs, targets: functional.binary_cross_entropy_with_logits(
        outputs, _like(outputs, targets)
    ),
}
"""Name -> function of outputs and targets that returns the mean loss."""
_DEFAULT_METRICS = {
    "cross-entropy": "accuracy",
    "mse": "rmse",
    "l1": "mae",
    "huber": "rmse",
    "bce": "multilabel-f1",
}


class DatasetTask(Task):
    """The task of torch datasets that `Task.from_datasets` returns.

    A split of at most 2 GiB is read once and kept in memory. A larger one is read batch by batch, and so is one whose
    items draw random numbers as they are read.

    Args:
        name: short name for records.
        splits: split -> (dataset, indices of the items in it that belong to the split, (N,) int64).
        loss: function of outputs and targets that returns the mean loss.
        metric: metric by which networks are judged.
        num_outputs: how many numbers a network returns for each example, or for each pixel or step of it.
        class_names: names of the outputs; may be empty.
        notes: remarks on how the data were split, one sentence each.
        preprocessing: computation that turns a raw example into an input; None if it is not known.
    """

    recipe_settings: Mapping[str, Any] = {}

    def __init__(
        self,
        name: str,
        splits: Mapping[Split, tuple[Any, Indices]],
        *,
        loss: Loss,
        metric: Metric,
        num_outputs: int,
        class_names: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.name, self.notes, self.class_names = name, notes, class_names
        self._splits = {split: Examples(dataset, indices) for split, (dataset, indices) in splits.items()}
        self._loss, self._metric, self._preprocessing = loss, metric, preprocessing
        self.num_classes = num_outputs
        self.metric_name, self.higher_is_better = metric.name, metric.higher_is_better
        self.metric_is_share = metric.is_share
        drawing = [split for split in ("validation", "test") if self._splits[split].draws]
        if drawing:
            which = " and ".join(drawing)
            self.notes += (
                f"Items of the {which} split draw random numbers as they are read; evaluations see the same ones.",
            )
        inputs = self._splits["train"].batch([0])[0]
        shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors(inputs))
        self.input_shape = shapes[0] if isinstance(inputs, Tensor) else shapes  # type: ignore[assignment]
        self.fingerprint = self._fingerprint()
        if loss is not _cross_entropy:
            self.recipe_settings = {"label_smoothing": 0.0}

    def part(self, share: float, *, seed: int = 0) -> DatasetTask:
        """See `Task.part`."""
        task, train = copy.copy(self), self._split("train")
        kept = drawn_part(np.arange(len(train)), share, seed)
        task._splits = {**self._splits, "train": train.part(kept)}
        task.fingerprint = task._fingerprint()
        return task

    def num_examples(self, split: Split) -> int:
        """See `Task.num_examples`."""
        return len(self._split(split))

    def train_batches(
        self, batch_size: int, *, seed: int, first_update: int = 0, num_updates: int
    ) -> Iterator[Batch]:
        """See `Task.train_batches`.

        If reading an item draws random numbers, for example for augmentation, it draws anew at every visit. What it
        draws depends on `seed` and the update alone.
        """
        examples = self._split("train")
        per_epoch = self.updates_per_epoch(batch_size)
        epoch, order = -1, np.arange(0)
        for update in range(first_update, first_update + num_updates):
            if update // per_epoch != epoch:
                epoch = update // per_epoch
                order = generator(seed, "order", epoch).permutation(len(examples))
            start = update % per_epoch * batch_size
            yield Batch(*examples.batch(order[start : start + batch_size], (seed, update)))

    def batches(
        self, split: Split, batch_size: int, *, num_examples: int | None = None, seed: int = 0
    ) -> Iterator[Batch]:
        """See `Task.batches`."""
        examples = self._split(split)
        places = np.arange(len(examples))
        if num_examples is not None and num_examples < len(places):
            rng = generator(seed, f"{split} subset")
            places = np.sort(rng.choice(places, max(1, num_examples), replace=False))
        for start in range(0, len(places), batch_size):
            yield Batch(*examples.batch(places[start : start + batch_size]))

    @property
    def preprocessing(self) -> Preprocessing | None:
        """See `Task.preprocessing`."""
        return self._preprocessing

    def raw_inputs(self, split: Split, num: int) -> Any:
        """See `Task.raw_inputs`; computed from the inputs by undoing `preprocessing`, if that is known."""
        inputs = self.example_inputs(split, num)
        known = self._preprocessing
        if known is None or not isinstance(inputs, Tensor):
            return inputs
        return (inputs * torch.tensor(known.std) + torch.tensor(known.mean)) * known.full_scale

    def loss(self, outputs: Any, targets: Any, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch; only cross-entropy uses `label_smoothing`."""
        if self._loss is _cross_entropy:
            return _cross_entropy(outputs, targets, label_smoothing)
        return self._loss(outputs, targets)

    def tally(self, outputs: Any, targets: Any) -> Tensor:
        """See `Task.tally`; computed by the metric that was given."""
        return self._metric.tally(outputs, targets)

    def metric(self, tally: Tensor) -> float:
        """See `Task.metric`; computed by the metric that was given."""
        return self._metric.value(tally)

    def _split(self, split: Split) -> Examples:
        if split not in self._splits:
            raise DataError(f"split must be one of {', '.join(self._splits)}, but got {shown(split)}")
        return self._splits[split]

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.input_shape, self.num_classes, self.metric_name)).encode())
        for split, examples in sorted(self._splits.items()):
            digest.update(f"{split} {len(examples)}".encode())
            places = np.linspace(0, len(examples) - 1, min(_FINGERPRINT_SAMPLE, len(examples))).astype(
                np.int64
            )
            for tensor in tensors(examples.batch(places)):
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def make_task(
    train: Any,
    validation: Any,
    test: Any,
    *,
    loss: str | Loss,
    metric: Any,
    num_outputs: int | None,
    name: str,
    seed: int,
    class_names: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
) -> DatasetTask:
    """Make a task of torch datasets; see `Task.from_datasets`."""
    if isinstance(loss, str) and loss not in LOSSES:
        raise ConfigurationError(
            f"a loss must be one of {', '.join(LOSSES)} or a function of outputs and targets, but got "
            f"{shown(loss)}; use one of them"
        )
    if metric is None and not isinstance(loss, str):
        raise ConfigurationError(
            "a loss of your own needs a metric, but none came; give metric, a name such as 'rmse' or a Metric"
        )
    chosen = metric_of(_DEFAULT_METRICS[loss] if metric is None and isinstance(loss, str) else metric)
    notes: list[str] = []
    datasets = {"train": _checked(train, "train")}
    kept = np.arange(len(datasets["train"]), dtype=np.int64)
    splits: dict[Split, tuple[Any, Indices]] = {}
    for split, given in (("test", test), ("validation", validation)):
        if given is not None:
            own = _checked(given, split)
            splits[cast(Split, split)] = own, np.arange(len(own), dtype=np.int64)
            continue
        num = min(_MOST_VALIDATION, math.ceil(_HELD_OUT * len(kept)))
        if num < 1 or num >= len(kept):
            raise DataError(
                f"a {split} split needs at least 2 training examples, but got {len(kept)}; give more, or the split "
                "itself"
            )
        kept, held_out = _held_out(datasets["train"], kept, num, generator(seed, f"{split} split"))
        splits[cast(Split, split)] = datasets["train"], held_out
        notes.append(f"{num:,} training examples are held out for the {split} split, drawn from the seed.")
    splits["train"] = datasets["train"], kept
    return DatasetTask(
        name,
        splits,
        loss=LOSSES[loss] if isinstance(loss, str) else loss,
        metric=chosen,
        num_outputs=_num_outputs(datasets["train"], kept, loss) if num_outputs is None else num_outputs,
        class_names=tuple(class_names),
        notes=tuple(notes),
        preprocessing=preprocessing,
    )


def _checked(dataset: Any, split: str) -> Any:
    has_length = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if not has_length or not len(dataset):
        what = type(dataset).__name__ if not has_length else "an empty one"
        raise DataError(
            f"the {split} dataset must have a length and give items by index, but got {what}; give a map-style "
            "torch.utils.data.Dataset"
        )
    return dataset


def _targets(dataset: Any, places: Indices) -> Tree:
    return collated(dataset, places)[1]


def _held_out(dataset: Any, places: Indices, num: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Return the places kept and the places held out; if targets are classes, each keeps its share in both."""
    order = rng.permutation(places)
    targets = _targets(dataset, places)
    is_classes = isinstance(targets, Tensor) and targets.dim() == 1 and not targets.is_floating_point()
    if is_classes:
        # The classes take turns by their shares, so that every prefix of the order has about the shares of the whole.
        labels = dict(zip(places.tolist(), targets.tolist(), strict=True))
        counts: dict[int, Iterator[int]] = {}
        totals = {label: list(labels.values()).count(label) for label in set(labels.values())}
        ranks = [
            (next(counts.setdefault(labels[place], itertools.count(1))) / totals[labels[place]], position)
            for position, place in enumerate(order.tolist())
        ]
        order = order[[position for _, position in sorted(ranks)]]
    return np.sort(order[num:]), np.sort(order[:num])


def _num_outputs(dataset: Any, places: Indices, loss: str | Loss) -> int:
    """Return how many numbers a network must return: one more than the largest class, or the values of a target."""
    targets = first_tensor(_targets(dataset, places[: 1 if loss != "cross-entropy" else None]))
    if loss == "cross-entropy":
        return int(targets.max()) + 1
    return int(targets.shape[1]) if targets.dim() > 1 else 1
