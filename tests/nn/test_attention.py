"""Attention that owns its number of heads computes what torch's own does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from onepath.nn.attention import HeadAttention


def both(**options: Any) -> tuple[nn.MultiheadAttention, HeadAttention]:
    torch.manual_seed(0)
    own = nn.MultiheadAttention(16, 4, dropout=0.0, **options).double()
    for parameter in own.parameters():
        nn.init.normal_(parameter)
    other = nn.MultiheadAttention(16, 4, dropout=0.0, **options).double()
    other.load_state_dict(own.state_dict())
    HeadAttention.take_over(other)
    assert isinstance(other, HeadAttention)
    return own, other


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_self_attention(batch_first: bool, bias: bool, need_weights: bool, average: bool) -> None:
    own, other = both(batch_first=batch_first, bias=bias)
    x = torch.randn(3, 5, 16, dtype=torch.double)
    options = {"need_weights": need_weights, "average_attn_weights": average}
    for one, two in zip(own(x, x, x, **options), other(x, x, x, **options), strict=True):
        assert (one is None) == (two is None)
        assert one is None or torch.allclose(one, two)


def test_attention_to_others() -> None:
    own, other = both(batch_first=True)
    query, memory = torch.randn(3, 5, 16, dtype=torch.double), torch.randn(3, 7, 16, dtype=torch.double)
    assert torch.allclose(own(query, memory, memory)[0], other(query, memory, memory)[0])


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["bool", "float", "each head"])
def test_masks(kind: str, need_weights: bool) -> None:
    own, other = both(batch_first=True)
    x = torch.randn(3, 5, 16, dtype=torch.double)
    masks: dict[str, torch.Tensor] = {
        "bool": torch.ones(5, 5).triu(1).bool(),
        "float": torch.randn(5, 5, dtype=torch.double),
        "each head": torch.randn(3 * 4, 5, 5, dtype=torch.double),
    }
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    if kind != "bool":
        padding = torch.zeros(3, 5, dtype=torch.double).masked_fill(padding, -torch.inf)
    options = {"attn_mask": masks[kind], "key_padding_mask": padding, "need_weights": need_weights}
    for one, two in zip(own(x, x, x, **options), other(x, x, x, **options), strict=True):
        assert one is None or torch.allclose(one, two)


def test_one_example_without_a_batch() -> None:
    own, other = both()
    x = torch.randn(5, 16, dtype=torch.double)
    for one, two in zip(own(x, x, x), other(x, x, x), strict=True):
        assert torch.allclose(one, two)


def test_kinds_that_it_cannot_be_stay_torchs_own() -> None:
    for options in ({"kdim": 8}, {"add_bias_kv": True}, {"add_zero_attn": True}):
        module = nn.MultiheadAttention(16, 4, **options)  # type: ignore[arg-type]
        HeadAttention.take_over(module)
        assert type(module) is nn.MultiheadAttention
