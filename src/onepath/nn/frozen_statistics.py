"""Run passes in training mode without changing the running statistics of normalisation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@contextlib.contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep batch normalisation in training mode from updating its running statistics inside the context.

    It still normalises by the batch. Modules in evaluation mode still normalise by their running statistics.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.training]
    kept = [{name: layer._buffers.get(name) for name in _STATISTICS} for layer in layers]
    for layer in layers:
        layer._buffers.update(dict.fromkeys(_STATISTICS))
    try:
        yield
    finally:
        for layer, buffers in zip(layers, kept, strict=True):
            layer._buffers.update(buffers)
