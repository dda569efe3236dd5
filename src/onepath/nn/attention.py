"""Multi-head attention whose number of heads does not depend on the width of the embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class HeadAttention(nn.MultiheadAttention):
    """An `nn.MultiheadAttention` whose heads together may be narrower than the embedding.

    The number of heads is the number of projection rows over `head_dim`, so a head can be removed without a change of
    the embedding; torch's own class computes `head_dim` from the embedding. Parameters, arguments and results are those
    of torch's class.

    Shapes: query (B, N, E) if `batch_first`, else (N, B, E); or (N, E) for one example.
    """

    @classmethod
    def take_over(cls, module: nn.MultiheadAttention) -> None:
        """Give an attention of torch this class, in place, if its options allow it; else leave it as it is."""
        is_common = module._qkv_same_embed_dim and module.bias_k is None and not module.add_zero_attn
        if type(module) is nn.MultiheadAttention and is_common:
            module.__class__ = cls
            module._qkv_same_embed_dim = False  # else transformer layers run it as one fused operation

    def forward(  # noqa: D102
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Any:
        is_self = query is key and key is value
        is_single = query.dim() == 2
        inputs = [
            x.unsqueeze(0) if is_single else x if self.batch_first else x.transpose(0, 1)
            for x in (query, key, value)
        ]
        heads = [self._split(x) for x in self._projected(inputs, is_self=is_self)]
        mask = self._mask(heads[0], key_padding_mask, attn_mask)
        is_causal = is_causal and mask is None
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = heads[0] @ heads[1].transpose(-2, -1) * self.head_dim**-0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            mixed = functional.dropout(weights, dropout) @ heads[2]
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights.squeeze(0) if is_single else weights
        else:
            mixed = functional.scaled_dot_product_attention(
                heads[0], heads[1], heads[2], mask, dropout, is_causal
            )
        output = self.out_proj(mixed.transpose(1, 2).flatten(2))
        output = output.squeeze(0) if is_single else output if self.batch_first else output.transpose(0, 1)
        return output, weights

    def _projected(self, inputs: list[Tensor], *, is_self: bool) -> list[Tensor]:
        if is_self:
            return list(functional.linear(inputs[0], self.in_proj_weight, self.in_proj_bias).chunk(3, -1))
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        rows = zip(inputs, self.in_proj_weight.chunk(3), biases, strict=True)
        return [functional.linear(x, weight, bias) for x, weight, bias in rows]

    def _split(self, x: Tensor) -> Tensor:
        """Split the heads of `x`: (B, N, H * D) to (B, H, N, D)."""
        return x.view(*x.shape[:-1], -1, self.head_dim).transpose(1, 2)

    def _mask(self, query: Tensor, padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Return the mask that is added to the scores (B, H, N, M), or None."""
        added: list[Tensor] = []
        if mask is not None:
            if mask.dim() == 3:
                mask = mask.view(query.shape[0], -1, *mask.shape[1:])
            added.append(mask)
        if padding is not None:
            added.append((padding.unsqueeze(0) if padding.dim() == 1 else padding)[:, None, None])
        floats = [
            torch.zeros_like(m, dtype=query.dtype).masked_fill(m, -torch.inf) if m.dtype == torch.bool else m
            for m in added
        ]
        return sum(floats[1:], floats[0]) if floats else None
