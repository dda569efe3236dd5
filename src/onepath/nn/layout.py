"""The layout of weights in memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def lay_channels_last(module: nn.Module) -> list[tuple[Tensor, tuple[int, ...]]]:
    """Change all 4-dimensional parameters and buffers to the memory format `torch.channels_last`, in place.

    Unlike `module.to(memory_format=torch.channels_last)`, it does not fail for weights of five dimensions, as in an
    `nn.Conv3d`; these are left alone.

    Returns:
        The parameters and buffers that were contiguous and have other strides now, each with its strides from before;
        see `restore_layout`.
    """
    changed = []
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            was_contiguous, strides = tensor.is_contiguous(), tensor.stride()
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
            if was_contiguous and tensor.stride() != strides:
                changed.append((tensor, strides))
    return changed


@torch.no_grad()
def restore_layout(changed: Iterable[tuple[Tensor, tuple[int, ...]]]) -> None:
    """Give tensors the strides that they had, in place.

    Args:
        changed: what `lay_channels_last` returned.
    """
    for tensor, strides in changed:
        restored = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)
        tensor.data = restored.copy_(tensor)
