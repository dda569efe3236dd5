"""What must be elastic: ways of writing a network that once left a part of it alone, or failed the conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conversion.zoo import difference, randomise
from torch import Tensor, nn
from torch.nn import functional

import onepath as op
from onepath.conversion.report import Row
from onepath.space.ends import end_of

Function = Callable[[Tensor], Tensor]
TOKENS = torch.randn(2, 6, 32, dtype=torch.double, generator=torch.Generator().manual_seed(0))
WORDS = torch.randint(50, (2, 6), generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(2, 3, 16, 16, dtype=torch.double, generator=torch.Generator().manual_seed(0))


def converted(model: nn.Module, x: Tensor) -> op.Supernet:
    """Convert a network of random doubles, and check the largest architecture, the smallest and 6 others."""
    model = model.double().eval()
    randomise(model)
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and "running" not in name:
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    supernet = op.convert(model, x).eval()
    space = supernet.space
    drawn = space.architectures(space.sample(6, np.random.default_rng(0)))
    with torch.no_grad():
        assert difference(model(x), supernet(x, end_of(space, max))) < 1e-10
        for architecture in (end_of(space, max), end_of(space, min), *drawn):
            found = supernet(x, architecture)
            assert difference(found, supernet.extract(architecture).eval()(x)) < 1e-12
            assert found.shape == model(x).shape
    return supernet


def elastic(model: nn.Module, x: Tensor) -> op.Supernet:
    """Convert a network of which every part must be elastic."""
    supernet = converted(model, x)
    assert supernet.conversion.elastic_macs_share == supernet.conversion.elastic_params_share == 1
    return supernet


def rows(model: nn.Module, x: Tensor) -> dict[str, Row]:
    return {row.path: row for row in converted(model, x).conversion.rows}


def smallest(supernet: op.Supernet) -> Any:
    return supernet.extract(end_of(supernet.space, min))


def options(supernet: op.Supernet) -> dict[str, tuple[Any, ...]]:
    return {choice.name: choice.options for choice in supernet.space.choices}


class Between(nn.Module):
    """A function between two linear layers, so that it joins the channels of the first one."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function, self.one, self.two = function, nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.function(self.one(x)))


class Convolved(Between):
    """A function of maps between two convolutions."""

    def __init__(self, function: Function, num: int = 16) -> None:
        super().__init__(function)
        self.one, self.two = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(num, 4, 1)


