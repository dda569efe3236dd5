"""Small networks, each with one way in which channels of different layers belong together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Images(nn.Module):
    """From 3 channels to 16 by a stem, through `body`, to 5 scores of the mean."""

    def __init__(self, width: int = 16, out: int | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)
        self.head = nn.Linear(out or width, 5)

    def body(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.bn(self.stem(x)).relu()).mean((2, 3)))


class Chain(Images):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


class Concat(Images):
    def __init__(self) -> None:
        super().__init__(out=40)
        self.one, self.two = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 8, 1)
        self.norm = nn.BatchNorm2d(40)

    def body(self, x: Tensor) -> Tensor:
        return self.norm(torch.cat([self.one(x), x, self.two(x)], 1))


class Halves(Images):
    """The outputs of one layer go two ways."""

    def __init__(self) -> None:
        super().__init__(width=32, out=16)
        self.one, self.two = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.one(x[:, :16]) + self.two(x[:, 16:])


class Flat(Images):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.bn(self.stem(x)).relu(), 2)
        return self.head(torch.flatten(x, 1))


class Shuffled(Images):
    """Channels of two groups are interleaved, by the size that comes."""

    def __init__(self) -> None:
        super().__init__(width=32)
        self.depthwise, self.point = nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.Conv2d(32, 32, 1)
        self.head = nn.Linear(32, 5)

    def body(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = (
            x.view(batch, 2, channels // 2, height, width)
            .transpose(1, 2)
            .reshape(batch, channels, height, width)
        )
        return self.point(self.depthwise(x))


class Grouped(Images):
    def __init__(self) -> None:
        super().__init__(width=32)
        self.grouped, self.wider = nn.Conv2d(32, 32, 3, padding=1, groups=8), nn.Conv2d(32, 64, 1, groups=4)
        self.head = nn.Linear(64, 5)

    def body(self, x: Tensor) -> Tensor:
        return self.wider(self.grouped(x).relu())


class Squeezed(Images):
    """Squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        return x * self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Block(nn.Module):
    def __init__(self, width: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(width, out, 1, stride) if stride > 1 or width != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.shortcut(x) + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


class Residual(Images):
    def __init__(self) -> None:
        super().__init__(out=32)
        self.stage1 = nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 16))
        self.stage2 = nn.Sequential(Block(16, 32, 2), Block(32, 32))

    def body(self, x: Tensor) -> Tensor:
        return self.stage2(self.stage1(x))


class Sized(Block):
    """A block that is told the size of the image."""

    def forward(self, x: Tensor, size: tuple[int, ...], *, scale: float = 1.0) -> Tensor:
        return super().forward(x) * scale + x.new_zeros(1).expand(size[0], 1, 1, 1)


class Told(Images):
    """Blocks with further arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Sized(16, 16), Sized(16, 16)])

    def body(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, tuple(x.shape), scale=1.0)
        return x


class Gated(Images):
    def __init__(self) -> None:
        super().__init__()
        self.gates, self.chunks = nn.Conv2d(16, 32, 1), nn.Conv2d(16, 32, 1)

    def body(self, x: Tensor) -> Tensor:
        one, other = self.chunks(functional.glu(self.gates(x), 1)).chunk(2, 1)
        return one * other.sigmoid()


class Normalised(Images):
    """Group normalisation, and layer normalisation of channels that come first."""

    def __init__(self) -> None:
        super().__init__(width=32)
        self.groups, self.layer = nn.GroupNorm(4, 32), nn.LayerNorm(32)
        self.scale = nn.Parameter(torch.ones(32, 1, 1))
        self.head = nn.Linear(32, 5)

    def body(self, x: Tensor) -> Tensor:
        x = self.groups(x) * self.scale
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Upscaled(Images):
    """Pixels from channels, a transposed convolution, and a resized sum."""

    def __init__(self) -> None:
        super().__init__(width=32)
        self.wide, self.up = nn.Conv2d(8, 16, 1), nn.ConvTranspose2d(32, 16, 2, 2)
        self.head = nn.Linear(16, 5)

    def body(self, x: Tensor) -> Tensor:
        small = functional.interpolate(self.wide(functional.pixel_shuffle(x, 2)), size=x.shape[-1])
        return functional.interpolate(self.up(x), size=x.shape[-1], mode="bilinear") + small


class Shared(Images):
    """One convolution on two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x).relu()) + functional.interpolate(
            self.conv(functional.avg_pool2d(x, 2)), scale_factor=2
        )


