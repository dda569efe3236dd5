"""A convolution whose widths and kernel may be choices."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.errors import BindingError
from onepath.nn.selection import Selection, active_size, check_channels, check_sizes
from onepath.space import Choice, Size
from onepath.space.choice import size_choices, size_max


class ElasticConv2d(nn.Conv2d):
    """A 2-D convolution that holds its largest weight and uses the slice of the active sizes.

    The active weight is the leading `out_channels` rows, the leading `in_channels` columns and the centre of
    the kernel. With whole numbers for all sizes it is an ordinary `nn.Conv2d`.

    Args:
        in_channels, out_channels, kernel_size: a whole number, a `Choice` or an expression of choices.
            Kernels are square and all odd or all even, so that centres line up.
        stride, dilation, bias: as in `nn.Conv2d`.
        padding: of the LARGEST kernel; a smaller kernel is padded less, so that the output keeps its size.
        groups: 1, or the same size as `in_channels` (depthwise), or a whole number where both widths are
            fixed.

    Shapes: input (B, in_channels, H, W), output (B, out_channels, H', W').

    Raises:
        BindingError: sizes that are not whole numbers, mixed kernel parities, too little padding, or elastic
            widths under any other grouping.
        ShapeError: at run time, an input with another number of channels than the active one.

    Source: channel slicing as in SPOS, section 3.3 (arXiv 1904.00420); kernel centres as in Once-for-All
    (arXiv 1908.09791) without its learned kernel transformation.
    """

    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: Size = 1,
        bias: bool = True,
    ) -> None:
        check_sizes(
            "ElasticConv2d", in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size
        )
        self.is_depthwise = groups is in_channels or (groups == in_channels and in_channels != 1)
        largest_kernel = size_max(kernel_size)
        super().__init__(
            size_max(in_channels),
            size_max(out_channels),
            largest_kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=size_max(groups),
            bias=bias,
        )
        self.path = ""
        self.selection = Selection()
        self.sizes: tuple[Size, Size, Size] = (in_channels, out_channels, kernel_size)
        self.is_elastic = bool(self.own_choices())
        if (
            not self.is_depthwise
            and self.groups > 1
            and (size_choices(in_channels) or size_choices(out_channels))
        ):
            raise BindingError(
                "ElasticConv2d: elastic widths need groups=1 or the groups of a depthwise convolution (the object "
                f"given as in_channels), but got groups={self.groups}. Use one of these."
            )
        if isinstance(kernel_size, Choice):
            kernels = [int(option) for option in kernel_size.options]
            smallest_padding = padding - (largest_kernel - min(kernels)) // 2 * dilation
            if len({kernel % 2 for kernel in kernels}) > 1 or smallest_padding < 0:
                raise BindingError(
                    "ElasticConv2d: kernels must be all odd or all even, and padding at least "
                    f"dilation * (largest - smallest) // 2, but got kernels {kernels} and padding={padding}. "
                    f"Pad the largest kernel by {largest_kernel // 2 * dilation} to keep the size."
                )

    def own_choices(self) -> tuple[Choice, ...]:
        """The choices of the widths and of the kernel."""
        return tuple(dict.fromkeys(choice for size in self.sizes for choice in size_choices(size)))

    def _active_weight(self) -> tuple[Tensor, Tensor | None, int, int]:
        """Weight (O, I/groups, K, K) and bias (O,) as views, padding and groups, under the active options."""
        num_in, num_out, kernel = (active_size(size, self.selection) for size in self.sizes)
        groups = num_in if self.is_depthwise else self.groups
        margin = (self.kernel_size[0] - kernel) // 2
        weight = self.weight[:num_out, : num_in // groups, margin : margin + kernel, margin : margin + kernel]
        bias = None if self.bias is None else self.bias[:num_out]
        return weight, bias, int(self.padding[0]) - margin * self.dilation[0], groups

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in_channels, H, W) with the active slice."""
        if not self.is_elastic:
            return super().forward(x)
        weight, bias, padding, groups = self._active_weight()
        check_channels("ElasticConv2d", self.path, weight.shape[1] * groups, x.shape[1])
        return functional.conv2d(x, weight, bias, self.stride, padding, self.dilation, groups)

    def extracted(self, *, inherit: bool) -> nn.Conv2d:
        """A plain `nn.Conv2d` of the active sizes with a copy of the active weights, inherited or not."""
        del inherit
        weight, bias, padding, groups = self._active_weight()
        conv = nn.Conv2d(
            weight.shape[1] * groups,
            weight.shape[0],
            weight.shape[2],
            stride=self.stride,  # type: ignore[arg-type]
            padding=padding,
            dilation=self.dilation,  # type: ignore[arg-type]
            groups=groups,
            bias=bias is not None,
            device="meta",
        )
        with torch.no_grad():
            conv.weight = nn.Parameter(weight.clone().contiguous(), requires_grad=self.weight.requires_grad)
            if bias is not None:
                conv.bias = nn.Parameter(bias.clone(), requires_grad=bias.requires_grad)
        return conv
