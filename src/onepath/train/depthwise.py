"""Faster gradients of depthwise convolutions on CPU.

oneDNN computes PyTorch's convolutions on CPU. It has a depthwise kernel for the gradient of the weight only if the
convolution's kernel is at most three columns wide and not higher than the image. Otherwise it computes a dense
gradient in blocks of 16 channels and throws most of it away, which is up to ten times as slow. This module
therefore computes the gradient of a wider kernel in groups of columns: the middle three at once, then two at a time on
each side, with the image shifted by the same distance. In bfloat16 oneDNN has no depthwise kernel for strided
gradients at all; this module computes them in float32. It has none for gradients of dilated convolutions either, which
are up to fifty times as slow. This module computes them without dilation, on the pixels that one kernel sees: every
d-th pixel of each row and column.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import platform
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.nn.conv import ElasticConv2d
from onepath.train.recipe import Precision

_IS_ONEDNN_ON_X86 = platform.machine() in ("x86_64", "AMD64") and bool(torch._C._has_mkldnn)

_backward = torch.ops.aten.convolution_backward


@contextlib.contextmanager
def fast_depthwise(model: nn.Module, precision: Precision = "float32") -> Iterator[None]:
    """Compute the gradients of `model`'s depthwise convolutions on CPU in the faster way inside the context.

    Values are equal up to rounding. Nothing changes for models with compiled parts, nor on processors other than x86.

    Args:
        model: inside, `_conv_forward` of its depthwise convolutions is replaced, or `convolve` of elastic ones; both
            are restored afterwards.
        precision: precision of the model's training; it decides which kernels gain.
    """
    smallest = 1 if precision == "bfloat16" else 5
    convolutions = [
        m
        for m in model.modules()
        if isinstance(m, nn.Conv2d)
        and _is_depthwise(m)
        and (m.kernel_size[1] >= smallest or m.dilation != (1, 1))
    ]
    if not _IS_ONEDNN_ON_X86 or any(m._compiled_call_impl is not None for m in model.modules()):
        convolutions = []
    names = [
        "convolve" if isinstance(m, ElasticConv2d) and m.is_elastic else "_conv_forward" for m in convolutions
    ]
    for convolution, name in zip(convolutions, names, strict=True):
        stride, dilation = convolution.stride[0], convolution.dilation[0]
        if name == "convolve":
            fast = functools.partial(_convolve, smallest=smallest if dilation == 1 else 1)
        else:
            fast = functools.partial(depthwise_conv2d, stride=stride, dilation=dilation)
        convolution.__dict__[name] = fast
    try:
        yield
    finally:
        for convolution, name in zip(convolutions, names, strict=True):
            del convolution.__dict__[name]


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    *,
    smallest: int,
) -> Tensor:
    """Compute a depthwise convolution, in the faster way if the kernel has at least `smallest` columns."""
    if weight.shape[3] < smallest:
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
    return depthwise_conv2d(x, weight, bias, stride=stride[0], dilation=dilation[0])


def _is_depthwise(convolution: nn.Conv2d) -> bool:
    height, width = convolution.kernel_size
    dilation = convolution.dilation[0]
    return (
        all(parameter.device.type == "cpu" for parameter in convolution.parameters())
        and convolution.groups == convolution.in_channels == convolution.out_channels > 1
        and height % 2 == width % 2 == 1
        and convolution.padding == (dilation * (height // 2), dilation * (width // 2))
        and convolution.padding_mode == "zeros"
        and convolution.dilation == (dilation, dilation)
        and convolution.stride in ((1, 1), (2, 2) if dilation == 1 else (dilation, dilation))
    )


def depthwise_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, dilation: int = 1
) -> Tensor:
    """Compute a depthwise convolution, padded by half its dilated kernel, with the faster gradients.

    The values and gradients equal those of `torch.nn.functional.conv2d` up to rounding.

    Args:
        x: input, (B, C, H, W).
        weight: kernels, (C, 1, KH, KW), with KH and KW odd.
        bias: (C,) or None.
        stride: stride of rows and columns: 1 or 2 without dilation; 1 or equal to `dilation` with a dilation.
        dilation: dilation of the kernel's rows and columns; 1 is none.

    Returns:
        The output, (B, C, ceil(H / stride), ceil(W / stride)).
    """
    if dilation > 1 and stride == dilation:  # the kernel never sees the other pixels
        x = x[:, :, ::dilation, ::dilation].contiguous(memory_format=torch.channels_last)
        stride = dilation = 1
    y: Tensor = _Depthwise.apply(x, weight, stride, dilation)
    return y if bias is None else y + bias[:, None, None]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation = stride, dilation
        return _same_size(x, weight, stride, dilation)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        saved, weight = ctx.saved_tensors
        gradient = gradient.to(weight.dtype).contiguous(memory_format=torch.channels_last)
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        x_gradient = weight_gradient = None
        if wants_x and ctx.stride == 1:  # oneDNN's forward kernel is faster than its backward one
            x_gradient = _same_size(gradient, weight.flip(2, 3), 1, ctx.dilation)
        elif wants_x:
            x_gradient = _gradients(gradient, saved.to(weight.dtype), weight, ctx.stride, [True, False])[0]
        if wants_weight:
            x = saved.to(weight.dtype).contiguous(memory_format=torch.channels_last)
            weight_gradient = _weight_gradient(gradient, x, weight, ctx.stride, ctx.dilation)
        return None if x_gradient is None else x_gradient.to(saved.dtype), weight_gradient, None, None


def _same_size(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    padding = (dilation * (weight.shape[2] // 2), dilation * (weight.shape[3] // 2))
    return functional.conv2d(x, weight, None, stride, padding, dilation, weight.shape[0])


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """Return the gradient of a (C, 1, KH, KW) weight; a dilation above 1 needs stride 1."""
    height, width = weight.shape[2:]
    if dilation > 1:
        margin = width // 2
        gradient, x = (_side_by_side(tensor, dilation, margin) for tensor in (gradient, x))
        wide = weight.repeat(dilation, 1, 1, 1)
        by_column = _weight_gradient(gradient, x, wide, 1, 1)
        return by_column.reshape(dilation, *weight.shape).sum(0)
    if width < 5:
        result: Tensor = _gradients(gradient, x, weight, stride, [False, True])[1]
        return result
    return (_by_columns if stride == 1 else _strided_by_columns)(gradient, x, height, width)


def _side_by_side(x: Tensor, distance: int, margin: int) -> Tensor:
    """Split an image into d * d images of every d-th pixel, and arrange them as channels and side by side.

    The images that start at different columns become channels; those that start at different rows stand side by side.
    Only the zeros between them are new: all pixels keep their order in memory.

    Args:
        x: (B, C, H, W), channels_last.
        distance: distance d between the pixels of one image.
        margin: columns of zeros after each image.

    Returns:
        (B, d * C, H / d, d * (W / d + margin)), with H / d and W / d rounded up.
    """
    num, channels, height, width = x.shape
    x = functional.pad(x, (0, -width % distance + distance * margin, 0, -height % distance))
    x = x.permute(0, 2, 3, 1).reshape(num, -(-height // distance), -1, distance * channels)
    return x.permute(0, 3, 1, 2)


def _by_columns(gradient: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    """Return the gradient of a (C, 1, height, width) weight at stride 1, computed in groups of columns.

    `result[c, 0, i, j] = sum over b, h, w of gradient[b, c, h, w] * x[b, c, h + i - height // 2, w + j -
    width // 2]`.
    """
    missing = max(height - x.shape[2], 0)
    if missing:
        gradient = functional.pad(gradient, (0, 0, 0, missing))
    three = x.new_empty((x.shape[1], 1, height, 3))

    def columns(shift: int) -> Tensor:
        """Return the columns at `shift - 1`, `shift`, `shift + 1` from the middle.

        If `shift` is not 0, the column that is nearest to the middle is wrong.
        """
        shifted = functional.pad(x, (-shift, shift, 0, missing)) if shift or missing else x
        result: Tensor = _gradients(gradient, shifted, three, 1, [False, True])[1]
        return result

    middle = width // 2
    result = x.new_zeros((x.shape[1], 1, height, width))
    result[..., middle - 1 : middle + 2] = columns(0)
    for shift in range(2, min(middle + 1, x.shape[3]), 2):
        num = min(2, middle - shift + 1)
        result[..., middle + shift : middle + shift + num] = columns(shift)[..., 1 : 1 + num]
        result[..., middle - shift - num + 1 : middle - shift + 1] = columns(-shift)[..., 2 - num : 2]
    return result


def _strided_by_columns(gradient: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    """Return the gradient of a (C, 1, height, width) weight at stride 2, by `_by_columns`.

    The kernel's rows and columns of one parity see pixels of one parity, at stride 1.
    """
    result = x.new_zeros((x.shape[1], 1, height, width))
    for parity_h, parity_w in itertools.product((0, 1), (0, 1)):
        offsets_h = [i - height // 2 for i in range(height) if (i - height // 2) % 2 == parity_h]
        offsets_w = [j - width // 2 for j in range(width) if (j - width // 2) % 2 == parity_w]
        if not offsets_h:  # a kernel of one row has no odd offset
            continue
        pixels = x[:, :, parity_h::2, parity_w::2]
        uneven_h, uneven_w = (n - m for n, m in zip(gradient.shape[2:], pixels.shape[2:], strict=True))
        pixels = functional.pad(pixels, (0, uneven_w, 0, uneven_h)) if uneven_h or uneven_w else pixels
        shifts_h, shifts_w = ([offset // 2 for offset in offsets] for offsets in (offsets_h, offsets_w))
        half_h, half_w = max(map(abs, shifts_h)), max(map(abs, shifts_w))
        part = _by_columns(gradient, pixels, 2 * half_h + 1, 2 * half_w + 1)
        part = part[:, :, shifts_h[0] + half_h : shifts_h[-1] + half_h + 1]
        part = part[..., shifts_w[0] + half_w : shifts_w[-1] + half_w + 1]
        result[:, :, offsets_h[0] + height // 2 :: 2, offsets_w[0] + width // 2 :: 2] = part
    return result


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, wanted: list[bool]
) -> tuple[Any, Any]:
    """Return PyTorch's gradients of the input and of the weight; `wanted` says which of the two are computed."""
    if not any(wanted):
        return None, None
    padding = [weight.shape[2] // 2, weight.shape[3] // 2]
    strides = [stride, stride]
    x_gradient, weight_gradient, _ = _backward(
        gradient, x, weight, None, strides, padding, [1, 1], False, [0, 0], weight.shape[0], [*wanted, False]
    )
    return x_gradient, weight_gradient
