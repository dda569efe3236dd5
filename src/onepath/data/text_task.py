"""Word-level language modelling as a task: streams of words, cut into chunks that follow one another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from onepath.data.metrics import METRICS
from onepath.data.preprocessing import Preprocessing
from onepath.data.task import Batch, Split, Task
from onepath.errors import DataError
from onepath.randomness import generator

Words = NDArray[np.int64]

_SHORTEST = 5  # shortest length drawn for a chunk, in words, before lengths are scaled to the epoch
_LONGER = 20  # a drawn length is at most this many words above the mean
_SPREAD = 5.0
_HALVED = 0.05  # share of the chunks whose length is drawn around half of the mean


class TextTask(Task):
    """The task of predicting the next word of a text; the loss is cross-entropy, the metric perplexity.

    The words of a split are laid out as parallel streams, and the streams are cut into chunks. A batch holds one chunk
    of every stream. It continues the streams where the batch before it ended, so that a network may carry its state
    from batch to batch. Every epoch and every split starts at the beginning of the streams. One example is a chunk of
    `length` words of one stream.

    Lower perplexity is better. Searches maximise `score`, which is 1 / perplexity: the geometric mean of the
    probabilities that the network gives to the right words, in [0, 1].

    Args:
        name: short name for records.
        texts: split -> words in their order, int64 indices into `class_names`, at least 2 words.
        class_names: the vocabulary.
        length: number of words of a chunk; the mean number for training chunks.
        random_lengths: whether the lengths of training chunks are drawn, anew in every epoch.
        num_streams: number of parallel streams in evaluation. It is fixed, so that the result does not depend on batch
            sizes; up to `num_streams` words at a split's end are left out.
        notes: remarks on how the data were read, one sentence each.

    Raises:
        DataError: `length` or `num_streams` is below 1, or a split has fewer than 2 words.

    Source: Merity et al., Regularizing and Optimizing LSTM Language Models, arXiv 1708.02182, section 5, as the
    released code of DARTS has it: lengths from N(length, 5), with probability 0.05 from N(length / 2, 5), between 5
    and length + 20. Differs from it: drawn lengths are scaled so that every epoch has the same number of chunks and
    sees each word once, and the learning rate does not depend on the length of a chunk.
    """

    metric_name = "perplexity"
    higher_is_better = False
    reads_words = True
    recipe_settings: Mapping[str, Any] = {
        "learning_rate": 20.0,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 8e-7,
        "clip_norm": 0.25,
        "label_smoothing": 0.0,
    }
    architecture_settings: Mapping[str, Any] = {"learning_rate": 3e-3, "weight_decay": 1e-3}

    def __init__(
        self,
        name: str,
        texts: Mapping[Split, Words],
        class_names: tuple[str, ...],
        *,
        length: int = 35,
        random_lengths: bool = True,
        num_streams: int = 32,
        notes: tuple[str, ...] = (),
    ) -> None:
        for rule, value in {"length >= 1": length, "num_streams >= 1": num_streams}.items():
            if value < 1:
                raise DataError(f"{rule} must hold, but got {value}; 35 words in 32 streams are usual")
        for split, words in texts.items():
            if len(words) < 2:
                raise DataError(
                    f"every split must have 2 words or more, but {split} has {len(words)}; give more text"
                )
        self.name = name
        self.class_names = class_names
        self.num_classes = len(class_names)
        self.length = length
        self.random_lengths = random_lengths
        self.num_streams = num_streams
        self.input_shape: tuple[int] = (length,)
        self.notes = notes
        self._texts = dict(texts)
        self.fingerprint = self._fingerprint()

    def shortened(self, num_words: int) -> TextTask:
        """Return a task with only the first `num_words` words of the training text; the vocabulary does not change.

        Raises:
            DataError: fewer than 2 words are left.
        """
        texts = {**self._texts, "train": self._text("train")[: max(0, num_words)]}
        return TextTask(
            self.name,
            texts,
            self.class_names,
            length=self.length,
            random_lengths=self.random_lengths,
            num_streams=self.num_streams,
            notes=self.notes,
        )

    def part(self, share: float, *, seed: int = 0) -> TextTask:  # noqa: ARG002
        """See `Task.part`; the part is the beginning of the text, because its words follow one another."""
        if not 0 < share <= 1:
            raise DataError(f"a share of the training text must be above 0 and at most 1, but got {share:g}")
        return self.shortened(max(2, round(share * len(self._text("train")))))

    def num_examples(self, split: Split) -> int:
        """Return the number of chunks of `length` words in a split; the last chunk may be shorter."""
        return -(-(len(self._text(split)) - 1) // self.length)

    def updates_per_epoch(self, batch_size: int) -> int:
        """Return the number of chunks of a training stream: `floor(words to predict / length)`, at least 1.

        Args:
            batch_size: number of parallel training streams.
        """
        return max(1, (int(self._train_streams(batch_size).shape[1]) - 1) // self.length)

    def train_batches(
        self, batch_size: int, *, seed: int, first_update: int = 0, num_updates: int
    ) -> Iterator[Batch]:
        """See `Task.train_batches`; `batch_size` is the number of parallel streams.

        Inputs and targets are int64 (streams, words of the chunk); the targets are one word later. Within an epoch,
        each batch continues the streams where the batch before it ended. A short text has fewer streams.
        """
        streams = self._train_streams(batch_size)
        per_epoch = self.updates_per_epoch(batch_size)
        epoch, ends = -1, np.zeros(1, np.int64)
        for update in range(first_update, first_update + num_updates):
            if update // per_epoch != epoch:
                epoch = update // per_epoch
                ends = self._ends(streams.shape[1] - 1, per_epoch, seed, epoch)
            chunk = update % per_epoch
            yield _chunk(streams, int(ends[chunk]), int(ends[chunk + 1]))

    def batches(
        self, split: Split, batch_size: int, *, num_examples: int | None = None, seed: int = 0
    ) -> Iterator[Batch]:
        """Yield chunks of `length` words of `num_streams` streams, int64; each batch continues the one before it.

        Args:
            split: "train", "validation" or "test".
            batch_size: checked to be at least 1, but not used: batches always hold `num_streams` streams.
            num_examples: length of one connected passage, in chunks, to which the batches are limited; its position is
                drawn from `seed`. None, or a number not below `num_examples(split)`, takes the whole split.
            seed: seed of the passage's position.

        Raises:
            DataError: there is no such split, or `batch_size` or `num_examples` is below 1.
        """
        _check_batch_size(batch_size)
        words = self._text(split)
        if num_examples is not None and num_examples < self.num_examples(split):
            if num_examples < 1:
                raise DataError(f"num_examples >= 1 must hold, but got {num_examples}")
            num_words = num_examples * self.length + 1
            start = int(generator(seed, f"{split} subset").integers(len(words) - num_words + 1))
            words = words[start : start + num_words]
        streams = _streams(words, self.num_streams)
        for start in range(0, streams.shape[1] - 1, self.length):
            yield _chunk(streams, start, min(start + self.length, streams.shape[1] - 1))

    def example_inputs(self, split: Split, num: int) -> Tensor:
        """Return the first chunks of exactly `length` words, int64 (chunks, length), at most `num` of them.

        A text that is shorter than one chunk is repeated until it fills one.
        """
        words = self._text(split)
        num_chunks = max(1, min(num, len(words) // self.length))
        return torch.from_numpy(np.resize(words, (num_chunks, self.length)))

    @property
    def preprocessing(self) -> Preprocessing:
        """See `Task.preprocessing`; it holds the vocabulary and normalises nothing."""
        return Preprocessing(self.input_shape, self.class_names, raw_dtype="int64")

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy in nats of (B, T, vocabulary) scores against (B, T) words."""
        return functional.cross_entropy(
            outputs.flatten(0, 1), targets.flatten(), label_smoothing=label_smoothing
        )

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (2,): summed cross-entropy in nats, and the number of words."""
        return METRICS["perplexity"].tally(outputs, targets)

    def metric(self, tally: Tensor) -> float:
        """Return the perplexity: `exp(total / count)`, 1 or more, lower is better; infinite if it is not a number."""
        return METRICS["perplexity"].value(tally)

    def score(self, metric: float) -> float:
        """Return 1 / perplexity, in [0, 1]; higher is better."""
        return 1 / metric

    def _text(self, split: Split) -> Words:
        if split not in self._texts:
            raise DataError(f"split must be one of {', '.join(self._texts)}, but got {split!r}")
        return self._texts[split]

    def _train_streams(self, batch_size: int) -> Words:
        _check_batch_size(batch_size)
        return _streams(self._text("train"), batch_size)

    def _ends(self, num_words: int, num_chunks: int, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the limits of an epoch's chunks: (num_chunks + 1,) positions in a stream, from 0 to `num_words`."""
        steps = np.arange(num_chunks + 1)
        if not self.random_lengths:
            return np.minimum(steps * self.length, num_words)
        rng = generator(seed, "lengths", epoch)
        means = np.where(rng.random(num_chunks) < _HALVED, self.length / 2, self.length)
        lengths = np.clip(rng.normal(means, _SPREAD), _SHORTEST, self.length + _LONGER)
        ends = np.concatenate([[0.0], np.cumsum(lengths)])
        scaled = np.rint(ends * (num_words / ends[-1])).astype(np.int64)
        # Rounding may leave a short chunk without a word; here every chunk gets at least one.
        risen = np.maximum.accumulate(scaled - steps) + steps
        return np.asarray(np.minimum(risen, num_words - num_chunks + steps))

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.class_names, self.length, self.random_lengths)).encode())
        digest.update(f"{self.num_streams}".encode())
        for split, words in sorted(self._texts.items()):
            digest.update(f"{split} {len(words)}".encode())
            digest.update(words.astype("<i8").tobytes())
        return digest.hexdigest()[:16]


def _streams(words: Words, num_streams: int) -> Words:
    """Return consecutive pieces of a text as streams, (streams, words per stream).

    A short text gives fewer streams. The words at the end that do not fill a row are left out.
    """
    num_streams = max(1, min(num_streams, len(words) // 2))
    per_stream = len(words) // num_streams
    return words[: num_streams * per_stream].reshape(num_streams, per_stream)


def _chunk(streams: Words, start: int, end: int) -> Batch:
    """Return copies of words `start` ... `end - 1` of every stream, and as targets the words one later."""
    return Batch(
        torch.from_numpy(streams[:, start:end].copy()),
        torch.from_numpy(streams[:, start + 1 : end + 1].copy()),
    )


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise DataError(f"batch_size >= 1 must hold, but got {batch_size}")
