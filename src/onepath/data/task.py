"""What training, search and estimation know of the data: batches, a loss and a metric."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor

from onepath.data.preprocessing import Preprocessing

Split = Literal["train", "validation", "test"]


class Batch(NamedTuple):
    """One batch on the CPU: inputs and targets, each a tensor or a tree of tensors with the examples first.

    For images: `inputs` float32 (B, C, H, W), normalised, with channels_last strides when C > 1; `targets`
    int64 (B,). For sequences: `inputs` float32 (B, C, T), normalised. For text: `inputs` and `targets` int64 (B, T),
    words of B streams and those one later.
    """

    inputs: Any
    targets: Any


class Task(ABC):
    """A learning problem, split into training, validation and test data.

    Training, search and estimation see a task and never an image, so that another kind of data needs another
    task and no other change.

    Attributes:
        name: short name for records, for example "digits".
        input_shape: shape of one input, without the batch; (C, H, W) for images, (C, T) for sequences,
            (T,) for text.
        num_classes: length of the last dimension of the network's output; for text the size of the vocabulary.
        class_names: one name per class, in the order of the outputs.
        metric_name: what `metric` computes, for example "accuracy".
        metric_is_share: whether the metric is a share, which may be written in percent.
        higher_is_better: direction of the metric.
        reads_words: whether inputs are words of a text.
        fingerprint: hexadecimal digest of the content and of the split; another digest means other data.
        notes: remarks on how the data were read, one sentence each.
        recipe_settings: fields of a `Recipe` that this kind of data needs otherwise than images do.
        architecture_settings: fields of an `ArchitectureRecipe` that differentiable searches on this kind of data take
            otherwise than their papers do for images.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    class_names: tuple[str, ...]
    metric_name: str
    higher_is_better: bool
    metric_is_share: bool = False
    reads_words: bool = False
    fingerprint: str
    notes: tuple[str, ...]
    recipe_settings: Mapping[str, Any] = {}
    architecture_settings: Mapping[str, Any] = {}

    @abstractmethod
    def num_examples(self, split: Split) -> int:
        """Number of examples of a split."""

    def updates_per_epoch(self, batch_size: int) -> int:
        """Updates that see the training data once: `floor(train / batch_size)`, at least 1.

        The remainder of an epoch's order is dropped; the next epoch has an order of its own. A network that carries a
        state from batch to batch starts each epoch without one.
        """
        return max(1, self.num_examples("train") // batch_size)

    @abstractmethod
    def train_batches(
        self, batch_size: int, *, seed: int, first_update: int = 0, num_updates: int
    ) -> Iterator[Batch]:
        """Augmented training batches of the updates `first_update` ... `first_update + num_updates - 1`.

        The batch of update t depends on the data, `batch_size`, `seed` and t alone: a run that starts again
        at update t sees bit for bit the batches that an uninterrupted one sees. Every batch is a new tensor
        that the caller may change.

        Args:
            batch_size: examples per batch; all of the training data when there are fewer.
            seed: seed of the epochs' orders and of the augmentation.
            first_update: number of the first update, counted from 0 over all epochs.
            num_updates: how many batches to give.
        """

    @abstractmethod
    def batches(
        self, split: Split, batch_size: int, *, num_examples: int | None = None, seed: int = 0
    ) -> Iterator[Batch]:
        """Batches of a split, in its order and without augmentation; the last one may be smaller.

        Args:
            split: "train", "validation" or "test".
            batch_size: examples per batch.
            num_examples: a fixed random subset of this size, drawn from `seed`; None or more than there are:
                all.
            seed: seed of the subset.
        """

    def calibration_batches(self, batch_size: int, *, num_examples: int, seed: int = 0) -> Iterator[Batch]:
        """Training batches whose statistics normalisation is given before a network is evaluated.

        Here as they are evaluated. A kind of data says so where the augmented ones serve better.

        Args:
            batch_size: examples per batch.
            num_examples: a fixed random subset of about this size; more than there are: all.
            seed: of the subset and of the augmentation.
        """
        return self.batches("train", batch_size, num_examples=num_examples, seed=seed)

    def validation_batches(
        self, batch_size: int, *, seed: int, first_step: int = 0, num_steps: int
    ) -> Iterator[Batch]:
        """Batches of the validation split that architecture parameters learn from, over and over.

        The batch of step s depends on the data, `batch_size`, `seed` and s alone. Here the split's own batches in
        their order; a kind of data whose order says something about the targets draws them.

        Args:
            batch_size: examples per batch; the last one of a pass may be smaller.
            seed: of what is drawn.
            first_step: number of the first step, counted from 0.
            num_steps: how many batches to give.
        """
        del seed
        num_per_pass = sum(1 for _ in self.batches("validation", batch_size))
        skipped, given = first_step % num_per_pass, 0
        while given < num_steps:
            for batch in itertools.islice(self.batches("validation", batch_size), skipped, None):
                if given == num_steps:
                    return
                yield batch
                given += 1
            skipped = 0

    def example_inputs(self, split: Split, num: int) -> Any:
        """Up to `num` inputs of a split, each of `input_shape`: the first ones in its order."""
        return next(iter(self.batches(split, num))).inputs

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What turns a raw example into an input of the network; None where the task does not say."""
        return None

    def raw_inputs(self, split: Split, num: int) -> Any:
        """The examples of `example_inputs` as the data had them, before `preprocessing`; here the same."""
        return self.example_inputs(split, num)

    @abstractmethod
    def loss(self, outputs: Any, targets: Any, label_smoothing: float = 0.0) -> Tensor:
        """Mean loss of a batch, a scalar that can be differentiated."""

    @abstractmethod
    def tally(self, outputs: Any, targets: Any) -> Tensor:
        """A batch's share of the metric: a tensor that adds up over batches, such as counts or a confusion matrix."""

    @abstractmethod
    def metric(self, tally: Tensor) -> float:
        """The metric from the sum of what `tally` gave."""

    def score(self, metric: float) -> float:
        """What searches and comparisons maximise: the metric, or of one that counts down its negative."""
        return metric if self.higher_is_better else -metric

    @classmethod
    def from_datasets(
        cls,
        train: Any,
        validation: Any = None,
        test: Any = None,
        *,
        loss: Any = "cross-entropy",
        metric: Any = None,
        num_outputs: int | None = None,
        class_names: Sequence[str] = (),
        name: str = "dataset",
        seed: int = 0,
        preprocessing: Preprocessing | None = None,
    ) -> Task:
        """A task of any torch datasets: regression, several labels, segmentation, sequences.

        Args:
            train: a map-style dataset; an item is a pair of inputs and targets, each a tensor or a tuple, list or
                dictionary of tensors. A network is called with a tensor, with the parts of a tuple or list one after
                another, or with those of a dictionary by name.
            validation: likewise; None holds out a fifth of the training examples, at most 5,000, with the shares of the
                classes where targets are classes; `notes` say so.
            test: likewise. It is read for the final evaluation alone.
            loss: "cross-entropy", "mse", "l1", "huber", "bce" (several labels), or a function of outputs and targets
                that returns a mean.
            metric: a name of `onepath.data.METRICS`, a `Metric`, or one of torchmetrics whose states sum up; None takes
                accuracy, rmse, mae, rmse or multilabel-f1 by the loss.
            num_outputs: numbers that a network returns for each example, or each place of it; None counts classes, or
                the numbers of a target.
            class_names: of the outputs, for files and reports.
            name: for records.
            seed: of the splits.
            preprocessing: what turns a raw example into an input, for exported files.

        Raises:
            ConfigurationError: there is no such loss or metric.
            DataError: a dataset is empty, has no length, or its items cannot be put into batches.

        Example:
            ``op.Task.from_datasets(TensorDataset(x, y), loss="mse", metric="rmse")``
        """
        from onepath.data.dataset_task import make_task

        return make_task(
            train,
            validation,
            test,
            loss=loss,
            metric=metric,
            num_outputs=num_outputs,
            class_names=class_names,
            name=name,
            seed=seed,
            preprocessing=preprocessing,
        )
