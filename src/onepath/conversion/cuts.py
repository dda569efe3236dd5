"""The layers of a model beside those of a smaller network that was cut out of it."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn


class Cut(NamedTuple):
    """A layer of a model, and what is left of it in the smaller network.

    Attributes:
        path: path of the layer in the model.
        kind: name of its class; "heads" for the attention heads of a module.
        width: number of its outputs, or of its heads, in the model.
        kept_width: the same number in the smaller network; None if the layer is left out.
        kernel: sides of a convolution's kernel in the model; empty for other layers and for kernels of one place.
        kept_kernel: sides of the kernel in the smaller network; also empty if the layer is left out.
    """

    path: str
    kind: str
    width: int
    kept_width: int | None
    kernel: tuple[int, ...] = ()
    kept_kernel: tuple[int, ...] = ()


def cuts(model: nn.Module, found: nn.Module) -> list[Cut]:
    """Return a row for every layer with a weight matrix or with attention heads, in the order of the model.

    Args:
        model: the whole model.
        found: the smaller network, with the same module paths; a layer that is left out is missing or has no weight.
    """
    others = dict(found.named_modules())
    rows = []
    for path, module in model.named_modules():
        other = others.get(path, nn.Identity())
        heads = getattr(module, "num_heads", None)
        if isinstance(heads, int):
            rows.append(Cut(path, "heads", heads, getattr(other, "num_heads", None)))
        width = _width(module)
        if width is not None:
            kernels = _kernel(module), _kernel(other)
            rows.append(Cut(path, type(module).__name__, width, _width(other), *kernels))
    return rows


def _width(module: nn.Module) -> int | None:
    """Number of outputs of a layer whose weight has two dimensions or more; None for others."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() < 2:
        return None
    for name in ("out_channels", "out_features", "embedding_dim"):
        if isinstance(found := getattr(module, name, None), int):
            return found
    return int(weight.shape[0])


def _kernel(module: nn.Module) -> tuple[int, ...]:
    """Sides of a convolution's kernel; empty for other layers and for kernels of one place."""
    sides = getattr(module, "kernel_size", ())
    weight = getattr(module, "weight", None)
    if not isinstance(sides, tuple) or not isinstance(weight, Tensor) or math.prod(sides) == 1:
        return ()
    return tuple(int(side) for side in sides)
