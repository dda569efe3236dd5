"""Recalibration: computing the statistics of batch normalisation anew for one network on given data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onepath.nn.carried import carrying
from onepath.nn.layout import lay_channels_last, restore_layout
from onepath.train.evaluation import autocast, evaluation_mode
from onepath.train.recipe import Precision
from onepath.tree import Tree, call, is_image_shape, num_examples, num_values, to_device

if TYPE_CHECKING:
    from onepath.data import Task

_CALIBRATION_PIXELS = 2**18  # pixels of all images of one batch


class _Pooled:
    """The mean and the sum of squared deviations per channel over all batches that one layer has seen."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.count = 0
        self.mean = torch.zeros(layer.num_features, dtype=torch.float64)
        self.deviation = torch.zeros(layer.num_features, dtype=torch.float64)

    def take_call(self, _: nn.Module, arguments: tuple[Any, ...], __: Any) -> None:
        """Add the statistics of one call, which momentum 1 has left in the layer's buffers (Chan et al., 1979).

        A layer may be called several times in a batch, for example in a recurrent cell.
        """
        x: Tensor = arguments[0]
        assert self.layer.running_mean is not None
        assert self.layer.running_var is not None
        mean, var = (
            self.layer.running_mean.double(),
            self.layer.running_var.double(),
        )  # var is the unbiased one
        num = x.numel() // x.shape[1]
        total = self.count + num
        shift = mean - self.mean.to(mean.device)
        self.mean = self.mean.to(mean.device) + shift * (num / total)
        self.deviation = (
            self.deviation.to(mean.device) + var * (num - 1) + shift.square() * (self.count * num / total)
        )
        self.count = total

    def write(self) -> None:
        """Put the pooled statistics into the layer's buffers."""
        if self.count:
            self.layer.running_mean.copy_(self.mean)  # type: ignore[union-attr]
            self.layer.running_var.copy_(self.deviation / max(self.count - 1, 1))  # type: ignore[union-attr]


@torch.no_grad()
def recalibrate_batchnorm(
    model: nn.Module, batches: Iterable[Tree], *, forward: Callable[[Tree], Any] | None = None
) -> None:
    """Replace the running statistics of every batch normalisation by those of the given data, in place.

    Each batch is normalised by its own statistics; everything else (dropout) is in eval mode. The statistics of the
    batches are pooled: they are weighted by the sizes of the batches, and the variance includes the spread between
    batches. So for a layer whose input does not depend on other normalisations, `running_mean` and `running_var` become
    the mean and the unbiased variance of all the data, however the data is cut into batches. Weights do not change; the
    modes of all modules are restored.

    Args:
        model: network of plain torch layers. Layers without running statistics do not change, nor do layers that the
            forward pass does not reach.
        batches: inputs on the model's device. If there is no batch, the model does not change.
        forward: function that runs the model on a batch, for example under autocast; by default `model` itself.

    Source: SPOS, arXiv 1904.00420, section 3.4. Differs from it: averages are cumulative instead of exponentially
    weighted (which after n batches still hold 0.9^n of the initial value), the variance is pooled, and dropout is off.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not layers:
        return
    pooled = [_Pooled(layer) for layer in layers]
    momenta = [layer.momentum for layer in layers]
    hooks = [p.layer.register_forward_hook(p.take_call) for p in pooled]
    forward = (lambda inputs: call(model, inputs)) if forward is None else forward
    try:
        with evaluation_mode(model), carrying(model) as advance:
            for layer in layers:
                layer.training = True
                layer.momentum = 1.0
            try:
                for inputs in batches:
                    forward(inputs)
                    advance()
            finally:
                for layer in layers:
                    layer.training = False
    finally:
        for hook in hooks:
            hook.remove()
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for p in pooled:
        p.write()


def recalibrate_on_task(
    model: nn.Module,
    task: Task,
    num_images: int,
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "float32",
    seed: int = 0,
) -> None:
    """Recalibrate a model's batch normalisation on training images of a task, in place; see `recalibrate_batchnorm`.

    The task chooses the images and their augmentation, see `Task.calibration_batches`. Recalibration also serves
    trained networks, whose running statistics come from the last updates only.

    Args:
        model: network of plain torch layers; moved to `device`. Its memory layout, which is channels_last while images
            are read, is restored.
        task: data whose "train" split is read.
        num_images: number of training images, a fixed random subset; all if there are fewer.
        device: device to compute on.
        precision: number format of the forward pass.
        seed: seed of the subset.
    """
    place = torch.device(device)
    model.to(place)
    laid = lay_channels_last(model) if is_image_shape(task.input_shape) else []
    num = min(num_images, task.num_examples("train"))
    size = min(num, max(2, _CALIBRATION_PIXELS // _pixels(task.input_shape)))
    batches = task.calibration_batches(size, num_examples=num, seed=seed)
    try:
        with autocast(place, precision):
            # torch refuses to normalise one value per channel, which is what one image has on a 1x1 map.
            recalibrate_batchnorm(
                model, (to_device(inputs, place) for inputs, _ in batches if num_examples(inputs) > 1)
            )
    finally:
        restore_layout(laid)


def _pixels(shape: tuple[int, ...]) -> int:
    """Return the number of pixels of an image, or the number of values of an example that is not an image."""
    return max(1, math.prod(shape[1:]) if is_image_shape(shape) else num_values(shape))
