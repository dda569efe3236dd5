"""The side of a converted network's images, as a choice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from onepath.conversion.trace import output_tensors
from onepath.errors import ConfigurationError, shown
from onepath.nn.resolution import ElasticResolution
from onepath.space import Choice

NAME, INSIDE = "resolution", "model"
"""Names of the layer that resizes and of the network in the module that `behind_resolution` returns."""


def check_resolutions(model: nn.Module, inputs: Sequence[object], resolutions: Sequence[int]) -> None:
    """Raise unless a network computes outputs of the same shapes from images of every side.

    Args:
        model: the network, in evaluation mode.
        inputs: its positional arguments: a single batch of square images (B, C, H, H).
        resolutions: sides in pixels; the largest must be H.

    Raises:
        ConfigurationError: a side is no whole number above 0, the inputs are not as described, the largest side is
            not H, or the network fails or returns other shapes at one of the sides.
    """
    sides: Sequence[Any] = resolutions
    if any(isinstance(side, bool) or not isinstance(side, Integral) or int(side) < 1 for side in sides):
        raise ConfigurationError(
            f"resolutions must be whole numbers of 1 or more, but got {shown(list(resolutions))}; give sides in pixels"
        )
    images = inputs[0] if len(inputs) == 1 else None
    if not isinstance(images, Tensor) or images.dim() != 4 or images.shape[2] != images.shape[3]:
        raise ConfigurationError(
            "resolutions need a model of one batch of square images, but its example inputs are none; leave them out"
        )
    if max(resolutions) != images.shape[2]:
        raise ConfigurationError(
            f"the largest of the resolutions must be the side of the images, {images.shape[2]}, but it is "
            f"{max(resolutions)}; give {images.shape[2]} and smaller ones, so that the largest network is the model"
        )
    shapes: list[tuple[int, ...]] = []
    for side in sorted(resolutions, reverse=True):
        try:
            found = _shapes(model, nn.functional.interpolate(images, (side, side), mode="bilinear"))
        except Exception as error:
            raise ConfigurationError(
                f"a model must take images of every resolution, but at {side} pixels it raised "
                f"{shown(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, 120)}; "
                "leave that resolution out"
            ) from error
        shapes = shapes or found
        if found != shapes:
            raise ConfigurationError(
                "a model must return the same shapes at every resolution, but at "
                f"{side} pixels it returns {shown(found)}, not {shown(shapes)}; leave that resolution out"
            )


def behind_resolution(model: nn.Module, resolutions: Sequence[int]) -> nn.Module:
    """Return a network that first resizes its images to a side that a choice decides.

    Args:
        model: the network that gets the resized images; it is held, not copied.
        resolutions: sides in pixels.
    """
    first = ElasticResolution(Choice(NAME, sorted(map(int, resolutions)), role="resolution"))
    return nn.Sequential(OrderedDict([(NAME, first), (INSIDE, model)]))


@torch.no_grad()
def _shapes(model: nn.Module, images: Tensor) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in output_tensors(model(images))]