class Depthwise(Images):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(16, 16, 7, padding=3, groups=16)

    def body(self, x: Tensor) -> Tensor:
        return self.depthwise(x)


class HardCoded(Images):
    """Sizes that the code names itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 5)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x).reshape(x.shape[0], 4, 4, *x.shape[2:]).flatten(1, 2)


class Padded(Images):
    """A shortcut that is padded with channels of zeros."""

    def __init__(self) -> None:
        super().__init__(out=32)
        self.conv, self.last = nn.Conv2d(16, 32, 1), nn.Conv2d(32, 32, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.last((self.conv(x) + functional.pad(x, (0, 0, 0, 0, 8, 8))).relu())


class Unknown(Images):
    """An operation without a rule between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.last(torch.linalg.qr(self.conv(x))[0])


class Auxiliary(Images):
    """A second head that runs in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.auxiliary = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.bn(self.stem(x)).relu())
        scores = self.head(x.mean((2, 3)))
        return scores + 0.1 * self.auxiliary(x).mean((2, 3)) if self.training else scores


class Words(nn.Module):
    """Tokens (B, N) to scores, by `mix` and a residual MLP, with a tied embedding."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding, self.norm1, self.norm2 = (
            nn.Embedding(20, width),
            nn.LayerNorm(width),
            nn.LayerNorm(width),
        )
        self.position = nn.Parameter(torch.zeros(1, 6, width))
        self.mlp = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))
        self.head = nn.Linear(width, 20, bias=False)
        self.head.weight = self.embedding.weight

    def mix(self, x: Tensor) -> Tensor:
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.position
        x = x + self.mix(self.norm1(x))
        return self.head(x + self.mlp(self.norm2(x)))


class TokenMix(Words):
    """One fused projection, (3, heads, d), with a bias for each head and two places."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 4, 8
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.table = nn.Parameter(torch.zeros(11, 4))
        places = torch.arange(6)
        self.register_buffer("index", places[:, None] - places[None] + 5)

    def mix(self, x: Tensor) -> Tensor:
        batch, num, _ = x.shape
        query, key, value = (
            self.qkv(x).reshape(batch, num, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        )
        bias = self.table[self.index].permute(2, 0, 1)
        scores = (query @ key.transpose(-2, -1) * self.head_dim**-0.5 + bias).softmax(-1)
        return self.proj((scores @ value).transpose(1, 2).reshape(batch, num, -1))


class HeadsMajor(Words):
    """One fused projection, (heads, keys and values), with wider values."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.key_dim, self.value_dim = 4, 4, 12
        self.qkv, self.proj = nn.Linear(32, 80), nn.Linear(48, 32)

    def mix(self, x: Tensor) -> Tensor:
        batch, num, _ = x.shape
        sizes = [self.key_dim, self.key_dim, self.value_dim]
        query, key, value = (
            part.transpose(1, 2) for part in self.qkv(x).view(batch, num, self.num_heads, -1).split(sizes, 3)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Encoder(Words):
    """Torch's own transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)

    def mix(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Chunked(Images):
    """Halves by `chunk`, of which one is scaled by the other and both go on."""

    def __init__(self) -> None:
        super().__init__(width=32, out=16)
        self.point = nn.Conv2d(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, 1)
        return self.point(one) * two.sigmoid() + two


class PerChannel(Images):
    """Parameters of each channel in several shapes, and normalisation of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.prelu, self.instance = nn.PReLU(16), nn.InstanceNorm2d(16, affine=True)
        self.gamma, self.beta = nn.Parameter(torch.ones(1, 16, 1, 1)), nn.Parameter(torch.zeros(16))

    def body(self, x: Tensor) -> Tensor:
        x = self.instance(self.prelu(x)) * self.gamma
        return x + self.beta[None, :, None, None]


class Response(Images):
    """Global response normalisation over channels, and a softmax over them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.conv = nn.Parameter(torch.ones(16)), nn.Conv2d(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        norm = x.norm(p=2, dim=(2, 3), keepdim=True)
        x = x + self.weight.view(1, -1, 1, 1) * x * norm / (norm.mean(1, keepdim=True) + 1e-6)
        return self.conv(x).softmax(1) * functional.normalize(x, dim=1)


class Places(Images):
    """An attention map of one channel, and a stack of three levels."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.map = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(2, 1, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        levels = torch.stack([x, self.one(x), functional.pad(x, (1, 1, 1, 1))[..., 1:-1, 1:-1]]).sum(0)
        summary = torch.cat([levels.amax(1, keepdim=True), levels.mean(1, keepdim=True)], 1)
        return levels * self.map(summary).sigmoid()


class InPlace(Images):
    """Operations that change their input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y += x
        y.mul_(0.5).clamp_(max=3.0)
        return functional.relu(y, inplace=True)


class Standardised(Images):
    """A weight that is computed at each pass, whose channels stay."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (
            weight.std((1, 2, 3), keepdim=True) + 1e-5
        )
        return self.last(functional.conv2d(x, weight, self.conv.bias, padding=1).relu())


