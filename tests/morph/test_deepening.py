from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from conversion import networks
from morph.changed import assert_same, change, images, made, num_params
from torch import Tensor, nn
from torch.nn import functional

import onepath as op
from onepath.errors import ConfigurationError


class Mixed(nn.Module):
    """Activations as modules, as functions and in place, with and without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8, eps=1e-3)
        self.block = nn.Sequential(
            nn.Conv2d(8, 12, (1, 3), padding=(0, 1)), nn.BatchNorm2d(12), nn.ReLU6(inplace=True),
            nn.Conv2d(12, 12, 5, padding=2, groups=12), nn.BatchNorm2d(12, momentum=0.3), nn.Hardtanh(-2, 3),
            nn.Conv2d(12, 8, 1), nn.BatchNorm2d(8),
        )  # fmt: skip
        self.plain = nn.Conv2d(8, 6, 3)
        self.hidden, self.norm, self.head = nn.Linear(6, 10), nn.BatchNorm1d(10), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn(self.stem(x)), inplace=True)
        y = self.block(x)
        y += x
        y = torch.clamp(self.plain(y), -1, 4).mean((2, 3))
        return self.head(functional.relu(self.norm(self.hidden(y))))


POINTS = {
    "stem": "bn",
    "block.0": "block.1",
    "block.3": "block.4",
    "block.6": "block.7",
    "plain": "plain",
    "hidden": "norm",
    "head": "head",
}


@pytest.mark.parametrize(("layer", "point"), POINTS.items())
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_deeper_network_computes_the_same(
    layer: str, point: str, dtype: torch.dtype, most: float
) -> None:
    model, x = made(Mixed(), dtype), images(8, dtype=dtype)
    deeper = op.morph.deepen(model, layer, x)
    assert_same(model, deeper, x, most)
    block, old = deeper.get_submodule(point), model.get_submodule(layer)
    assert type(block.added) is type(old)
    assert block.added.weight.dtype == dtype
    num = len(old.weight)
    area = getattr(block.added.weight[0, 0], "numel", int)() if old.weight.dim() > 2 else 1
    inside = area * num * (1 if getattr(old, "groups", 1) > 1 else num)
    scales = 0 if point == layer else 2 * num
    bias = 0 if old.bias is None else num
    assert num_params(deeper) - num_params(model) == inside + bias + scales


def test_what_is_inserted() -> None:
    model, x = made(Mixed()), images(8)
    block = op.morph.deepen(model, "block.3", x).block[4]
    assert [name for name, _ in block.named_children()] == ["kept", "activation", "added", "norm"]
    assert str(block.activation) == str(nn.Hardtanh(-2, 3))
    assert (block.added.groups, block.added.padding, block.added.bias is None) == (12, (2, 2), False)
    assert (block.norm.momentum, block.norm.eps) == (0.3, 1e-5)
    assert str(op.morph.deepen(model, "block.0", x).block[1].activation) == "ReLU6()"
    assert str(op.morph.deepen(model, "plain", x).plain.activation) == str(nn.Hardtanh(-1, 4))
    stem = op.morph.deepen(model, "stem", x).bn
    assert (str(stem.activation), stem.added.bias, stem.norm.eps) == ("ReLU()", None, 1e-3)
    assert [name for name, _ in op.morph.deepen(model, "block.6", x).block[7].named_children()] == [
        "kept",
        "added",
        "norm",
    ]


def test_the_new_normalisation_is_the_identity_in_both_modes() -> None:
    """With a scale of 1 and a shift of 0, training mode would normalise what comes in."""
    model, x = made(Mixed(), torch.float64).train(), images(16, dtype=torch.float64)
    deeper = op.morph.deepen(model, "stem", x)
    seen: list[tuple[Tensor, Tensor]] = []
    deeper.bn.norm.register_forward_hook(lambda _, args, output: seen.append((args[0], output)))
    deeper(x)  # training mode comes first: it changes the statistics afterwards
    before, after = seen[0]
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)
    norm = op.morph.deepen(model, "stem", x).bn.norm
    mean, variance = before.mean((0, 2, 3)), before.var((0, 2, 3), correction=0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    torch.testing.assert_close(norm.bias.data, mean)
    torch.testing.assert_close(norm.weight.data, (variance + norm.eps).sqrt())
    nn.init.ones_(norm.weight)
    assert float((norm(before) - before).detach().abs().max()) > 0.1


def test_five_morphisms_in_a_row() -> None:
    model, x = made(Mixed()), images(8)
    changed = op.morph.widen(model, "stem", 11, x, seed=1)
    changed = op.morph.deepen(changed, "block.0", x)
    changed = op.morph.widen(changed, "block.1.added", 17, x, seed=2)
    changed = op.morph.deepen(changed, "block.1.added", x)
    changed = op.morph.widen(changed, "plain", 9, x, seed=3)
    assert_same(model, changed, x, 1e-4)
    changed = op.morph.deepen(op.morph.deepen(changed, "hidden", x), "hidden", x)
    assert_same(model, changed, x, 1e-4)
    assert changed.norm.kept.kept.num_features == 10
    assert changed.block[3].groups == 17


def test_an_architecture_of_a_space() -> None:
    supernet = op.spaces.build("nasbench-macro", num_classes=5, input_size=8, width=0.25)
    model = made(supernet.extract(supernet.space.parse("11021012"))).train()
    x = images(16)
    paths = [path for path, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    grouped = next(path for path in paths if model.get_submodule(path).groups > 1)
    changed = op.morph.widen(model, paths[0], 13, x)
    changed = op.morph.deepen(changed, paths[0], x)
    changed = op.morph.widen(changed, grouped, model.get_submodule(grouped).out_channels + 5, x)
    changed = op.morph.deepen(changed, paths[-1], x)
    changed = op.morph.deepen(changed, grouped, x)
    assert_same(model, changed, x, 1e-4)
    assert all(
        type(module).__module__.startswith(("torch.nn", "onepath.spaces")) for module in changed.modules()
    )
    # The new layers learn: the network is no dead copy.
    added = [module for path, module in changed.named_modules() if path.endswith("added")]
    before = [layer.weight.detach().clone() for layer in added]
    optimizer = torch.optim.SGD(changed.parameters(), 0.1)
    functional.cross_entropy(changed(x), torch.arange(16) % 5).backward()
    optimizer.step()
    assert len(added) == 3
    assert all(not torch.equal(old, layer.weight) for old, layer in zip(before, added, strict=True))


@pytest.mark.parametrize(
    ("layers", "kind"),
    [
        ((nn.Conv1d(3, 6, 3, dilation=2), nn.BatchNorm1d(6), nn.ReLU(), nn.Conv1d(6, 2, 1)), nn.Conv1d),
        ((nn.Conv3d(3, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(), nn.Conv3d(6, 2, 1)), nn.Conv3d),
        ((nn.Conv1d(3, 6, 3, stride=2, padding_mode="circular", padding=1), nn.ReLU(), nn.Conv1d(6, 2, 1)), nn.Conv1d),
        ((nn.Conv1d(3, 6, 1), nn.GroupNorm(2, 6), nn.ReLU(), nn.Conv1d(6, 2, 1)), nn.Conv1d),
        ((nn.Conv1d(3, 6, 1, groups=3), nn.InstanceNorm1d(6, affine=True), nn.ReLU()), nn.Conv1d),
        ((nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6, affine=False), nn.ReLU(inplace=True)), nn.Conv1d),
        ((nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6, track_running_stats=False), nn.ReLU()), nn.Conv1d),
        ((nn.Linear(9, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2)), nn.Linear),
        ((nn.Linear(9, 6), nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2)), nn.Linear),
        ((nn.Linear(9, 6), nn.Flatten(), nn.Linear(18, 2)), nn.Linear),
        ((nn.Linear(9, 6),), nn.Linear),
    ],
)  # fmt: skip
def test_every_kind_of_layer_and_normalisation(layers: tuple[nn.Module, ...], kind: type[nn.Module]) -> None:
    model = made(nn.Sequential(*layers))
    x = torch.randn(4, 3, *((5, 5, 9) if isinstance(layers[0], nn.Conv3d) else (9,)))
    deeper = op.morph.deepen(model, "0", x)
    assert change(model, deeper, x, training=False) < 1e-5
    if not any(isinstance(layer, nn.Dropout) for layer in layers):
        assert change(model, deeper, x, training=True) < 1e-5
    (added,) = [module for path, module in deeper.named_modules() if path.endswith("added")]
    assert type(added) is kind
    normalised = [isinstance(layer, nn.BatchNorm1d | nn.BatchNorm3d) for layer in layers]
    assert any(normalised) == any(path.endswith("norm") for path, _ in deeper.named_modules())
    is_active = any(isinstance(layer, nn.ReLU) for layer in layers)
    assert is_active == any(path.endswith("activation") for path, _ in deeper.named_modules())


def test_a_network_that_is_one_layer() -> None:
    model, x = made(nn.Linear(3, 4)), torch.randn(5, 3)
    deeper = op.morph.deepen(model, "", x)
    assert [name for name, _ in deeper.named_children()] == ["kept", "added"]
    assert_same(model, deeper, x, 1e-6)


def test_the_network_and_the_random_state_stay_as_they_are() -> None:
    model, x = made(Mixed()).train(), images(8)
    model.bn.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    deeper = op.morph.deepen(model, "stem", x)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert isinstance(model.bn, nn.BatchNorm2d)
    modes = {path: module.training for path, module in deeper.named_modules()}
    frozen = {"bn", "bn.kept", "bn.activation", "bn.added", "bn.norm"}
    assert {path for path, training in modes.items() if not training} == frozen
    kept = {name: value for name, value in deeper.state_dict().items() if not name.startswith("bn.")}
    assert all(torch.equal(value, before[name]) for name, value in kept.items())
    assert not any(module._forward_hooks for module in deeper.modules())
    loaded = pickle.loads(pickle.dumps(deeper.eval()))
    assert torch.equal(loaded(x), deeper(x))


def test_examples_of_zeros_do_not_hide_a_wrong_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 1, bias=False)))
    x = torch.zeros(2, 3, 8, 8)
    op.morph.deepen(model, "0", x)
    monkeypatch.setattr("torch.nn.init.dirac_", lambda weight, groups: nn.init.zeros_(weight))
    with pytest.raises(ConfigurationError, match=r"deepening '0' must not change .* changes by"):
        op.morph.deepen(model, "0", x)


class Listed(nn.Module):
    """A network that calls its layers from a list besides its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
        self.layers = [self.first, self.second]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Read(nn.Module):
    """A network that reads an attribute of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x.to(self.first.weight.dtype))


def followed(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), activation, nn.Conv2d(8, 2, 1))


REFUSED: dict[str, tuple[Any, str, str]] = {
    "unknown path": (Mixed, "block.9", "layer must be the path of a module.*'block.9'; did you mean 'block.[0-9]'"),
    "no layer": (Mixed, "bn", "must name a linear layer or a convolution, but 'bn' is a BatchNorm2d"),
    "even kernel": (lambda: nn.Sequential(nn.Conv2d(3, 8, (3, 2))), "0", r"odd sides .* '0' has \(3, 2\)"),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 3)), "0", "'0' is a ConvTranspose2d"),
    "groups": (networks.Grouped, "grouped", "depthwise .* 'grouped' has 8 groups of 32 channels"),
    "runs twice": (networks.Shared, "conv", "must run once .* 'conv' runs 3 times"),
    "does not run": (networks.Auxiliary, "auxiliary", "must run once .* 'auxiliary' runs 0 times"),
    "choices": (lambda: op.Supernet(op.ElasticConv2d(3, op.Choice("w", [4, 8]), 1)), "module", "free of choices"),
    "called in another way": (Listed, "first", "calls what follows 'first' in another way|must leave"),
    "read": (Read, "first", "deepening 'first' must leave a network that runs, .*AttributeError"),
    "random": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.RReLU(), Noise()), "0", "same finite numbers each time"),
}  # fmt: skip


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_deepened_is_refused_in_one_line(case: str) -> None:
    build, layer, message = REFUSED[case]
    with pytest.raises(ConfigurationError, match=message) as caught:
        op.morph.deepen(build(), layer, images(2))
    assert "\n" not in str(caught.value)


NOT_TWICE = {
    "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "silu": nn.SiLU(), "hardswish": nn.Hardswish(), "gelu": nn.GELU(),
    "elu": nn.ELU(), "leaky_relu": nn.LeakyReLU(), "prelu": nn.PReLU(8), "softplus": nn.Softplus(),
    "mish": nn.Mish(), "hardsigmoid": nn.Hardsigmoid(),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_TWICE)
def test_an_activation_that_cannot_stand_twice_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"f\(f\(x\)\) = f\(x\) .*but {name} follows '0'") as caught:
        op.morph.deepen(followed(NOT_TWICE[name]), "0", images(2))
    assert "\n" not in str(caught.value)


def test_a_batch_of_one_is_refused_where_training_mode_needs_more() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
    with pytest.raises(ConfigurationError, match="example_inputs must be a batch that training mode takes"):
        op.morph.deepen(model, "0", torch.randn(1, 3))
