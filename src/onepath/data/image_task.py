"""The task of classifying images, or sequences such as the signals of sensors."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from onepath.data.augment import Fit, Normaliser, Pixels
from onepath.data.layout import Axis, Kind
from onepath.data.metrics import METRICS
from onepath.data.pixels import ImageStore, Request
from onepath.data.preprocessing import Preprocessing
from onepath.data.splits import drawn_part
from onepath.data.task import Batch, Split, Task
from onepath.errors import ConfigurationError, DataError
from onepath.randomness import generator

_FINGERPRINT_SAMPLE = 256


@dataclass(frozen=True, eq=False)
class Part:
    """A split: a store of images, their labels, and the indices of the images that belong to the split.

    Attributes:
        store: the store of N images; several splits may share it.
        labels: (N,) int64, the label of each image of the store.
        indices: sorted indices of the split's images in the store, int64.
    """

    store: ImageStore
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]


class ImageTask(Task):
    """A task of images or sequences with one label each; the loss is cross-entropy, the metric accuracy.

    Args:
        name: short name for records.
        parts: the three splits; the images of all splits have one shape and one scale.
        class_names: one name per class.
        flip: whether training images are mirrored at random.
        augment: whether training images are augmented at all; sequences never are.
        notes: remarks on how the data were read, one sentence each.
        kind: see the attribute.
        channels: see the attribute.
        fit: see the attribute.
        background: see the attribute.

    Attributes:
        input_shape: shape of one input of the network: (C, H, W) for images, (C, T) for sequences.
        full_scale: the raw value of a training pixel that counts as 1: 255 for ordinary images.
        normalisation: (mean, std), one number per channel, from the training split alone, in units of the full scale:
            an input of the network is `(pixel / full_scale - mean) / std`. A channel that never changes has std 1.
        kind: "images" or "sequence".
        channels: where the arrays that were given had their channels, "first" or "last". None: the arrays had no axis
            for channels, or the images are files, whose channels are red, green and blue.
        fit: how images of another aspect ratio are brought to height and width: "crop" (the image covers the size, and
            its centre is taken) or "pad" (the image fits into the size, and black is added at its sides).
        background: grey of 0 ... 255 on which transparent pixels of files are laid; None if no file has any.
    """

    metric_name = "accuracy"
    higher_is_better = True
    metric_is_share = True

    def __init__(
        self,
        name: str,
        parts: Mapping[Split, Part],
        class_names: tuple[str, ...],
        *,
        flip: bool = True,
        augment: bool = True,
        notes: tuple[str, ...] = (),
        kind: Kind = "images",
        channels: Axis | None = None,
        fit: Fit = "crop",
        background: int | None = None,
    ) -> None:
        self.name = name
        self.class_names = class_names
        self.num_classes = len(class_names)
        self._parts = dict(parts)
        self.full_scale = self._parts["train"].store.full_scale
        self.kind: Kind = kind
        self.channels = channels
        self.fit: Fit = fit
        self.background = background
        self.augment = augment and kind == "images"
        self.flip = flip and self.augment
        train = self._parts["train"]
        height, width, num_channels = train.store.shape
        images = (num_channels, height, width)
        self.input_shape: tuple[int, ...] = (num_channels, width) if kind == "sequence" else images
        mean, std = train.store.moments(train.indices)
        self.normalisation = mean, tuple(number or 1.0 for number in std)
        self.notes = (*notes, *_notes_on_constant(std))
        self.fingerprint = self._fingerprint()
        self._has_size = False

    def part(self, share: float, *, seed: int = 0) -> ImageTask:
        """See `Task.part`; the normalisation stays that of all training images."""
        task, train = copy.copy(self), self._part("train")
        task._parts = {**self._parts, "train": replace(train, indices=drawn_part(train.indices, share, seed))}
        task.fingerprint = task._fingerprint()
        return task

    def resized(self, size: int) -> ImageTask:
        """See `Task.resized`; images are resized after the augmentation, bilinearly and without aliasing.

        Raises:
            ConfigurationError: the examples are sequences.
        """
        if self.kind != "images":
            raise ConfigurationError(
                f"another resolution needs images, but the examples of {self.name} are sequences; leave it out"
            )
        task, (channels, height, width) = copy.copy(self), self.input_shape
        scale = size / min(height, width)
        task.input_shape = (channels, round(scale * height), round(scale * width))
        task._has_size = True
        task.fingerprint = task._fingerprint()
        return task

    def num_examples(self, split: Split) -> int:
        """See `Task.num_examples`."""
        return len(self._part(split).indices)

    def train_batches(
        self, batch_size: int, *, seed: int, first_update: int = 0, num_updates: int
    ) -> Iterator[Batch]:
        """See `Task.train_batches`."""
        return self._drawn("train", "", batch_size, seed, range(first_update, first_update + num_updates))

    def calibration_batches(self, batch_size: int, *, num_examples: int, seed: int = 0) -> Iterator[Batch]:
        """See `Task.calibration_batches`; the images are augmented if augmentation pads images with black.

        A network that was trained on images with black margins has a different variance in each layer when its images
        have no such margins.

        Raises:
            DataError: `batch_size` or `num_examples` is below 1.
        """
        if not (self.augment and self._part("train").store.pads):
            return super().calibration_batches(batch_size, num_examples=num_examples, seed=seed)
        _check_batch_size(batch_size)
        num = min(num_examples, self.num_examples("train"))
        if num < 1:
            raise DataError(f"num_examples >= 1 must hold, but got {num_examples}")
        num_batches = math.ceil(num / batch_size)
        return self._drawn("train", "calibration ", math.ceil(num / num_batches), seed, range(num_batches))

    def validation_batches(
        self, batch_size: int, *, seed: int, first_step: int = 0, num_steps: int
    ) -> Iterator[Batch]:
        """See `Task.validation_batches`; like training batches, drawn in a new order at every pass and augmented."""
        steps = range(first_step, first_step + num_steps)
        return self._drawn("validation", "validation ", batch_size, seed, steps)

    def _drawn(
        self, split: Split, purpose: str, batch_size: int, seed: int, updates: range
    ) -> Iterator[Batch]:
        """Yield augmented batches of a split, whose order is drawn for every epoch.

        Every batch is full, unless the split has fewer examples than a batch.
        """
        _check_batch_size(batch_size)
        part = self._part(split)
        chosen: list[NDArray[np.int64]] = []

        def requests() -> Iterator[Request]:
            per_epoch = max(1, len(part.indices) // batch_size)
            epoch, order = -1, part.indices
            for update in updates:
                if update // per_epoch != epoch:
                    epoch = update // per_epoch
                    order = generator(seed, f"{purpose}order", epoch).permutation(part.indices)
                start = (update % per_epoch) * batch_size
                indices = order[start : start + batch_size]
                chosen.append(indices)
                draws = generator(seed, f"{purpose}augment", update) if self.augment else None
                yield Request(indices, draws)

        inputs = self._inputs(part)
        for pixels in part.store.batches(requests(), self.flip):
            yield Batch(inputs(pixels), torch.from_numpy(part.labels[chosen.pop(0)]))

    def batches(
        self, split: Split, batch_size: int, *, num_examples: int | None = None, seed: int = 0
    ) -> Iterator[Batch]:
        """See `Task.batches`."""
        _check_batch_size(batch_size)
        part = self._part(split)
        indices = part.indices
        if num_examples is not None and num_examples < len(indices):
            if num_examples < 1:
                raise DataError(f"num_examples >= 1 must hold, but got {num_examples}")
            rng = generator(seed, f"{split} subset")
            indices = np.sort(rng.choice(indices, num_examples, replace=False))
        chunks = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        stream = part.store.batches((Request(chunk, None) for chunk in chunks), False)
        inputs = self._inputs(part)
        for chunk, pixels in zip(chunks, stream, strict=True):
            yield Batch(inputs(pixels), torch.from_numpy(part.labels[chunk]))

    def _inputs(self, part: Part) -> Callable[[Pixels], Tensor]:
        """Return the function that turns raw pixels of a part, (B, H, W, C), into inputs of the network."""
        normalise = Normaliser(*self.normalisation, part.store.full_scale)
        if self._has_size:
            size = list(self.input_shape[1:])
            return lambda pixels: functional.interpolate(
                normalise(pixels), size=size, mode="bilinear", antialias=True
            )
        if self.kind == "images":
            return normalise
        return lambda pixels: normalise(pixels).squeeze(2).contiguous()

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy of (B, classes) scores against (B,) labels."""
        return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (2,): number of correct predictions and number of examples; a tie goes to the lower class."""
        return METRICS["accuracy"].tally(outputs, targets)

    def metric(self, tally: Tensor) -> float:
        """Return the accuracy in [0, 1] of summed tallies."""
        return METRICS["accuracy"].value(tally)

    def test_images(self, num: int) -> Tensor:
        """Return the first `num` normalised test images, or all if there are fewer: (B, *input_shape)."""
        images: Tensor = next(iter(self.batches("test", num))).inputs
        return images

    @property
    def preprocessing(self) -> Preprocessing:
        """See `Task.preprocessing`; raw values have the scale of the training images."""
        mean, std = self.normalisation
        part = self._part("train")
        (raw,) = part.store.batches([Request(part.indices[:1], None)], False)
        return Preprocessing(
            self.input_shape,
            self.class_names,
            mean,
            std,
            float(self.full_scale),
            raw.dtype.name,
            self.fit,
            self.background,
        )

    def raw_inputs(self, split: Split, num: int) -> Tensor:
        """See `Task.raw_inputs`; float32 (num, *input_shape), converted to the scale of the training images."""
        part = self._part(split)
        (pixels,) = part.store.batches([Request(part.indices[:num], None)], False)
        raw = torch.from_numpy(pixels.astype(np.float32)) * (self.full_scale / part.store.full_scale)
        return raw.movedim(-1, 1).reshape(-1, *self.input_shape)

    def labels(self, split: Split) -> Tensor:
        """Return the labels of a split in the order of `batches`, int64 (N,)."""
        part = self._part(split)
        return torch.from_numpy(part.labels[part.indices])

    def _part(self, split: Split) -> Part:
        if split not in self._parts:
            raise DataError(f"split must be one of {', '.join(self._parts)}, but got {split!r}")
        return self._parts[split]

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.class_names, self.input_shape, self.full_scale)).encode())
        if self.fit != "crop" or self.background is not None:
            digest.update(f"{self.fit} {self.background}".encode())
        for split, part in sorted(self._parts.items()):
            digest.update(f"{split} {len(part.store)}".encode())
            digest.update(part.indices.tobytes())
            digest.update(part.labels[part.indices].tobytes())
            places = np.linspace(0, len(part.indices) - 1, min(_FINGERPRINT_SAMPLE, len(part.indices)))
            for content in part.store.content(part.indices[places.astype(np.int64)]):
                digest.update(content)
        return digest.hexdigest()[:16]


def _notes_on_constant(std: tuple[float, ...]) -> list[str]:
    constant = [str(channel) for channel, number in enumerate(std) if number == 0]
    if not constant:
        return []
    if len(constant) == len(std):
        return [
            "All training values are the same, and nothing can be learned; their deviation is taken as 1."
        ]
    return [
        f"{len(constant)} of {len(std)} channels never change in the training data (numbers {', '.join(constant[:10])}"
        f"{' ...' if len(constant) > 10 else ''}); their deviation is taken as 1."
    ]


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise DataError(f"batch_size >= 1 must hold, but got {batch_size}")