class Series(Images):
    """One dimension, dilated, with a depthwise convolution that has two outputs for each input."""

    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Conv1d(16, 16, 5, padding=4, dilation=2, groups=16)
        self.twice, self.norm = nn.Conv1d(16, 32, 1, groups=16), nn.BatchNorm1d(32)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.stem(x)).relu().flatten(2)
        return self.head(self.norm(self.twice(self.long(x))).relu().mean(2))


class Volume(nn.Module):
    """Three dimensions, and a gate of all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.point = (
            nn.Conv3d(1, 16, 3, padding=1),
            nn.BatchNorm3d(16),
            nn.Conv3d(16, 16, 1),
        )
        self.up, self.head = nn.ConvTranspose3d(16, 16, 2, 2, groups=16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x[:, :1, None].expand(-1, -1, 4, -1, -1))).relu()
        x = functional.max_pool3d(self.up(self.point(x) * x), 2)
        return self.head(functional.adaptive_avg_pool3d(x, 1).flatten(1))


class OneKey(TokenMix):
    """Queries of several heads over one key and one value, with normalised queries."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.keys, self.out = nn.Linear(32, 32), nn.Linear(32, 16), nn.Linear(32, 32)
        self.norm = nn.LayerNorm(8)

    def mix(self, x: Tensor) -> Tensor:
        batch, num, _ = x.shape
        query = self.norm(self.query(x).reshape(batch, num, -1, self.head_dim)).transpose(1, 2)
        key, value = self.keys(x).unsqueeze(1).chunk(2, -1)
        scores = (query @ key.transpose(-2, -1)).softmax(-1)
        return self.out((scores @ value).transpose(1, 2).flatten(2))


class Einsum(Words):
    """Heads by Einstein sums, with a mask and normalised queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.query, self.key = 4, nn.Linear(32, 32), nn.Linear(32, 32)
        self.value, self.out, self.scale = (
            nn.Linear(32, 32),
            nn.Linear(32, 32),
            nn.Parameter(torch.ones(4, 1, 1)),
        )
        self.register_buffer("mask", torch.zeros(6, 6).masked_fill(torch.ones(6, 6).triu(1).bool(), -1e9))

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1)

    def mix(self, x: Tensor) -> Tensor:
        query = functional.normalize(self.split(self.query(x)), dim=-1)
        key = functional.normalize(self.split(self.key(x)), dim=-1)
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * self.scale + self.mask
        mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), self.split(self.value(x)))
        return self.out(mixed.reshape(x.shape[0], x.shape[1], -1))


class Single(Words):
    """Attention of one head, whose keys and queries have a width of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(32, 16), nn.Linear(32, 16)
        self.value, self.out = nn.Linear(32, 24), nn.Linear(24, 32)

    def mix(self, x: Tensor) -> Tensor:
        scores = (self.query(x) @ self.key(x).transpose(-2, -1)).softmax(-1)
        return self.out(scores @ self.value(x))


class Recurrent(Words):
    """A recurrent layer, which is left alone, between layers that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.rnn, self.after = (
            nn.Linear(32, 16),
            nn.GRU(16, 16, batch_first=True),
            nn.Linear(16, 32),
        )

    def mix(self, x: Tensor) -> Tensor:
        return self.after(self.rnn(self.before(x))[0])


IMAGES: tuple[type[nn.Module], ...] = (
    *(
        Chain,
        Concat,
        Halves,
        Flat,
        Shuffled,
        Grouped,
        Squeezed,
        Residual,
        Gated,
        Normalised,
        Upscaled,
        Shared,
    ),
    *(Depthwise, HardCoded, Padded, Unknown, Auxiliary, Chunked, PerChannel, Response, Places, InPlace),
    *(Standardised, Series, Volume, Told),
)
WORDS: tuple[type[Words], ...] = (*(Words, TokenMix, HeadsMajor, Encoder, OneKey, Einsum, Single, Recurrent),)
