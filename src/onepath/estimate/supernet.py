"""Inherited accuracy: the accuracy of an architecture with the supernet's weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from onepath.errors import ConfigurationError
from onepath.estimate.estimator import Estimate, architecture_of
from onepath.estimate.folding import fold_batchnorm
from onepath.estimate.recalibration import recalibrate_batchnorm
from onepath.nn.layout import lay_channels_last
from onepath.train.evaluation import autocast, evaluation_mode, score_batches
from onepath.train.memory import keep_freed_memory
from onepath.train.recipe import Precision
from onepath.tree import Tree, is_image_shape, map_tensors, num_values, to_device
from onepath.tree import num_examples as num_in

if TYPE_CHECKING:
    from torch import nn

    from onepath.data import Split, Task
    from onepath.nn import Supernet
    from onepath.search import Proposal
    from onepath.space import Architecture

_MOST_KEPT_BYTES = 1 << 30  # subsets larger than this are read anew for every candidate
_LEAST_FOLDED = 1000  # with fewer images, folding takes longer than it saves
_NUM_EXAMPLE = 4  # number of images on which a fold is checked

Pairs = list[tuple[Tree, Tree]]


class SupernetEstimator:
    """Scores architectures on the validation split with inherited weights and recalibrated normalisation.

    Each candidate is extracted from the supernet, its batch statistics are recomputed on training images (see
    `Task.calibration_batches`), and it is scored. The supernet itself is not changed, not even its buffers. An
    architecture is evaluated once; asking again returns the same `Estimate`. If the supernet is trained between
    estimates, call `clear`.

    Args:
        supernet: trained supernet.
        task: data; its "train" split is used for recalibration, its "validation" split for scoring.
        calibration_images: number of training images for recalibration, a fixed random subset (the paper takes 20,000);
            all if there are fewer.
        validation_images: number of validation images to score on, a fixed random subset; None for the whole split.
        batch_size: batch size of recalibration and scoring; by default 125 for 32x32 or larger images, more for
            smaller ones.
        device: device on which candidates run.
        seed: seed of the two subsets.
        recalibrate: False scores with the supernet's own running statistics, which mix all paths.
        precision: number format of both passes; "bfloat16" runs them under autocast.

    Raises:
        ConfigurationError: `calibration_images` or `batch_size` is below 2.

    Source: SPOS, arXiv 1904.00420, section 3.4.
    """

    def __init__(
        self,
        supernet: Supernet,
        task: Task,
        *,
        calibration_images: int = 2000,
        validation_images: int | None = None,
        batch_size: int | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
        recalibrate: bool = True,
        precision: Precision = "float32",
    ) -> None:
        if batch_size is None:
            shape = task.input_shape
            num_pixels = max(1, math.prod(shape[1:]) if is_image_shape(shape) else num_values(shape))
            batch_size = min(500, max(125, 125 * 1024 // num_pixels))
        if calibration_images < 2 or batch_size < 2:
            raise ConfigurationError(
                f"`calibration_images >= 2` and `batch_size >= 2` must hold, but got "
                f"{calibration_images} and {batch_size}; raise them"
            )
        self._supernet = supernet
        self._task = task
        self._device = torch.device(device)
        self._precision: Precision = precision
        self._recalibrates = recalibrate
        num_calibration = min(calibration_images, task.num_examples("train"))
        num_validation = task.num_examples("validation")
        if validation_images is not None:
            num_validation = min(validation_images, num_validation)
        self._calibration = _Subset(
            task, "train", num_calibration, batch_size, seed=seed, device=self._device
        )
        self._validation = _Subset(
            task, "validation", num_validation, batch_size, seed=seed, device=self._device
        )
        self._fold_example: Tree | None = None
        self._estimates: dict[Architecture, Estimate] = {}

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Return the inherited accuracy and loss of one architecture of the supernet's space."""
        architecture = architecture_of(asked)
        known = self._estimates.get(architecture)
        if known is None:
            known = self._estimates[architecture] = self._evaluate(architecture)
        return known

    def clear(self) -> None:
        """Forget all estimates; to be called after the supernet has changed."""
        self._estimates.clear()

    def release(self) -> None:
        """Free the memory of the batches that are kept for further estimates; those read the batches anew."""
        self._calibration.release()
        self._validation.release()

    def model(self, architecture: Architecture) -> nn.Module:
        """Return the network that `estimate` scores, with inherited weights and recalibrated normalisation.

        The network is on the estimator's device, in eval mode, and shares no memory with the supernet. On the
        validation images it has the accuracy that `estimate` returns.
        """
        model = self._extracted(architecture)
        self._recalibrate(model, keep=False)
        return model.eval()

    def _extracted(self, architecture: Architecture) -> nn.Module:
        model: nn.Module = self._supernet.extract(architecture).to(self._device)
        if is_image_shape(self._task.input_shape):
            lay_channels_last(model)
        return model

    def _recalibrate(self, model: nn.Module, *, keep: bool = True) -> None:
        if self._recalibrates:
            batches = self._calibration.batches(keep=keep)
            with autocast(self._device, self._precision):
                # torch refuses to normalise one value per channel, which is what one image has on a 1x1 map.
                recalibrate_batchnorm(model, (inputs for inputs, _ in batches if num_in(inputs) > 1))

    def _evaluate(self, architecture: Architecture) -> Estimate:
        started = time.perf_counter()
        if self._device.type == "cpu":
            keep_freed_memory()
        model = self._extracted(architecture)
        with torch.inference_mode():
            self._recalibrate(model)
        with evaluation_mode(model):
            if self._validation.num_examples >= _LEAST_FOLDED:
                fold_batchnorm(model, self._example())
            metric, loss, num = score_batches(
                model, self._task, self._validation.batches(), device=self._device, precision=self._precision
            )
        loss = loss if math.isfinite(loss) else math.inf
        return Estimate(self._task.score(metric), loss, time.perf_counter() - started, num)

    def _example(self) -> Tree:
        if self._fold_example is None:
            inputs = next(iter(self._validation.batches()))[0]
            self._fold_example = map_tensors(lambda tensor: tensor[:_NUM_EXAMPLE].clone(), inputs)
        return self._fold_example


class _Subset:
    """The batches of a fixed subset of a split, kept on the device when they are small.

    The batches of "train" are those for calibration.
    """

    def __init__(
        self, task: Task, split: Split, num_examples: int, batch_size: int, *, seed: int, device: torch.device
    ) -> None:
        self._task = task
        self._split: Split = split
        self._batch_size = batch_size
        self.num_examples = num_examples
        self._seed = seed
        self._device = device
        self._is_small = num_examples * num_values(task.input_shape) * 4 <= _MOST_KEPT_BYTES
        self._kept: Pairs | None = None

    def release(self) -> None:
        self._kept = None

    def batches(self, *, keep: bool = True) -> Iterable[tuple[Tree, Tree]]:
        if self._kept is not None:
            return self._kept
        size, num, seed = self._batch_size, self.num_examples, self._seed
        given = (
            self._task.calibration_batches(size, num_examples=num, seed=seed)
            if self._split == "train"
            else self._task.batches(self._split, size, num_examples=num, seed=seed)
        )
        batches = (
            (to_device(inputs, self._device), to_device(targets, self._device)) for inputs, targets in given
        )
        if not (keep and self._is_small):
            return batches
        self._kept = list(batches)
        return self._kept
