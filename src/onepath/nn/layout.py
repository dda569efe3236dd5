"""How weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def lay_channels_last(module: nn.Module) -> None:
    """Let the weights that convolve images lie as images do, channels last; in place.

    As `module.to(memory_format=torch.channels_last)`, which fails where a weight has five dimensions, as that of a
    `nn.Conv3d`.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
