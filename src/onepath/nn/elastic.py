"""What all elastic layers share: sizes that may be choices, and plain twins with copies of the active slices."""

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
    """A layer of torch that holds its largest tensors and uses the leading slices of the active sizes.

    A subclass names the layer of torch it is as its second base and implements `own_sizes`, `forward` and
    `extracted`. With whole numbers for all sizes it is that layer of torch.

    Attributes:
        path: of the layer in its supernet; "" before it is bound.
        selection: what is active in the supernet; the largest sizes are before it is bound.
        is_elastic: whether any size is a choice.
    """

    path: str
    selection: Selection
    is_elastic: bool

    @abstractmethod
    def own_sizes(self) -> tuple[Size, ...]:
        """All sizes: inputs before outputs. Layers whose sizes are equal may share their parameters."""

    def own_choices(self) -> tuple[Choice, ...]:
        """The choices of all sizes, in the order of the sizes."""
        return tuple(dict.fromkeys(choice for size in self.own_sizes() for choice in size_choices(size)))

    def _begin(self) -> None:
        """Stand alone until a supernet binds the layer; called at the end of `__init__`.

        Raises:
            BindingError: a choice says that it decides an operation.
        """
        self.path = ""
        self.selection = Selection()
        for choice in self.own_choices():
            choice.take_role("size")
        self.is_elastic = bool(self.own_choices())

    def _active(self, size: Size) -> int:
        return active_size(size, self.selection)

    def _check_width(self, expected: int, came: int) -> None:
        """Raise ShapeError, which names the layer, unless an input has as many channels as are active."""
        check_channels(type(self).__name__, self.path, expected, came)


def leading(tensor: Tensor | None, *sizes: int) -> Tensor | None:
    """A view of the first entries of the leading dimensions; None of None."""
    return None if tensor is None else tensor[tuple(slice(size) for size in sizes)]


@torch.no_grad()
def filled(plain: Plain, layer: nn.Module, **tensors: Tensor | None) -> Plain:
    """Give a plain layer copies of the active slices of an elastic one.

    Args:
        plain: of the active sizes, on any device; changed.
        layer: the elastic layer. A parameter that it does not train is not trained in `plain`.
        tensors: name of a parameter or buffer -> its active slice; None where there is none.
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
