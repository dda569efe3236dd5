"""The base of all elastic layers: sizes that may be choices, and the conversion to plain layers."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn

from onepath.nn.selection import Selection, active_size, check_channels
from onepath.space import Choice, Size
from onepath.space.choice import size_choices

Plain = TypeVar("Plain", bound=nn.Module)


class ElasticLayer(nn.Module):
    """A torch layer that holds its largest tensors and uses the leading slices of the active sizes.

    A subclass has the torch layer as its second base and implements `own_sizes`, `forward` and `extracted`. If all
    sizes are whole numbers, it behaves as that torch layer.

    Attributes:
        path: path of the layer in its supernet; "" before it is bound.
        selection: the active options of the supernet; before the layer is bound it is empty, and the largest sizes are
            used.
        is_elastic: whether any size depends on a choice.
    """

    path: str
    selection: Selection
    is_elastic: bool

    @abstractmethod
    def own_sizes(self) -> tuple[Size, ...]:
        """Return all sizes, inputs before outputs; layers with equal sizes may share their parameters."""

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the distinct choices of all sizes, in the order of the sizes."""
        return tuple(dict.fromkeys(choice for size in self.own_sizes() for choice in size_choices(size)))

    def _begin(self) -> None:
        """Set up the attributes of a layer that no supernet has bound yet; called at the end of `__init__`.

        Raises:
            BindingError: a choice has the role of an operation.
        """
        self.path = ""
        self.selection = Selection()
        for choice in self.own_choices():
            choice.take_role("size")
        self.is_elastic = bool(self.own_choices())

    def _active(self, size: Size) -> int:
        return active_size(size, self.selection)

    def _check_width(self, expected: int, came: int) -> None:
        """Raise ShapeError, which names the layer, unless the input has as many channels as are active."""
        check_channels(type(self).__name__, self.path, expected, came)


def leading(tensor: Tensor | None, *sizes: int) -> Tensor | None:
    """Return a view of the first `sizes` entries along the leading dimensions; None for None."""
    return None if tensor is None else tensor[tuple(slice(size) for size in sizes)]


@torch.no_grad()
def filled(plain: Plain, layer: nn.Module, **tensors: Tensor | None) -> Plain:
    """Fill a plain layer with copies of the active slices of an elastic layer, and return the plain layer.

    Args:
        plain: layer of the active sizes, on any device; changed in place.
        layer: the elastic layer. A parameter that it does not train (`requires_grad` is False) is not trained in
            `plain` either.
        tensors: name of a parameter or buffer -> its active slice; None for a tensor that the layer does not have.
    """
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        copied = tensor.detach().clone(memory_format=torch.contiguous_format)
        original = layer._parameters.get(name)
        if original is None:
            plain._buffers[name] = copied
        else:
            plain._parameters[name] = nn.Parameter(copied, requires_grad=original.requires_grad)
    return plain
