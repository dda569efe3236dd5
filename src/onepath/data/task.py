"""The interface between data and training, search and estimation: batches, a loss and a metric."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor

from onepath.data.preprocessing import Preprocessing
from onepath.errors import ConfigurationError

Split = Literal["train", "validation", "test"]


class Batch(NamedTuple):
    """One batch on the CPU: inputs and targets, each a tensor or a tree of tensors whose first dimension is the batch.

    For images, `inputs` are float32 (B, C, H, W), normalised, with channels_last strides when C > 1, and `targets` are
    int64 (B,). For sequences, `inputs` are float32 (B, C, T), normalised, and `targets` are int64 (B,). For text, both
    are int64 (B, T): `inputs` are words of B streams, and each target is the word that follows the input.
    """

    inputs: Any
    targets: Any


class Task(ABC):
    """A learning problem, split into training, validation and test data.

    Training, search and estimation use the methods of a task and know nothing else about the data. To support another
    kind of data, write another task; no other code changes.

    Attributes:
        name: short name for records, for example "digits".
        input_shape: shape of one input, without the batch: (C, H, W) for images, (C, T) for sequences, (T,) for text;
            a tuple of shapes if an input consists of several tensors.
        num_classes: how many numbers the network returns for each example, or for each word or pixel if every one is
            predicted. It is the length of the output's last dimension, but of its second one for segmentation. For text
            it is the size of the vocabulary, for regression the number of values of a target.
        class_names: one name per class, in the order of the outputs; may be empty in a task of torch datasets.
        metric_name: name of the metric that `metric` computes, for example "accuracy".
        metric_is_share: whether the metric is a share in [0, 1], which reports may write in percent.
        higher_is_better: whether a higher value of the metric is better.
        reads_words: whether inputs are indices of the words of a text.
        fingerprint: hexadecimal digest of the split and of the data or a sample; another digest means other data.
        notes: remarks on how the data were read, one sentence each.
        recipe_settings: field of a `Recipe` -> value, for the fields whose defaults, made for images, do not suit this
            kind of data.
        architecture_settings: field of an `ArchitectureRecipe` -> value, for the fields that differentiable searches
            must set differently on this kind of data than their papers do for images.
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
        """Return the number of examples of a split."""

    def updates_per_epoch(self, batch_size: int) -> int:
        """Return the number of updates in one epoch: `floor(training examples / batch_size)`, at least 1.

        By default every epoch has its own random order of the examples; those at its end that do not fill a batch are
        skipped. A network that carries a state from batch to batch starts each epoch without a state.
        """
        return max(1, self.num_examples("train") // batch_size)

    @abstractmethod
    def train_batches(
        self, batch_size: int, *, seed: int, first_update: int = 0, num_updates: int
    ) -> Iterator[Batch]:
        """Yield the augmented training batches of updates `first_update` ... `first_update + num_updates - 1`.

        The batch of update t depends on the data, `batch_size`, `seed` and t alone: a run that is resumed at update t
        sees bit for bit the batches that an uninterrupted run sees. The tensors of a batch are new; the caller may
        change them.

        Args:
            batch_size: examples per batch; if there are fewer training examples, every batch holds all of them.
            seed: seed of the order of every epoch and of the augmentation.
            first_update: number of the first update, counted from 0 over all epochs.
            num_updates: number of batches to yield.
        """

    @abstractmethod
    def batches(
        self, split: Split, batch_size: int, *, num_examples: int | None = None, seed: int = 0
    ) -> Iterator[Batch]:
        """Yield the batches of a split in the split's order, without augmentation; the last one may be smaller.

        Args:
            split: "train", "validation" or "test".
            batch_size: examples per batch.
            num_examples: size of a fixed random subset, drawn from `seed`, to which the batches are limited. None, or a
                number not below the size of the split, takes all examples.
            seed: seed of the subset.
        """

    def calibration_batches(self, batch_size: int, *, num_examples: int, seed: int = 0) -> Iterator[Batch]:
        """Yield the training batches from which batch normalisation takes its statistics before an evaluation.

        By default they are not augmented, like the batches of an evaluation. A task whose networks need the statistics
        of augmented examples overrides this method.

        Args:
            batch_size: examples per batch.
            num_examples: approximate size of a fixed random subset of the training examples; all if there are fewer.
            seed: seed of the subset and of the augmentation.
        """
        return self.batches("train", batch_size, num_examples=num_examples, seed=seed)

    def validation_batches(
        self, batch_size: int, *, seed: int, first_step: int = 0, num_steps: int
    ) -> Iterator[Batch]:
        """Yield batches of the validation split for training architecture parameters, pass after pass.

        The batch of step s depends on the data, `batch_size`, `seed` and s alone. By default the batches of the split
        repeat in their order and nothing is drawn. A task whose order says something about the targets, such as one
        sorted by class, overrides this method and draws the order.

        Args:
            batch_size: examples per batch; the last batch of a pass may be smaller.
            seed: seed of every random draw.
            first_step: number of the first step, counted from 0.
            num_steps: number of batches to yield.
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
        """Return the first `num` inputs of a split as one batch, (num, *input_shape), or all if there are fewer."""
        return next(iter(self.batches(split, num))).inputs

    def part(self, share: float, *, seed: int = 0) -> Task:  # noqa: ARG002
        """Return the same task with a fixed random part of the training examples; other splits do not change.

        Args:
            share: share of the training examples, above 0 and at most 1; one example is left at least.
            seed: seed of the draw.

        Raises:
            ConfigurationError: a task of this kind has no parts.
        """
        raise ConfigurationError(
            f"a part of the training data needs a task that can be divided, but {type(self).__name__} has no method "
            "part; write one, or train on all of the data"
        )

    def resized(self, size: int) -> Task:  # noqa: ARG002
        """Return the same task with images whose shorter side has `size` pixels.

        Raises:
            ConfigurationError: a task of this kind has no images that could be resized.
        """
        raise ConfigurationError(
            f"another resolution needs images, but {type(self).__name__} has no method resized; leave it out"
        )

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The computation that turns a raw example into an input of the network; None if it is not known."""
        return None

    def raw_inputs(self, split: Split, num: int) -> Any:
        """Return the examples of `example_inputs` as they are before `preprocessing`; by default the same inputs."""
        return self.example_inputs(split, num)

    @abstractmethod
    def loss(self, outputs: Any, targets: Any, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch, a scalar tensor that can be differentiated; lower is better."""

    @abstractmethod
    def tally(self, outputs: Any, targets: Any) -> Tensor:
        """Return a tensor, such as counts or a confusion matrix, whose sum over all batches determines the metric."""

    @abstractmethod
    def metric(self, tally: Tensor) -> float:
        """Return the metric, given the sum of the tensors that `tally` returned for all batches."""

    def score(self, metric: float) -> float:
        """Return the number that searches maximise: the metric, negated if lower values of the metric are better."""
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
        """Make a task of torch datasets, for example for regression, several labels, segmentation or sequences.

        Args:
            train: a map-style dataset. An item is a pair of inputs and targets, each a tensor or a tuple, list or
                dictionary of tensors. A network is called with a tensor as its one argument, with the parts of a tuple
                or list as positional arguments, or with the parts of a dictionary as keyword arguments.
            validation: a dataset like `train`. None holds out a fifth of the training examples, at most 5,000, and says
                so in `notes`; if each target is one class, every class keeps its share.
            test: a dataset like `train`, or None as for `validation`. It is read for the final evaluation alone.
            loss: "cross-entropy", "mse", "l1", "huber", "bce" (several labels), or a function of outputs and targets
                that returns the mean loss.
            metric: a name in `onepath.data.METRICS`, a `Metric`, or a metric of torchmetrics whose states sum up over
                batches. None chooses by the loss, in the order above: accuracy, rmse, mae, rmse or multilabel-f1. A
                loss of your own needs a metric.
            num_outputs: how many numbers a network returns for each example, or for each pixel or step of it. None
                takes the number of classes for "cross-entropy", else the number of values of a target.
            class_names: names of the outputs, for files and reports.
            name: short name for records.
            seed: seed of the splits.
            preprocessing: computation that turns a raw example into an input, for exported files.

        Raises:
            ConfigurationError: the loss or the metric does not exist or is not supported, or a loss of your own comes
                without a metric.
            DataError: a dataset is empty, has no length, its items cannot be put into batches, or it has too few
                examples to hold some out.

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
