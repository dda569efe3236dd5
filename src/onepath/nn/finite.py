"""Find weights that are no finite numbers, before anything is computed with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from onepath.errors import ConfigurationError, shown


def check_finite(module: nn.Module) -> None:
    """Raise unless the trainable parameters of a network are finite, and its other tensors hold no NaN.

    An infinity in a buffer, or in a parameter that is not trained, may be meant, as in the mask of an attention.

    Args:
        module: the network; not changed. Tensors without values (on torch's meta device, or of a lazy layer before its
            first pass) are not looked at.

    Raises:
        ConfigurationError: a tensor is not finite; the message names the first one.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        found = not_finite(tensor)
        if found is not None and (found == "NaN" or tensor.requires_grad):
            raise ConfigurationError(
                f"the weights of a network must be finite, but {shown(name)} holds {found}; give a network with others"
            )


@torch.no_grad()
def not_finite(tensor: Tensor) -> str | None:
    """Return "NaN" or "infinity" if a tensor holds one, and None if it is finite or has no values."""
    if (
        isinstance(tensor, UninitializedBuffer | UninitializedParameter)
        or tensor.is_meta
        or tensor.is_quantized
    ):
        return None
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return None
    values = tensor.float() if tensor.element_size() == 1 else tensor  # torch looks at no numbers of 8 bits
    if torch.isfinite(values).all():
        return None
    return "NaN" if torch.isnan(values).any() else "infinity"
