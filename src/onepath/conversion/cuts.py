"""What was cut out of a model, layer by layer."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn


class Cut(NamedTuple):
    """A layer of a model and what is left of it.

    Attributes:
        path: of the module.
        kind: name of its class.
        width: outputs; or heads, of a module that has some.
        kept_width: of the network that was cut out; None where the layer is left out.
        kernel, kept_kernel: sides of a convolution's kernel; empty for other layers, and where the layer is left out.
    """

    path: str
    kind: str
    width: int
    kept_width: int | None
    kernel: tuple[int, ...] = ()
    kept_kernel: tuple[int, ...] = ()


def cuts(model: nn.Module, found: nn.Module) -> list[Cut]:
    """Every layer with a weight matrix or with heads, in the order of the model.

    Args:
        model: whole.
        found: cut out of it, with the same paths; where a layer is left out there is none, or one without a weight.
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
    """Outputs of a layer with a weight of two dimensions or more; None for others."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() < 2:
        return None
    for name in ("out_channels", "out_features", "embedding_dim"):
        if isinstance(found := getattr(module, name, None), int):
            return found
    return int(weight.shape[0])


def _kernel(module: nn.Module) -> tuple[int, ...]:
    """Sides of a kernel of more than one place."""
    sides = getattr(module, "kernel_size", ())
    weight = getattr(module, "weight", None)
    if not isinstance(sides, tuple) or not isinstance(weight, Tensor) or math.prod(sides) == 1:
        return ()
    return tuple(int(side) for side in sides)
