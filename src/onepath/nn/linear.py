"""A linear layer whose widths may be choices."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.nn.selection import Selection, active_size, check_channels, check_sizes
from onepath.space import Choice, Size
from onepath.space.choice import size_choices, size_max


class ElasticLinear(nn.Linear):
    """A linear layer that holds its largest weight and uses the leading rows and columns of the active sizes.

    Args:
        in_features, out_features: a whole number, a `Choice` or an expression of choices.
        bias: as in `nn.Linear`.

    Shapes: input (..., in_features), output (..., out_features).

    Raises:
        BindingError: a size that is not a whole number of 1 or more.
        ShapeError: at run time, an input with another number of features than the active one.
    """

    def __init__(self, in_features: Size, out_features: Size, bias: bool = True) -> None:
        check_sizes("ElasticLinear", in_features=in_features, out_features=out_features)
        super().__init__(size_max(in_features), size_max(out_features), bias=bias)
        self.path = ""
        self.selection = Selection()
        self.sizes: tuple[Size, Size] = (in_features, out_features)
        self.is_elastic = bool(self.own_choices())

    def own_choices(self) -> tuple[Choice, ...]:
        """The choices of the widths."""
        return tuple(dict.fromkeys(choice for size in self.sizes for choice in size_choices(size)))

    def _active_weight(self) -> tuple[Tensor, Tensor | None]:
        """Weight (O, I) and bias (O,) as views under the active options."""
        num_in, num_out = (active_size(size, self.selection) for size in self.sizes)
        return self.weight[:num_out, :num_in], None if self.bias is None else self.bias[:num_out]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the active slice to (..., in_features)."""
        if not self.is_elastic:
            return super().forward(x)
        weight, bias = self._active_weight()
        check_channels("ElasticLinear", self.path, weight.shape[1], x.shape[-1])
        return functional.linear(x, weight, bias)

    def extracted(self, *, inherit: bool) -> nn.Linear:
        """A plain `nn.Linear` of the active sizes with a copy of the active weights, inherited or not."""
        del inherit
        weight, bias = self._active_weight()
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        with torch.no_grad():
            linear.weight = nn.Parameter(weight.clone(), requires_grad=self.weight.requires_grad)
            if bias is not None:
                linear.bias = nn.Parameter(bias.clone(), requires_grad=bias.requires_grad)
        return linear
