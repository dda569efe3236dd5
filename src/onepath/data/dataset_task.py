"""A task of any torch datasets: regression, several labels, segmentation, sequences."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import default_collate

from onepath.data.metrics import Metric, metric_of
from onepath.data.preprocessing import Preprocessing
from onepath.data.task import Batch, Split, Task
from onepath.errors import ConfigurationError, DataError, shown
from onepath.randomness import generator
from onepath.tree import Tree, first_tensor, map_tensors, tensors

Loss = Callable[[Any, Any], Tensor]
_HELD_OUT = 0.2
_MOST_VALIDATION = 5000
_MOST_KEPT_BYTES = 1 << 31  # of one split, collated once; larger ones are read batch by batch
_FINGERPRINT_SAMPLE = 64
_Indices = NDArray[np.int64]


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
"""The ready-made losses by name."""
_DEFAULT_METRICS = {
    "cross-entropy": "accuracy",
    "mse": "rmse",
    "l1": "mae",
    "huber": "rmse",
    "bce": "multilabel-f1",
}


class DatasetTask(Task):
    """What `Task.from_datasets` makes.

    Args:
        name: for records.
        splits: split -> dataset and the places in it that belong to the split.
        loss: outputs and targets -> mean loss.
        metric: what networks are judged by.
        num_outputs: numbers that a network returns for each example or place.
        class_names: of the outputs; may be empty.
        notes: how the data were split.
        preprocessing: what turns a raw example into an input, where that is known.
    """

    recipe_settings: Mapping[str, Any] = {}

    def __init__(
        self,
        name: str,
        splits: Mapping[Split, tuple[Any, _Indices]],
        *,
        loss: Loss,
        metric: Metric,
        num_outputs: int,
        class_names: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.name, self.notes, self.class_names = name, notes, class_names
        self._splits = {split: _Examples(dataset, indices) for split, (dataset, indices) in splits.items()}
        self._loss, self._metric, self._preprocessing = loss, metric, preprocessing
        self.num_classes = num_outputs
        self.metric_name, self.higher_is_better = metric.name, metric.higher_is_better
        self.metric_is_share = metric.is_share
        inputs = self._splits["train"].batch([0])[0]
        shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors(inputs))
        self.input_shape = shapes[0] if isinstance(inputs, Tensor) else shapes  # type: ignore[assignment]
        self.fingerprint = self._fingerprint()
        if loss is not _cross_entropy:
            self.recipe_settings = {"label_smoothing": 0.0}

    def num_examples(self, split: Split) -> int:
        """See `Task.num_examples`."""
        return len(self._split(split))

    def train_batches(
        self, batch_size: int, *, seed: int, first_update: int = 0, num_updates: int
    ) -> Iterator[Batch]:
        """See `Task.train_batches`; a dataset that draws, as augmentation does, draws anew at every visit."""
        examples = self._split("train")
        per_epoch = self.updates_per_epoch(batch_size)
        epoch, order = -1, np.arange(0)
        for update in range(first_update, first_update + num_updates):
            if update // per_epoch != epoch:
                epoch = update // per_epoch
                order = generator(seed, "order", epoch).permutation(len(examples))
            start = update % per_epoch * batch_size
            yield examples.batch(order[start : start + batch_size])

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
            yield examples.batch(places[start : start + batch_size])

    @property
    def preprocessing(self) -> Preprocessing | None:
        """See `Task.preprocessing`."""
        return self._preprocessing

    def raw_inputs(self, split: Split, num: int) -> Any:
        """See `Task.raw_inputs`: what the preprocessing makes the inputs of."""
        inputs = self.example_inputs(split, num)
        known = self._preprocessing
        if known is None or not isinstance(inputs, Tensor):
            return inputs
        return (inputs * torch.tensor(known.std) + torch.tensor(known.mean)) * known.full_scale

    def loss(self, outputs: Any, targets: Any, label_smoothing: float = 0.0) -> Tensor:
        """The loss that was given; only cross-entropy takes a smoothing."""
        if self._loss is _cross_entropy:
            return _cross_entropy(outputs, targets, label_smoothing)
        return self._loss(outputs, targets)

    def tally(self, outputs: Any, targets: Any) -> Tensor:
        """As the metric adds up."""
        return self._metric.tally(outputs, targets)

    def metric(self, tally: Tensor) -> float:
        """The metric of the sums."""
        return self._metric.value(tally)

    def _split(self, split: Split) -> _Examples:
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
            for tensor in tensors(tuple(examples.batch(places))):
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


class _Examples:
    """The examples of a split: collated once where they fit into memory, else read as they are asked for."""

    def __init__(self, dataset: Any, indices: _Indices) -> None:
        self._dataset, self._indices = dataset, indices
        size = sum(
            tensor.numel() * tensor.element_size() for tensor in tensors(tuple(self._read(indices[:1])))
        )
        self._kept = self._read(indices) if size * len(indices) <= _MOST_KEPT_BYTES else None

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, places: Sequence[int] | _Indices) -> Batch:
        """The examples at these places, as new tensors."""
        chosen = torch.as_tensor(np.asarray(places, dtype=np.int64))
        if self._kept is None:
            return self._read(self._indices[chosen.numpy()])
        return Batch(*(map_tensors(lambda tensor: tensor[chosen], part) for part in self._kept))

    def _read(self, indices: _Indices) -> Batch:
        inputs, targets = _collated(self._dataset, indices)
        return Batch(_plain(inputs), _plain(targets))


def _collated(dataset: Any, indices: _Indices) -> tuple[Tree, Tree]:
    """Inputs and targets at these places, put into one batch."""
    try:
        inputs, targets = default_collate([dataset[int(index)] for index in indices])
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
        raise DataError(
            "a dataset must give pairs of inputs and targets that can be put into batches, but it raised "
            f"{type(error).__name__}: {shown(str(error))}; give (inputs, targets) of equal shapes for each index"
        ) from error
    return inputs, targets


def _plain(tree: Tree) -> Tree:
    """Floats in float32, as networks take them."""
    return map_tensors(lambda tensor: tensor.float() if tensor.dtype == torch.float64 else tensor, tree)


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
    """See `Task.from_datasets`."""
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
    splits: dict[Split, tuple[Any, _Indices]] = {}
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


def _targets(dataset: Any, places: _Indices) -> Tree:
    return _collated(dataset, places)[1]


def _held_out(
    dataset: Any, places: _Indices, num: int, rng: np.random.Generator
) -> tuple[_Indices, _Indices]:
    """Places kept and held out; where targets are classes, every class keeps its share on both sides."""
    order = rng.permutation(places)
    targets = _targets(dataset, places)
    is_classes = isinstance(targets, Tensor) and targets.dim() == 1 and not targets.is_floating_point()
    if is_classes:
        # One after another of each class, so that every prefix has about the shares of the whole.
        labels = dict(zip(places.tolist(), targets.tolist(), strict=True))
        counts: dict[int, Iterator[int]] = {}
        totals = {label: list(labels.values()).count(label) for label in set(labels.values())}
        ranks = [
            (next(counts.setdefault(labels[place], itertools.count(1))) / totals[labels[place]], position)
            for position, place in enumerate(order.tolist())
        ]
        order = order[[position for _, position in sorted(ranks)]]
    return np.sort(order[num:]), np.sort(order[:num])


def _num_outputs(dataset: Any, places: _Indices, loss: str | Loss) -> int:
    """Numbers that a network must return: one more than the largest class, or as many as a target has."""
    targets = first_tensor(_targets(dataset, places[: 1 if loss != "cross-entropy" else None]))
    if loss == "cross-entropy":
        return int(targets.max()) + 1
    return int(targets.shape[1]) if targets.dim() > 1 else 1
