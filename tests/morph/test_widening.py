from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from conversion import networks
from conversion.networks import IMAGES, Words
from morph.changed import assert_same, change, images, made, num_params
from torch import Tensor, nn
from torch.nn import functional

import onepath as op
from onepath.errors import ConfigurationError
from onepath.morph.draft import LAYERS


class Everything(nn.Module):
    """A stem, a residual block with squeeze and excitation, a concatenation, and linear layers behind flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.expand, self.bn1 = nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12)
        self.depthwise, self.bn2 = nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12)
        self.reduce, self.excite = nn.Linear(12, 4), nn.Linear(4, 12)
        self.project, self.bn3 = nn.Conv2d(12, 8, 1), nn.BatchNorm2d(8)
        self.side = nn.Conv2d(3, 6, 3, padding=1)
        self.hidden, self.head = nn.Linear(14 * 4, 10), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.stem(x)).relu()
        z = self.bn2(self.depthwise(self.bn1(self.expand(y)).relu())).relu()
        z = z * self.excite(self.reduce(z.mean((2, 3))).relu()).sigmoid()[..., None, None]
        y = y + self.bn3(self.project(z))
        y = functional.max_pool2d(torch.cat([self.side(x), y], 1), 4)
        return self.head(self.hidden(y.flatten(1)).relu())


WIDENED = {
    "stem": 13,
    "expand": 20,
    "depthwise": 13,
    "reduce": 6,
    "excite": 17,
    "project": 9,
    "side": 11,
    "hidden": 16,
}


@pytest.mark.parametrize(("layer", "width"), WIDENED.items())
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_wider_network_computes_the_same(layer: str, width: int, dtype: torch.dtype, most: float) -> None:
    model, x = made(Everything(), dtype), images(dtype=dtype)
    wider = op.morph.widen(model, layer, width, x, seed=3)
    assert_same(model, wider, x, most)
    weight = wider.get_submodule(layer).weight
    assert len(weight) == width
    assert weight.dtype == dtype
    assert num_params(wider) > num_params(model)


def test_the_number_of_parameters_follows_the_formula() -> None:
    model, x = made(Everything()), images()

    def added(layer: str, width: int) -> int:
        return num_params(op.morph.widen(model, layer, width, x)) - num_params(model)

    # expand: a row of 8 and a bias, two scales and shifts, a kernel of 9 and its bias, and 4 + 4 + 1 of the gate; a
    # column of the 8 outputs of the projection.
    assert added("expand", 15) == 3 * (8 + 1 + 2 + 9 + 1 + 2 + 4 + 4 + 1 + 8)
    # side: a kernel of 27 and a bias; 4 pixels of it in each of 10 hidden features.
    assert added("side", 8) == 2 * (27 + 1 + 4 * 10)
    assert added("hidden", 12) == 2 * (56 + 1 + 5)


# Layers that are refused besides the last one; the reasons are in REFUSED below.
STAYS: dict[type[Any], set[str]] = {
    networks.Halves: {"stem"},
    networks.Grouped: {"stem", "grouped", "wider"},
    networks.Normalised: {"stem"},
    networks.HardCoded: {"conv"},
    networks.Padded: {"conv"},
    networks.Unknown: {"conv"},
    networks.Auxiliary: {"auxiliary"},
    networks.Chunked: {"stem", "point"},
    networks.Response: {"stem", "conv"},
    networks.Places: {"stem", "one", "map"},
    networks.Standardised: {"stem", "conv"},
    networks.Told: {"stem", "blocks.0.conv2", "blocks.1.conv2"},
    networks.TokenMix: {"mlp.2", "proj"},
    networks.Einsum: {"mlp.2", "out"},
    networks.Encoder: {"mlp.2", "layer.self_attn.out_proj", "layer.linear2"},
}
ODD = [kind for kind in IMAGES if kind is not networks.Residual]


@pytest.mark.parametrize("kind", [*ODD, networks.TokenMix, networks.Einsum, networks.Encoder])
def test_every_layer_of_odd_networks_is_widened_exactly_or_refused(kind: type[Any]) -> None:
    """What convert is tested on: shuffles, halves, padding, transposed convolutions, groups, heads, tied weights."""
    model = made(kind(), torch.float64)
    x = torch.randint(20, (2, 6)) if issubclass(kind, Words) else images(2, dtype=torch.float64)
    refused = set()
    for path, layer in model.named_modules():
        if not isinstance(layer, LAYERS):
            continue
        width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        try:
            wider = op.morph.widen(model, path, width + width // 4, x)
        except ConfigurationError:
            refused.add(path)
            continue
        assert_same(model, wider, x, 1e-10)
        assert len(wider.get_submodule(path).weight) > len(layer.weight) or kind is networks.Upscaled
    assert refused == STAYS.get(kind, set()) | {"head"}


@pytest.mark.parametrize(
    ("layer", "width"), {"stage1.1.conv2": 21, "stage2.0.conv1": 40, "stage2.0.shortcut": 33}.items()
)
def test_residual_stages_share_their_channels(layer: str, width: int) -> None:
    model, x = made(networks.Residual()), images()
    wider = op.morph.widen(model, layer, width, x)
    assert_same(model, wider, x, 1e-5)
    sizes = [wider.stem.out_channels, wider.stage1[2].conv2.out_channels, wider.stage2[1].conv2.out_channels]
    assert sizes == {21: [21, 21, 32], 40: [16, 16, 32], 33: [16, 16, 33]}[width]


def test_heads_of_attention_are_copied_whole() -> None:
    model, x = made(networks.TokenMix(), torch.float64), torch.randint(20, (2, 6))
    wider = op.morph.widen(model, "qkv", 144, x)  # 6 heads of 8, three times
    assert wider.num_heads == 6
    assert wider.proj.in_features == 48
    assert_same(model, wider, x, 1e-10)
    with pytest.raises(ConfigurationError, match=r"multiple of 24 .*width=100; take 120"):
        op.morph.widen(model, "qkv", 100, x)


def test_copies_have_the_rows_of_their_originals_and_share_their_columns() -> None:
    model, x = made(Everything()), images()
    wider = op.morph.widen(model, "stem", 20, x, seed=1)
    old, rows = model.stem.weight, wider.stem.weight
    assert torch.equal(rows[:8], old)
    origin = torch.tensor([[bool(torch.equal(row, other)) for other in old] for row in rows]).int().argmax(1)
    assert torch.equal(rows, old[origin])
    num = torch.bincount(origin, minlength=8)
    assert num.max() > 2  # drawn with replacement
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(getattr(wider.bn, name), getattr(model.bn, name)[origin])
    torch.testing.assert_close(
        wider.expand.weight, model.expand.weight[:, origin] / num[origin][:, None, None]
    )
    # Behind the concatenation the channels of `side` come first, and each channel has 4 pixels.
    columns, before = wider.hidden.weight.reshape(10, 26, 4), model.hidden.weight.reshape(10, 14, 4)
    assert torch.equal(columns[:, :6], before[:, :6])
    torch.testing.assert_close(columns[:, 6:], before[:, 6:][:, origin] / num[origin][:, None])


def test_without_noise_the_copies_have_equal_gradients() -> None:
    model, x = made(Everything(), torch.float64), images(8, dtype=torch.float64)
    wider = op.morph.widen(model, "expand", 24, x).train()
    origin = _origin(model.expand, wider.expand)
    targets = torch.arange(8) % 5
    functional.cross_entropy(wider(x), targets).backward()
    for name, dim in {
        "expand.weight": 0,
        "bn1.weight": 0,
        "depthwise.weight": 0,
        "project.weight": 1,
    }.items():
        gradient = wider.get_parameter(name).grad.movedim(dim, 0)
        assert float(gradient.abs().max()) > 1e-6
        for channel in range(12, 24):
            torch.testing.assert_close(gradient[channel], gradient[origin[channel]], rtol=1e-9, atol=1e-12)


def _origin(before: nn.Conv2d, after: nn.Conv2d) -> list[int]:
    return [next(i for i, old in enumerate(before.weight) if torch.equal(row, old)) for row in after.weight]


def test_noise_moves_the_copies_and_only_them() -> None:
    model, x = made(Everything()), images()
    plain, noisy = (op.morph.widen(model, "expand", 24, x, noise=noise, seed=2) for noise in (0.0, 0.01))
    origin = _origin(model.expand, plain.expand)
    for name in ("expand.weight", "expand.bias", "depthwise.weight", "excite.weight"):
        old, new = plain.get_parameter(name), noisy.get_parameter(name)
        assert torch.equal(new[:12], old[:12]), name
        assert bool(
            (new[12:] != old[12:]).flatten(1).any(1).all() if old.dim() > 1 else (new != old)[12:].all()
        )
        deviation = float((new - old)[12:].detach().std() / model.get_parameter(name).detach().std())
        assert 0.003 < deviation < 0.03, name
    for name, old in plain.state_dict().items():
        if name.split(".")[0] not in ("expand", "depthwise", "excite"):
            assert torch.equal(old, noisy.state_dict()[name]), name
    # The symmetry is broken: two copies no longer have equal gradients.
    noisy(x).square().sum().backward()
    gradient = noisy.expand.weight.grad
    assert not torch.allclose(gradient[12], gradient[origin[12]], rtol=1e-3)
    assert 1e-5 < change(plain, noisy, x, training=False) < 1


def test_the_seed_alone_decides() -> None:
    model, x = made(Everything()), images()
    state = torch.get_rng_state()
    first = op.morph.widen(model, "stem", 20, x, noise=0.1, seed=4).state_dict()
    again = op.morph.widen(model, "stem", 20, x, noise=0.1, seed=4).state_dict()
    other = op.morph.widen(model, "stem", 20, x, noise=0.1, seed=5).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["bn.bias"], other["bn.bias"])
    assert torch.equal(state, torch.get_rng_state())


def test_the_network_stays_as_it_is_and_the_result_is_plain() -> None:
    model, x = made(Everything()).train(), images()
    model.bn1.eval()
    model.side.weight.requires_grad_(False)
    before, kept = copy.deepcopy(model.state_dict()), x.clone()
    wider = op.morph.widen(model, "side", 9, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(x, kept)
    assert not {id(tensor) for tensor in model.parameters()} & {id(tensor) for tensor in wider.parameters()}
    assert wider.training
    assert not wider.bn1.training
    assert wider.stem.weight.requires_grad
    assert not wider.side.weight.requires_grad
    assert [type(m) for m in wider.modules()] == [type(m) for m in model.modules()]
    assert (wider.side.out_channels, wider.hidden.in_features) == (9, 17 * 4)
    assert not any(module._forward_hooks for module in wider.modules())
    wider.eval()
    loaded = pickle.loads(pickle.dumps(wider))
    assert torch.equal(loaded(x), wider(x))
    buffer = io.BytesIO()
    torch.save(wider.state_dict(), buffer)
    exported = torch.export.export(wider, (x,)).module()
    torch.testing.assert_close(exported(x), wider(x))


def test_sizes_are_those_of_fresh_layers() -> None:
    """A layer of the new sizes takes the weights: no attribute is left behind."""
    model = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4, affine=False), nn.PReLU(4), nn.Conv1d(4, 8, 3, groups=4),
        nn.GroupNorm(4, 8), nn.InstanceNorm1d(8, affine=True), nn.ConvTranspose1d(8, 3, 2), nn.Tanh(),
        nn.Conv1d(3, 2, 1),
    )  # fmt: skip
    model, x = made(model), torch.randn(3, 2, 9)
    wider = op.morph.widen(op.morph.widen(model, "0", 7, x), "6", 5, x)
    assert_same(model, wider, x, 1e-5)
    fresh = nn.Sequential(
        nn.Conv1d(2, 7, 3), nn.BatchNorm1d(7, affine=False), nn.PReLU(7), nn.Conv1d(7, 14, 3, groups=7),
        nn.GroupNorm(7, 14), nn.InstanceNorm1d(14, affine=True), nn.ConvTranspose1d(14, 5, 2), nn.Tanh(),
        nn.Conv1d(5, 2, 1),
    )  # fmt: skip
    fresh.load_state_dict(wider.state_dict())
    assert str(fresh) == str(wider)
    assert wider[2].num_parameters == 7


def test_groups_of_a_normalisation_are_copied_whole() -> None:
    model, x = (
        made(nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 4, 1))),
        images(),
    )
    wider = op.morph.widen(model, "0", 20, x)
    assert wider[1].num_groups == 5
    assert_same(model, wider, x, 1e-5)
    with pytest.raises(ConfigurationError, match=r"multiple of 4 for '0', .* got width=10; take 12"):
        op.morph.widen(model, "0", 10, x)


def test_layer_normalisation_takes_multiples_of_the_width() -> None:
    model = made(nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 4)))
    x = torch.randn(5, 3)
    assert_same(model, op.morph.widen(model, "0", 18, x), x, 1e-5)
    with pytest.raises(
        ConfigurationError, match=r"equally often where '1' normalises .* take a multiple of 6"
    ):
        op.morph.widen(model, "0", 8, x)


class NormOfBoth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.norm, self.head = (
            nn.Linear(8, 6),
            nn.Linear(8, 6),
            nn.LayerNorm(12),
            nn.Linear(12, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(torch.cat([self.one(x), self.two(x)], -1)))


class MeanOfChannels(nn.Module):
    """A map of the mean over many channels: one more channel changes it by little."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 64, 1), nn.Conv2d(64, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head(x + 0.001 * x.mean(1, keepdim=True)) * 100


