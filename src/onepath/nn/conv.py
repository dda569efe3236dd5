"""A convolution whose widths and kernel may be choices."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.errors import BindingError, shown
from onepath.nn.selection import Selection, active_size, check_channels, check_sizes
from onepath.space import Choice, Size
from onepath.space.choice import size_choices, size_max

Pair = int | tuple[int, int]
Padding = Pair | Literal["same", "valid"]


class ElasticConv2d(nn.Conv2d):
    """A 2-D convolution that holds its largest weight and uses the slice of the active sizes.

    The active weight is the leading `out_channels` rows, the leading `in_channels` columns and the centre of
    the kernel; the output is that of an `nn.Conv2d` with it. With whole numbers for all sizes it is an ordinary
    `nn.Conv2d`.

    Args:
        in_channels, out_channels: a whole number, a `Choice` or an expression of choices.
        kernel_size: the same, or a pair of them for height and width. The values of a side are all odd or all even, so
            that centres line up.
        stride, dilation, bias, padding_mode: as in `nn.Conv2d`.
        padding: as in `nn.Conv2d`, of the LARGEST kernel; a smaller kernel is padded less, so that the output keeps
            its size. "same" pads every kernel by what keeps the input's size.
        groups: 1, or the same size as `in_channels` (depthwise), or a whole number where both widths are
            fixed.

    Shapes: input (B, in_channels, H, W), output (B, out_channels, H', W').

    Raises:
        BindingError: sizes that are not whole numbers, mixed kernel parities, too little padding, elastic widths under
            any other grouping, or anything else that `nn.Conv2d` does not take.
        ShapeError: at run time, an input with another number of channels than the active one.

    Source: channel slicing as in SPOS, section 3.3 (arXiv 1904.00420); kernel centres as in Once-for-All
    (arXiv 1908.09791) without its learned kernel transformation.
    """

    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size | tuple[Size, Size],
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: Size = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
    ) -> None:
        height, width = kernel = _two("kernel_size", kernel_size)
        check_sizes(
            "ElasticConv2d",
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_height=height,
            kernel_width=width,
            groups=groups,
        )
        strides, dilations = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
        if not isinstance(padding, str):
            padding = _pair("padding", padding, 0)
        self.is_depthwise = groups is in_channels or (groups == in_channels and in_channels != 1)
        try:
            super().__init__(
                size_max(in_channels),
                size_max(out_channels),
                (size_max(height), size_max(width)),
                stride=strides,
                padding=padding,
                dilation=dilations,
                groups=size_max(groups),
                bias=bias,
                padding_mode=padding_mode,
            )
        except (ValueError, TypeError, RuntimeError) as error:
            raise BindingError(
                "ElasticConv2d: sizes and options must be those of an nn.Conv2d, which says: "
                f"{shown(str(error), 160)}. Change them."
            ) from error
        self.path = ""
        self.selection = Selection()
        self.sizes: tuple[Size, Size, Size, Size] = (in_channels, out_channels, height, width)
        self.is_elastic = bool(self.own_choices())
        is_wide = bool(size_choices(in_channels) or size_choices(out_channels) or size_choices(groups))
        if not self.is_depthwise and self.groups > 1 and is_wide:
            raise BindingError(
                "ElasticConv2d: elastic widths need groups=1 or the groups of a depthwise convolution (the object "
                f"given as in_channels), but got groups={self.groups}. Use one of these."
            )
        for side, name in enumerate(("height", "width")):
            self._check_kernel(name, kernel[side], side)

    def _check_kernel(self, name: str, kernel: Size, side: int) -> None:
        """Reject kernels of a side whose centres do not line up, or that have too little padding."""
        if isinstance(kernel, int):
            return
        sizes = sorted(
            {int(size) for size in (kernel.options if isinstance(kernel, Choice) else kernel.values())}
        )
        most = (sizes[-1] - sizes[0]) // 2 * self.dilation[side]
        padding = 0 if self.padding == "valid" else self.padding
        if len({size % 2 for size in sizes}) > 1 or not (padding == "same" or self._padding[side] >= most):
            raise BindingError(
                "ElasticConv2d: kernels must be all odd or all even, and padding at least "
                f"dilation * (largest - smallest) // 2, but got kernels {sizes} of {name} and padding={padding}. "
                f"Pad the largest kernel by {sizes[-1] // 2 * self.dilation[side]} to keep the size."
            )

    @property
    def _padding(self) -> tuple[int, int]:
        """Of the largest kernel, where it is not "same"."""
        return (0, 0) if isinstance(self.padding, str) else cast("tuple[int, int]", self.padding)

    def own_choices(self) -> tuple[Choice, ...]:
        """The choices of the widths and of the kernel."""
        return tuple(dict.fromkeys(choice for size in self.sizes for choice in size_choices(size)))

    def _active_weight(self) -> tuple[Tensor, Tensor | None, str | tuple[int, int], int]:
        """Weight (O, I/groups, KH, KW) and bias (O,) as views, padding and groups, under the active options."""
        num_in, num_out, *kernel = (active_size(size, self.selection) for size in self.sizes)
        groups = num_in if self.is_depthwise else self.groups
        top, left = ((most - side) // 2 for most, side in zip(self.kernel_size, kernel, strict=True))
        weight = self.weight[:num_out, : num_in // groups, top : top + kernel[0], left : left + kernel[1]]
        bias = None if self.bias is None else self.bias[:num_out]
        if isinstance(self.padding, str):
            return weight, bias, self.padding, groups
        vertical, horizontal = self._padding
        return (
            weight,
            bias,
            (vertical - top * self.dilation[0], horizontal - left * self.dilation[1]),
            groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in_channels, H, W) with the active slice."""
        if not self.is_elastic:
            return super().forward(x)
        weight, bias, padding, groups = self._active_weight()
        check_channels("ElasticConv2d", self.path, weight.shape[1] * groups, x.shape[-3])
        if self.padding_mode != "zeros" and padding != "valid":
            x = functional.pad(x, self._around(padding, weight), mode=self.padding_mode)
            padding = "valid"
        return functional.conv2d(x, weight, bias, self.stride, padding, self.dilation, groups)

    def _around(self, padding: str | tuple[int, int], weight: Tensor) -> list[int]:
        """Pixels to the left, to the right, above and below, as `functional.pad` takes them."""
        if not isinstance(padding, str):
            return [padding[1], padding[1], padding[0], padding[0]]
        totals = [d * (side - 1) for d, side in zip(self.dilation, weight.shape[2:], strict=True)]
        return [part for total in reversed(totals) for part in (total // 2, total - total // 2)]

    def extracted(self, *, inherit: bool) -> nn.Conv2d:
        """A plain `nn.Conv2d` of the active sizes with a copy of the active weights, inherited or not."""
        del inherit
        weight, bias, padding, groups = self._active_weight()
        options: dict[str, Any] = {"stride": self.stride, "padding": padding, "dilation": self.dilation}
        conv = nn.Conv2d(
            weight.shape[1] * groups,
            weight.shape[0],
            (weight.shape[2], weight.shape[3]),
            groups=groups,
            bias=bias is not None,
            padding_mode=self.padding_mode,
            device="meta",
            **options,
        )
        with torch.no_grad():
            conv.weight = nn.Parameter(weight.clone().contiguous(), requires_grad=self.weight.requires_grad)
            if bias is not None:
                conv.bias = nn.Parameter(bias.clone(), requires_grad=bias.requires_grad)
        return conv


def _two(name: str, value: Any) -> tuple[Any, Any]:
    """A number for both sides, or one for each."""
    if not isinstance(value, (tuple, list)):
        return value, value
    if len(value) != 2:
        raise BindingError(
            f"ElasticConv2d: {name} must be one value or a pair for height and width, but got {shown(value)}. Give two."
        )
    return value[0], value[1]


def _pair(name: str, value: Any, least: int) -> tuple[int, int]:
    """A pair of whole numbers that are no choices."""
    pair = _two(name, value)
    if any(not isinstance(side, int) or isinstance(side, bool) or side < least for side in pair):
        words = ', "same" or "valid"' if name == "padding" else ""
        raise BindingError(
            f"ElasticConv2d: {name} must be a whole number of {least} or more, a pair of them{words}, but got "
            f"{shown(value)}. A Choice can be a width or a kernel size; for others use a ChoiceBlock."
        )
    return pair