class FusedNorm(nn.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:  # as on a GPU
        return torch.ops.aten._fused_rms_norm(x, self.normalized_shape, self.weight, 1e-6)[0]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", [nn.RMSNorm, FusedNorm])
def test_root_mean_square_norms_are_elastic(kind: type[nn.RMSNorm], affine: bool) -> None:
    supernet = elastic(Between(kind(32, elementwise_affine=affine)), TOKENS)
    assert smallest(supernet).function.normalized_shape == (16,)


class Attention(nn.Module):
    """Attention that reads sizes from attributes; a function changes queries and keys (B, N, H, 8)."""

    def __init__(self, names: Sequence[str], function: Function, heads: int, num: int) -> None:
        super().__init__()
        self.names, self.function, total = names, function, 8 * heads
        for name, value in zip(names, (heads, 8, total), strict=True):
            setattr(self, name, value)
        self.stem, self.out, self.last = nn.Linear(32, 32), nn.Linear(total, 32), nn.Linear(32, 4)
        self.qkv = nn.ModuleList([nn.Linear(32, total * 3 // num) for _ in range(num)])

    def forward(self, x: Tensor) -> Tensor:
        num, size, total = (getattr(self, name) for name in self.names)
        made = torch.cat([layer(self.stem(x)) for layer in self.qkv], -1).split(total, -1)
        q, k, v = (y.view(*x.shape[:2], num, size) for y in made)
        heads = [y.transpose(1, 2) for y in (self.function(q), self.function(k), v)]
        y = functional.scaled_dot_product_attention(*heads).transpose(1, 2)
        return self.last(self.stem(x) + self.out(y.reshape(*x.shape[:2], total)))


def turned(x: Tensor) -> Tensor:
    """Pairs of channels turned as complex numbers, as in the code of LLaMA."""
    angles = torch.outer(torch.arange(6.0), torch.arange(1.0, 5.0)).double()
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.view_as_real(torch.view_as_complex(x.reshape(*x.shape[:-1], 4, 2)) * turns).flatten(3)


HEADS: dict[str, Function] = {
    "norm of each head": nn.RMSNorm(8),
    "turned": turned,
    "times a tensor": lambda y: y * torch.arange(1.0, 49.0).view(6, 1, 8).double().cos(),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_stay_elastic_where_each_is_treated_alike(name: str) -> None:
    supernet = converted(Attention(("num_heads", "head_dim", "attn_dim"), HEADS[name], 4, 3), TOKENS)
    assert supernet.conversion.elastic_params_share > 0.99  # all but a norm of each head
    assert options(supernet)["qkv.0.heads"] == (2, 3, 4)


@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize("heads", [4, 8])  # with 8 heads, a head has as many channels as there are heads
@pytest.mark.parametrize(
    "names",
    [
        ("num_attention_heads", "attention_head_size", "all_head_size"),
        ("n_head", "head_size", "n_embd"),
        ("num_heads", "d_k", "d_model"),
        ("num_attn_heads", "head_dim", "hidden"),
    ],
)
def test_counts_of_channels_are_known_by_their_names(
    names: tuple[str, str, str], heads: int, num: int
) -> None:
    supernet = elastic(Attention(names, nn.Identity(), heads, num), TOKENS)
    assert options(supernet)["qkv.0.heads"][0] == heads // 2
    plain = smallest(supernet)
    assert [getattr(plain, name) for name in names] == [heads // 2, 8, 4 * heads]


class Sized(Convolved):
    """A depthwise convolution of maps that are brought to a size, which happens to be the number of channels."""

    def __init__(self, name: str) -> None:
        super().__init__(nn.Conv2d(16, 16, 3, padding=1, groups=16))
        self.name = name
        setattr(self, name, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(self.one(x), getattr(self, self.name))
        return self.two(self.function(x)).mean((2, 3))


SIZES = ("pool_size", "output_size", "img_size", "patch_dim", "block_size", "input_resolution", "seq_size")


@pytest.mark.parametrize("name", SIZES)
def test_a_size_that_happens_to_be_the_number_of_channels_stays(name: str) -> None:
    assert getattr(smallest(elastic(Sized(name), IMAGES)), name) == 16


MASKS: dict[str, Function] = {
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.0),
    "product": lambda x: x * (x > 0),
    "cast": lambda x: x * (x > 0).to(x.dtype),
    "logical": lambda x: x.masked_fill(~((x > -1) & (x < 1)) | x.isnan(), 1.0),
    "two": lambda x: torch.where(torch.logical_or(x > 1, x.flip(1) > x), x, 2 * x),
    "reduced": lambda x: x * (x > 1).any(1, keepdim=True),
    "moved": lambda x: x * (x.transpose(1, 2) > 0).transpose(1, 2),
    "joined": lambda x: x * torch.cat([x[:, :3] > 0, torch.zeros(x[:, 3:].shape, dtype=torch.bool)], 1),
    "indexed": lambda x: x * (x > 0).index_select(1, torch.tensor([5, 4, 3, 2, 1, 0])),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_the_channels_themselves_are_elastic(name: str) -> None:
    elastic(Between(MASKS[name]), TOKENS)


class Table(Between):
    def forward(self, x: Tensor) -> Tensor:
        table: Any = self.table
        return self.two(functional.relu(table[..., : x.shape[1], :] + self.one(x)))


@pytest.mark.parametrize("is_buffer", [False, True])
@pytest.mark.parametrize("shape", [(1, 6, 32), (1, 64, 32), (64, 32)])
def test_a_table_of_positions_may_be_longer_than_the_example(shape: tuple[int, ...], is_buffer: bool) -> None:
    model = Table(nn.Identity())
    model.one = nn.Embedding(50, 32)
    if is_buffer:
        model.register_buffer("table", torch.zeros(shape))
    else:
        model.table = nn.Parameter(torch.zeros(shape))
    supernet = elastic(model, WORDS)
    plain = smallest(supernet)
    assert plain.table.shape == (*shape[:-1], 16)
    longer = torch.arange(60 if 64 in shape else 6)[None] % 50
    with torch.no_grad():
        assert difference(supernet(longer, end_of(supernet.space, min)), plain(longer)) < 1e-12


def test_a_table_of_places_in_two_directions() -> None:
    class Places(Convolved):
        def forward(self, x: Tensor) -> Tensor:
            table: Any = self.table
            return self.two(functional.relu(self.one(x) + table[:, :, : x.shape[2], : x.shape[3]]))

    model = Places(nn.Identity())
    model.table = nn.Parameter(torch.zeros(1, 16, 32, 32))
    elastic(model, IMAGES)


def test_a_table_whose_rows_belong_to_different_channels_stays() -> None:
    class Apart(Between):
        def forward(self, x: Tensor) -> Tensor:
            table: Any = self.table
            mean = (self.one(x) + table[0]).mean(-1, keepdim=True)
            return self.two(self.function(x) + table[1]) + mean

    model = Apart(nn.Linear(32, 32))
    model.table = nn.Parameter(torch.zeros(2, 32))
    found = rows(nn.Sequential(model, nn.Linear(4, 16), nn.Linear(16, 4)), TOKENS)
    assert found["0.one"].reason == found["0"].reason == "table has units along several of its dimensions"


class Beside(nn.Module):
    """A part that must stay whole, and one that is elastic."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part, self.one, self.two = part, nn.Linear(4, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(self.part(x)))


class Split(Between):
    def forward(self, x: Tensor) -> Tensor:
        halves = self.function(self.one(x).mT).mT.reshape(*x.shape[:2], 2, 16)
        return self.two(torch.cat([halves.sum(2)] * 2, -1))


GROUPS = nn.Sequential(
    *(nn.Conv1d(*sizes, 1, groups=num) for *sizes, num in ((6, 24, 1), (24, 24, 2), (24, 24, 3), (24, 6, 1))),
    nn.Linear(32, 4),
)


@pytest.mark.parametrize(
    ("part", "path", "reason"),
    [
        (GROUPS, "part.0", "its 24 channels can only stay together"),
        (Split(nn.BatchNorm1d(32)), "part.function", "own code does not take another size"),
        (nn.EmbeddingBag(50, 4), "part", "_embedding_bag has no rule"),
    ],
)
def test_a_reason_is_the_one_that_holds(part: nn.Module, path: str, reason: str) -> None:
    x = WORDS if path == "part" else TOKENS
    assert reason in rows(Beside(part), x)[path].reason


def test_windows_of_an_image_are_elastic() -> None:
    windows = Convolved(lambda x: functional.unfold(x, 3, padding=1).unflatten(-1, x.shape[2:]), 16 * 9)
    assert smallest(elastic(windows, IMAGES)).two.in_channels == 8 * 9


def test_an_operation_that_rejects_labels_freezes_its_channels() -> None:
    found = rows(Beside(Between(lambda x: x.as_strided(x.shape, x.stride()))), TOKENS)
    assert found["part.one"].reason == "as_strided has no rule"
    assert found["one"].choices == ("one.width",)


MAPS: dict[str, Function] = {
    "nearest-exact": lambda x: functional.interpolate(x, size=8, mode="nearest-exact"),
    "pad 1": lambda x: functional.pad(x, (0, 1), value=1.0),
    "pad -inf": lambda x: functional.max_pool2d(functional.pad(x, (0, 2), value=-torch.inf), 2).clamp(-9),
}


@pytest.mark.parametrize("name", MAPS)
def test_resampled_and_padded_maps_are_elastic(name: str) -> None:
    assert options(elastic(Convolved(MAPS[name]), IMAGES)) == {"one.width": (8, 16)}
