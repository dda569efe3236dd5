"""Convolutions over sequences (1-D) and images (2-D) whose widths and kernel sizes may be choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, cast

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from onepath.errors import BindingError, shown
from onepath.nn.elastic import ElasticLayer, filled, leading
from onepath.nn.selection import check_sizes
from onepath.space import Choice, Size
from onepath.space.choice import size_choices, size_max

Number = int | tuple[int, ...]
Padding = Number | Literal["same", "valid"]


class _ElasticConv(ElasticLayer, _ConvNd):
    """The common code of the elastic convolutions, for any number of kernel sides."""

    plain: ClassVar[type[nn.Conv1d | nn.Conv2d]]
    convolve: ClassVar[Callable[..., Tensor]]
    sides: ClassVar[tuple[str, ...]]
    one_each: ClassVar[str]
    """The words for "one value for each side" in messages."""

    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size | tuple[Size, ...],
        stride: Number = 1,
        padding: Padding = 0,
        dilation: Number = 1,
        groups: Size = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
    ) -> None:
        name = type(self).__name__
        kernel = self._for_each_side("kernel_size", kernel_size)
        kernels = {f"kernel_{side}": size for side, size in zip(self.sides, kernel, strict=True)}
        check_sizes(name, in_channels=in_channels, out_channels=out_channels, **kernels, groups=groups)
        strides, dilations = self._whole("stride", stride, 1), self._whole("dilation", dilation, 1)
        if not isinstance(padding, str):
            padding = self._whole("padding", padding, 0)
        self.is_depthwise = groups is in_channels or (groups == in_channels and in_channels != 1)
        try:
            cast("Any", super()).__init__(
                size_max(in_channels),
                size_max(out_channels),
                tuple(map(size_max, kernel)),
                stride=strides,
                padding=padding,
                dilation=dilations,
                groups=size_max(groups),
                bias=bias,
                padding_mode=padding_mode,
            )
        except (ValueError, TypeError, RuntimeError) as error:
            raise BindingError(
                f"{name}: sizes and options must be those of an nn.{self.plain.__name__}, which says: "
                f"{shown(str(error), 160)}; change them"
            ) from error
        self.sizes: tuple[Size, ...] = (in_channels, out_channels, *kernel)
        self._begin()
        is_wide = bool(size_choices(in_channels) or size_choices(out_channels) or size_choices(groups))
        if not self.is_depthwise and self.groups > 1 and is_wide:
            raise BindingError(
                f"{name}: elastic widths need groups=1 or the groups of a depthwise convolution (the object "
                f"given as in_channels), but got groups={self.groups}; use one of these"
            )
        for side, size in enumerate(kernel):
            self._check_kernel(side, size)

    def _for_each_side(self, name: str, value: Any) -> tuple[Any, ...]:
        """Return one value per side of the kernel; a single value serves all sides."""
        if not isinstance(value, (tuple, list)):
            return (value,) * len(self.sides)
        if len(value) != len(self.sides):
            raise BindingError(
                f"{type(self).__name__}: {name} must be one value or {self.one_each} for {' and '.join(self.sides)}, "
                f"but got {shown(value)}; give {len(self.sides)}"
            )
        return tuple(value)

    def _whole(self, name: str, value: Any, least: int) -> tuple[int, ...]:
        """Return one whole number per side; raise for a choice or a number below `least`."""
        found = self._for_each_side(name, value)
        if any(not isinstance(side, int) or isinstance(side, bool) or side < least for side in found):
            words = ', "same" or "valid"' if name == "padding" else ""
            raise BindingError(
                f"{type(self).__name__}: {name} must be a whole number of {least} or more, {self.one_each} of "
                f"them{words}, but got {shown(value)}; a Choice can be a width or a kernel size; for others use a "
                "ChoiceBlock"
            )
        return found

    def _check_kernel(self, side: int, kernel: Size) -> None:
        """Raise if the kernels of a side do not share a centre, or have too little padding."""
        if isinstance(kernel, int):
            return
        values = kernel.options if isinstance(kernel, Choice) else kernel.values()
        sizes = sorted({int(size) for size in values})
        most = (sizes[-1] - sizes[0]) // 2 * self.dilation[side]
        padding = 0 if self.padding == "valid" else self.padding
        is_padded = padding == "same" or (isinstance(padding, tuple) and padding[side] >= most)
        if len({size % 2 for size in sizes}) > 1 or not (is_padded or most == 0):
            raise BindingError(
                f"{type(self).__name__}: kernels must be all odd or all even, and padding at least "
                f"dilation * (largest - smallest) // 2, but got kernels {sizes} of {self.sides[side]} and "
                f"padding={padding}; pad the largest kernel by {sizes[-1] // 2 * self.dilation[side]} to keep the size"
            )

    def own_sizes(self) -> tuple[Size, ...]:
        """Return the sizes: input channels, output channels and each side of the kernel."""
        return self.sizes

    def _active_weight(self) -> tuple[Tensor, Tensor | None, str | tuple[int, ...], int]:
        """Return the active weight (O, I/groups, K...) and bias (O,) as views, the padding and the number of groups."""
        num_in, num_out, *kernel = map(self._active, self.sizes)
        groups = num_in if self.is_depthwise else self.groups
        margins = [(most - size) // 2 for most, size in zip(self.kernel_size, kernel, strict=True)]
        centre = (slice(margin, margin + size) for margin, size in zip(margins, kernel, strict=True))
        weight = self.weight[(slice(num_out), slice(num_in // groups), *centre)]
        padding: str | tuple[int, ...] = self.padding
        if not isinstance(padding, str):
            padding = tuple(p - m * d for p, m, d in zip(padding, margins, self.dilation, strict=True))
        return weight, leading(self.bias, num_out), padding, groups

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `x` (B, in_channels, ...) with the active slice of the weight.

        Raises:
            ShapeError: `x` has another number of channels than the active one.
        """
        if not self.is_elastic:
            return cast("Tensor", super().forward(x))
        weight, bias, padding, groups = self._active_weight()
        self._check_width(weight.shape[1] * groups, x.shape[-1 - len(self.sides)])
        if self.padding_mode != "zeros" and padding != "valid":
            x = functional.pad(x, self._around(padding, weight), mode=self.padding_mode)
            padding = "valid"
        return self.convolve(x, weight, bias, self.stride, padding, self.dilation, groups)

    def _around(self, padding: str | tuple[int, ...], weight: Tensor) -> list[int]:
        """Return the padding before and after each side, the last side first, as `functional.pad` takes it."""
        if not isinstance(padding, str):
            return [size for size in reversed(padding) for _ in range(2)]
        totals = [d * (side - 1) for d, side in zip(self.dilation, weight.shape[2:], strict=True)]
        return [part for total in reversed(totals) for part in (total // 2, total - total // 2)]

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return the plain convolution of the active sizes with a copy of the active weights, for either `inherit`."""
        del inherit
        weight, bias, padding, groups = self._active_weight()
        num_out, per_group, *kernel = weight.shape
        options: dict[str, Any] = {"stride": self.stride, "padding": padding, "dilation": self.dilation}
        plain = self.plain(
            per_group * groups,
            num_out,
            tuple(kernel),  # type: ignore[arg-type]
            groups=groups,
            bias=bias is not None,
            padding_mode=cast("Any", self.padding_mode),
            device="meta",
            **options,
        )
        return filled(plain, self, weight=weight, bias=bias)


class ElasticConv2d(_ElasticConv, nn.Conv2d):
    """A 2-D convolution that holds its largest weight and uses the slice of the active sizes.

    The active weight is the leading `out_channels` rows, the leading `in_channels` columns and the centre of
    the kernel; the output is that of an `nn.Conv2d` with it. With whole numbers for all sizes it is an ordinary
    `nn.Conv2d`.

    Args:
        in_channels, out_channels: each a whole number, a `Choice` or an expression of choices.
        kernel_size: a whole number, a `Choice` or an expression of choices, or a pair of these for height and width.
            The values of a side are all odd or all even, so that the kernels share a centre.
        stride, dilation, bias, padding_mode: as in `nn.Conv2d`.
        padding: as in `nn.Conv2d`, for the LARGEST kernel; a smaller kernel is padded less, so that the output keeps
            its size. "same" pads every kernel so that the output has the input's size.
        groups: 1; the same object or number as `in_channels` (depthwise); or a whole number if both widths are fixed.

    Shapes: input (B, in_channels, H, W), output (B, out_channels, H', W').

    Raises:
        BindingError: a size is not a whole number of 1 or more; a side has odd and even kernels; the padding is too
            small; elastic widths have another grouping; or `nn.Conv2d` does not take another argument.
        ShapeError: at run time, an input with another number of channels than the active one.

    Example:
        A width that the next layer shares, and a kernel of 3 or 5 that keeps the size of the image::

            width = op.Choice("width", [16, 32])
            stem = op.ElasticConv2d(3, width, op.Choice("kernel", [3, 5]), padding=2)

    Source: channel slicing as in SPOS, section 3.3 (arXiv 1904.00420); kernel centres as in Once-for-All
    (arXiv 1908.09791) without its learned kernel transformation.
    """

    plain = nn.Conv2d
    convolve = staticmethod(functional.conv2d)
    sides = ("height", "width")
    one_each = "a pair"


class ElasticConv1d(_ElasticConv, nn.Conv1d):
    """A 1-D convolution that holds its largest weight and uses the slice of the active sizes; see `ElasticConv2d`.

    Args:
        in_channels, out_channels, kernel_size: each a whole number, a `Choice` or an expression of choices. The kernels
            are all odd or all even, so that they share a centre.
        stride, dilation, bias, padding_mode: as in `nn.Conv1d`.
        padding: as in `nn.Conv1d`, for the LARGEST kernel; a smaller kernel is padded less, so that the output keeps
            its length.
        groups: 1; the same object or number as `in_channels` (depthwise); or a whole number if both widths are fixed.

    Shapes: input (B, in_channels, T), output (B, out_channels, T').

    Raises:
        BindingError: as for `ElasticConv2d`.
        ShapeError: at run time, an input with another number of channels than the active one.

    Example:
        A depthwise convolution over a sequence, with a kernel of length 3 or 9::

            op.ElasticConv1d(width, width, op.Choice("kernel", [3, 9]), padding=4, groups=width)
    """

    plain = nn.Conv1d
    convolve = staticmethod(functional.conv1d)
    sides = ("length",)
    one_each = "a tuple of one"
