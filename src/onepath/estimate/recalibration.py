"""Batch normalisation's statistics for weights that were trained under other paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onepath.nn.carried import carrying
from onepath.nn.layout import lay_channels_last
from onepath.train.evaluation import autocast, evaluation_mode
from onepath.train.recipe import Precision
from onepath.tree import Tree, call, is_image_shape, num_examples, num_values, to_device

if TYPE_CHECKING:
    from onepath.data import Task

_CALIBRATION_PIXELS = 2**18  # of one batch


class _Pooled:
    """Mean and sum of squared deviations per channel over all batches seen, for one layer."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.count = 0
        self.mean = torch.zeros(layer.num_features, dtype=torch.float64)
        self.deviation = torch.zeros(layer.num_features, dtype=torch.float64)

    def take_call(self, _: nn.Module, arguments: tuple[Any, ...], __: Any) -> None:
        """Pool the statistics of one call, which momentum 1 has left in the layer's buffers (Chan et al., 1979).

        A layer may be called several times in a batch, as that of a recurrent cell is.
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

    Each batch is normalised by its own statistics, everything else (dropout) is in eval mode. The batches'
    statistics are pooled, weighted by their sizes and with the spread between batches, so that for a layer
    whose input does not depend on other normalisations `running_mean` and `running_var` are the mean and the
    unbiased variance of all the data, however it was cut into batches. Weights do not change; the modes of
    all modules are restored.

    Args:
        model: of plain torch layers; layers without running statistics are left alone, and so are layers that
            the forward pass does not reach.
        batches: inputs, on the model's device. No batch at all leaves the model as it is.
        forward: runs the model on a batch, by default `model` itself; for autocast.

    Source: SPOS, arXiv 1904.00420, section 3.4. Differs from it: cumulative instead of exponentially weighted
    averages (which after n batches still hold 0.9^n of the initial value), the pooled variance, and dropout
    is off.
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
    """Recalibrate on the training images that the task holds to be right for it, in place.

    See `Task.calibration_batches`. A trained network's running statistics are those of the last updates only.

    Args:
        model: moved to `device`, in channels_last where the inputs are images.
        task: its "train" split is read.
        num_images: at most this many of them, a fixed subset.
        device: where to compute.
        precision: of the forward pass.
        seed: of the subset.

    """
    place = torch.device(device)
    model.to(place)
    if is_image_shape(task.input_shape):
        lay_channels_last(model)
    num = min(num_images, task.num_examples("train"))
    size = min(num, max(2, _CALIBRATION_PIXELS // _pixels(task.input_shape)))
    batches = task.calibration_batches(size, num_examples=num, seed=seed)
    with autocast(place, precision):
        # A normalisation over one value per channel, as one image has on a 1x1 map, is an error.
        recalibrate_batchnorm(
            model, (to_device(inputs, place) for inputs, _ in batches if num_examples(inputs) > 1)
        )


def _pixels(shape: tuple[int, ...]) -> int:
    """Places of an image, or numbers of another example."""
    return max(1, math.prod(shape[1:]) if is_image_shape(shape) else num_values(shape))
