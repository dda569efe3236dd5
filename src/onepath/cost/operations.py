"""The multiply-accumulates (macs) of each torch operation: a table of counters, and the operations that count as 0.

One fused multiply-add counts as 1. An operation counts as many as its closed form needs, whatever the algorithm behind
it. Counted are products: of matrices and vectors, convolutions, linear and bilinear layers, and attention. Recurrent
layers arrive here as the products that they are made of. By the convention of the papers, these count as 0: elementwise
operations, sums and other reductions, normalisation, activations, pooling, resampling by interpolation, lookups and
changes of shape. Any other operation has no counter; it is reported by name instead of being counted as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

Counter = Callable[[Sequence[Any], Any], int]
"""A function from the positional arguments and the result of one call to its macs."""


def counter_of(operation: Any) -> Counter | None:
    """Return the counter of a torch operation, or None if it has no counter.

    An operation that counts as 0 has a counter that returns 0.

    Args:
        operation: the operation in the form in which torch passes it to a `TorchDispatchMode`.
    """
    return _counter_of(operation)


def operation_name(operation: Any) -> str:
    """Return the name of an operation without its overload, such as "aten::grid_sampler_2d"."""
    name = getattr(operation, "_schema", operation)
    return str(getattr(name, "name", name))


@cache
def _counter_of(operation: Any) -> Counter | None:
    space, _, name = operation_name(operation).rpartition("::")
    if space in ("prim", "prims"):
        return _nothing
    if space != "aten":
        return None
    tags = getattr(operation, "tags", ())
    if name in COUNTERS:
        return COUNTERS[name]
    if name.rstrip("_") in COUNTERS:  # the in-place variant
        return COUNTERS[name.rstrip("_")]
    is_free = (
        torch.Tag.pointwise in tags
        or torch.Tag.reduction in tags
        or name in FREE
        or name.rstrip("_") in FREE
        or _is_view(operation)
    )
    return _nothing if is_free else None


def _is_view(operation: Any) -> bool:
    """Whether the result shares the memory of the first argument, and the operation does not write to it."""
    arguments = operation._schema.arguments
    alias = arguments[0].alias_info if arguments else None
    return alias is not None and not alias.is_write


def _nothing(inputs: Sequence[Any], output: Any) -> int:
    del inputs, output
    return 0


def _product(first: int, second: int) -> Counter:
    """Return the counter of a product of two arguments: (..., M, K) by (..., K, N), or vectors without M or N.

    Args:
        first: position of the left argument.
        second: position of the right argument.
    """

    def count(inputs: Sequence[Any], output: Any) -> int:
        del output
        left, right = inputs[first], inputs[second]
        columns: int = right.shape[-1] if right.ndim > 1 else 1
        return int(left.numel()) * columns

    return count


def _outer(inputs: Sequence[Any], output: Tensor) -> int:
    del inputs
    return output.numel()


def _convolution(inputs: Sequence[Any], output: Tensor) -> int:
    """Count a convolution; `inputs` is (input, weight, bias, stride, padding, dilation, transposed, ...)."""
    is_transposed = len(inputs) > 6 and inputs[6] is True
    return transposed_macs(inputs[0], inputs[1]) if is_transposed else convolution_macs(inputs[1], output)


def convolution_macs(weight: Tensor, output: Tensor) -> int:
    """Return the macs of a convolution: every output value needs one filter of the weight (O, I / groups, K...)."""
    return output.numel() * (weight.numel() // weight.shape[0])


def transposed_macs(x: Tensor, weight: Tensor) -> int:
    """Return the macs of a transposed convolution.

    For every position of the input (B, I, H...), each number of the weight (I, O / groups, K...) is used once.
    """
    return x.numel() // x.shape[1] * weight.numel()


def _temporal_convolution(inputs: Sequence[Any], output: Tensor) -> int:
    """Count `conv_tbc`, a convolution over time with a weight (K, I, O)."""
    weight: Tensor = inputs[1]
    return output.numel() * (weight.numel() // weight.shape[-1])


def _trilinear(inputs: Sequence[Any], output: Tensor) -> int:
    """Count a bilinear layer as a linear layer over the products of its two inputs.

    `inputs` is (i1, i2, i3, expand1, expand2, expand3, sums).
    """
    del output
    sizes: list[list[int]] = []
    for tensor, expanded in zip(inputs[:3], inputs[3:6], strict=True):
        shape = list(tensor.shape)
        for dimension in sorted(expanded):
            shape.insert(dimension, 1)
        sizes.append(shape)
    return math.prod(max(size) for size in zip(*sizes, strict=True))


def _attention(inputs: Sequence[Any], output: Any) -> int:
    """Count queries (B, H, T, D) times keys (B, H, S, D), and the weights (B, H, T, S) times values (B, H, S, E)."""
    del output
    query, key, value = (tensor.shape for tensor in inputs[:3])
    count: int = math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return count


COUNTERS: Mapping[str, Counter] = {
    "mm": _product(0, 1),
    "bmm": _product(0, 1),
    "mv": _product(0, 1),
    "dot": _product(0, 1),
    "vdot": _product(0, 1),
    "addmm": _product(1, 2),
    "addmv": _product(1, 2),
    "addbmm": _product(1, 2),
    "baddbmm": _product(1, 2),
    "_addmm_activation": _product(1, 2),
    "_int_mm": _product(0, 1),
    "_scaled_mm": _product(0, 1),
    "addr": _outer,
    "_trilinear": _trilinear,
    "convolution": _convolution,
    "_convolution": _convolution,
    "convolution_overrideable": _convolution,
    "conv_tbc": _temporal_convolution,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
}
"""Name of an operation in aten -> its counter. The in-place variant of an operation has the same counter."""

_FREE = (
    # shapes, copies, indexing, ordering
    "_chunk_cat _index_put_impl _lazy_clone _local_scalar_dense _pack_padded_sequence _resize_output _stack "
    "_reshape_copy _to_copy _unsafe_index _unsafe_index_put _unsafe_masked_index "
    "_unsafe_masked_index_put_accumulate _unsafe_view alias_copy as_strided as_strided_scatter block_diag bucketize "
    "cat channel_shuffle col2im complex constant_pad_nd copy detach diag_embed diagonal_scatter flip gather "
    "im2col index index_add index_copy index_fill index_put index_reduce index_select isin kthvalue lift "
    "masked_fill masked_scatter masked_select mode nonzero nonzero_static _unique _unique2 unique_consecutive "
    "unique_dim pixel_shuffle pixel_unshuffle polar put reflection_pad1d reflection_pad2d reflection_pad3d repeat "
    "repeat_interleave replication_pad1d replication_pad2d replication_pad3d resize resize_as roll rot90 "
    "scatter scatter_add scatter_reduce searchsorted select_scatter set slice_scatter sort split_copy "
    "squeeze squeeze_copy stack t take topk transpose tril triu unsafe_split unsafe_split_with_sizes unsqueeze "
    # new tensors, random or not
    "arange bartlett_window bernoulli blackman_window cauchy empty empty_like empty_permuted empty_strided "
    "exponential eye fft_fftfreq fft_rfftfreq fill full full_like geometric hamming_window hann_window kaiser_window "
    "linspace log_normal logspace multinomial new_empty new_empty_strided new_full new_ones new_zeros normal "
    "normal_functional ones ones_like poisson rand rand_like randint randint_like randn randn_like random randperm "
    "range scalar_tensor tril_indices triu_indices uniform zero zeros zeros_like _efficientzerotensor "
    "_sample_dirichlet _standard_gamma binomial "
    # elementwise operations and activations that torch does not tag as elementwise
    "_add_relu _log_softmax _masked_scale _masked_softmax _prelu_kernel _safe_softmax _softmax "
    "_thnn_fused_gru_cell _thnn_fused_lstm_cell _transform_bias_rescale_qkv abs bitwise_not copysign eq "
    "floor_divide gcd ge gelu glu gt hardswish heaviside lcm le linalg_cross log_sigmoid_forward log_softmax lt mish "
    "native_dropout ne rrelu_with_noise rrelu_with_noise_functional softmax threshold "
    # reductions and scans
    "_aminmax _cummax_helper _cummin_helper _is_all_true _is_any_true _logcumsumexp allclose bincount "
    "count_nonzero cummax cummin cumprod cumsum dist hash_tensor histc logcumsumexp median nanmedian segment_reduce "
    "trace "
    # losses
    "binary_cross_entropy binary_cross_entropy_with_logits huber_loss mse_loss nll_loss2d_forward nll_loss_forward "
    "smooth_l1_loss soft_margin_loss "
    # normalisation
    "_batch_norm_no_update _batch_norm_with_update _batch_norm_with_update_functional _fused_rms_norm "
    "_native_batch_norm_legit _native_batch_norm_legit_functional _native_batch_norm_legit_no_training "
    "_weight_norm_interface batch_norm_elemt batch_norm_gather_stats batch_norm_stats cudnn_batch_norm "
    "embedding_renorm native_batch_norm native_group_norm native_layer_norm native_norm renorm "
    # pooling and interpolation
    "_adaptive_avg_pool2d _adaptive_avg_pool3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa "
    "_upsample_lanczos2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d "
    "avg_pool2d avg_pool3d fractional_max_pool2d fractional_max_pool3d max_pool2d_with_indices "
    "max_pool3d_with_indices max_unpool2d max_unpool3d upsample_bicubic2d upsample_bilinear2d upsample_linear1d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d "
    # lookups
    "_embedding_bag _embedding_bag_forward_only embedding "
    # checks and questions
    "_assert_async _assert_scalar _assert_tensor_metadata _functional_assert_async _functional_assert_scalar "
    "_has_same_storage_numel _linalg_check_errors is_same_size is_set_to is_pinned sym_constrain_range "
    "sym_constrain_range_for_size sym_numel sym_size sym_storage_offset sym_stride _nnz record_stream"
)
FREE = frozenset(_FREE.split())
"""Names in aten of operations that count as 0. Views, and operations that torch tags as elementwise or as reductions,
count as 0 too and are not listed. In-place variants are listed without their underscore."""