class Told(nn.Module):
    """Code that states a number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head(x.reshape(len(x), 8, *x.shape[2:]))


def chain(*between: nn.Module, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), *between, nn.Conv2d(width, 4, 1))


REFUSED: dict[str, tuple[Any, str, int, str]] = {
    "unknown path": (chain, "1x", 9, "layer must be the path of a module.*'1x'; .*'0'"),
    "close path": (networks.Residual, "stage1.0.conv", 20, "did you mean 'stage1.0.conv[12]'"),
    "no width": (lambda: chain(nn.BatchNorm2d(8)), "1", 9, "must name a linear layer.*'1' is a BatchNorm2d; .*'0'"),
    "the network itself": (chain, "", 9, "'' is a Sequential"),
    "not wider": (chain, "0", 8, "larger than now, but '0' has 8 outputs and got width=8"),
    "narrower": (chain, "0", 3, "larger than now, but '0' has 8 outputs and got width=3"),
    "output": (chain, "1", 9, "'1' is fixed: it makes what the model returns"),
    "groups": (lambda: chain(nn.Conv2d(8, 8, 1, groups=2)), "0", 12, "depthwise.*'1' has 2 groups of 8 channels"),
    "own groups": (lambda: chain(nn.Conv2d(8, 8, 1, groups=2)), "1", 12, "depthwise.*'1' has 2 groups of 8"),
    "no rule": (networks.Unknown, "conv", 20, "'conv' is fixed: linalg_qr has no rule"),
    "two ways": (networks.Halves, "stem", 40, "used in the same way.*'stem' go to different places"),
    "stated size": (Told, "conv", 10, "code must take another number of channels.*'conv' has more outputs"),
    "mean": (MeanOfChannels, "conv", 65, "widening 'conv' must not change .* changes by"),
    "softmax": (lambda: chain(nn.Softmax(1)), "0", 9, "widening '0' must not change .* changes by"),
    "response": (lambda: chain(nn.LocalResponseNorm(3)), "0", 9, "'0'"),
    "norm of more": (NormOfBoth, "one", 12, "'norm' normalises over them together with other channels"),
    "one output": (lambda: chain(width=1), "0", 2, "'0' is fixed: there is only one"),
    "computed weight": (
        lambda: nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 1)), nn.Conv2d(8, 4, 1)),
        "0",
        9,
        "hold its own weight",
    ),
    "choices": (lambda: op.Supernet(op.ElasticConv2d(3, op.Choice("w", [4, 8]), 1)), "module", 9, "free of choices"),
    "no layer": (lambda: nn.Sequential(nn.ReLU()), "0", 9, "must have a linear layer"),
    "does not run": (lambda: nn.Sequential(nn.Linear(7, 8), nn.Linear(8, 2)), "0", 9, "run with the example inputs"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_widened_is_refused_in_one_line(case: str) -> None:
    build, layer, width, message = REFUSED[case]
    with pytest.raises(ConfigurationError, match=message) as caught:
        op.morph.widen(build(), layer, width, images(2))
    assert "\n" not in str(caught.value)
    assert not str(caught.value).removesuffix("...").endswith(".")


def test_a_weight_that_is_used_in_two_ways_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'embedding' and 'head' use in two ways"):
        op.morph.widen(networks.Words(), "mlp.2", 64, torch.zeros(1, 6, dtype=torch.int64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 9.0}, "width must be a whole number, but got 9.0"),
        ({"width": True}, "width must be a whole number, but got True"),
        ({"noise": -0.1}, "noise must be a finite number of 0 or more, but got -0.1"),
        ({"noise": float("nan")}, "noise must be a finite number"),
        ({"noise": "1"}, "noise must be a finite number"),
        ({"seed": -1}, "seed must be a whole number of 0 or more, but got -1"),
        ({"model": 3}, "model must be an nn.Module, but got 3"),
        ({"layer": 0}, "path of a module of the network, but got 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    given = {"model": chain(), "layer": "0", "width": 9, "example_inputs": images(2), **options}
    with pytest.raises(ConfigurationError, match=message):
        op.morph.widen(**given)


def test_weights_that_are_not_finite_are_refused() -> None:
    model = chain()
    model[0].weight.data[0] = torch.nan
    with pytest.raises(ConfigurationError, match="must be finite"):
        op.morph.widen(model, "0", 9, images(2))


def test_several_arguments_and_a_layer_under_two_paths() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
            self.alias = self.conv

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.head(self.alias(x) + self.conv(y))

    model, x = made(Two()), images()
    wider = op.morph.widen(model, "alias", 11, (x, x.flip(0)))
    assert wider.alias is wider.conv
    with torch.no_grad():
        assert float((wider(x, x * 2) - model(x, x * 2)).abs().max()) < 1e-5


def test_a_network_that_only_runs_in_its_own_type_is_widened() -> None:
    class Typed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).relu().float())

    model, x = made(Typed()), images()
    wider = op.morph.widen(model, "conv", 12, x)
    assert_same(model, wider, x, 1e-5)
    assert {tensor.dtype for tensor in wider.parameters()} == {torch.float32}
