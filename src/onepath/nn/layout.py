"""The layout of weights in memory."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def lay_channels_last(module: nn.Module) -> None:
    """Change all 4-dimensional parameters and buffers to the memory format `torch.channels_last`, in place.

    Unlike `module.to(memory_format=torch.channels_last)`, it does not fail for weights of five dimensions, as in an
    `nn.Conv3d`; these are left alone.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
