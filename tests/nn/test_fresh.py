"""Fresh weights are fresh whatever computes a weight, and what cannot be initialised is named."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from onepath.errors import BindingError
from onepath.nn import ChoiceBlock, ElasticConv2d, Supernet
from onepath.nn.fresh import reset_weights
from onepath.space import Choice


class Symmetric(nn.Module):
    """A parametrisation without a right inverse."""

    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).transpose(-1, -2)


class Scaled(nn.Module):
    """A parametrisation with a parameter and a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("factor", torch.full((), 2.0))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale * self.factor

    def right_inverse(self, x: Tensor) -> Tensor:
        return x / (self.scale * self.factor)


def _old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return weight_norm(layer)


WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": _old_weight_norm,
    "spectral_norm": spectral_norm,
    "pruning": lambda m: prune.l1_unstructured(m, "weight", 0.25),
    "parametrizations.weight_norm": parametrizations.weight_norm,
    "parametrizations.spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "no right inverse": lambda m: parametrize.register_parametrization(m, "weight", Symmetric()),
    "own parameter": lambda m: parametrize.register_parametrization(m, "weight", Scaled()),
    "two": lambda m: parametrize.register_parametrization(
        parametrizations.weight_norm(m), "weight", Scaled()
    ),
}


@torch.no_grad()
def _train(module: nn.Module) -> None:
    for tensor in module.parameters():
        tensor.add_(torch.randn_like(tensor))
    module(torch.randn(3, 4))


@pytest.mark.parametrize("name", WRAPS)
def test_a_computed_weight_is_fresh(name: str) -> None:
    layer = WRAPS[name](nn.Linear(4, 4))
    supernet = Supernet(nn.Sequential(ChoiceBlock({"a": layer, "b": nn.Identity()})))
    _train(layer)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    path = supernet.space.parse("0")
    models: list[Any] = [supernet.extract(path, inherit=False, seed=seed) for seed in (1, 1, 2)]
    inherited = supernet.extract(path)
    x = torch.randn(5, 4)
    assert torch.equal(inherited.eval()(x), layer.eval()(x))
    assert torch.equal(models[0].eval()(x), models[1].eval()(x))
    assert not torch.equal(models[0](x), models[2].eval()(x))
    for key, value in models[0].state_dict().items():
        if value.dim() > 1 and "mask" not in key and "base" not in key and name != "orthogonal":
            assert not torch.equal(value, before[key.removeprefix("0.")]), key
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    models[0].train()(x).sum().backward()
    assert all(p.grad is not None for p in models[0].parameters())


@pytest.mark.parametrize("name", ["weight_norm", "parametrizations.weight_norm", "own parameter", "two"])
def test_a_computed_weight_is_that_of_the_bare_layer(name: str) -> None:
    layer = WRAPS[name](nn.Linear(4, 4))
    reset_weights(layer, 3)
    bare = nn.Linear(4, 4)
    reset_weights(bare, 3)
    x = torch.randn(2, 4)
    torch.testing.assert_close(layer(x), bare(x))


def test_spectral_norm_is_that_of_a_fresh_wrap() -> None:
    for wrap in (spectral_norm, parametrizations.spectral_norm):
        layer = wrap(nn.Linear(6, 4))
        _train_spectral = layer.train()
        _train_spectral(torch.randn(2, 6))
        reset_weights(layer, 0)
        for _ in range(30):
            layer(torch.randn(2, 6))
        torch.testing.assert_close(torch.linalg.matrix_norm(layer.weight.detach(), 2), torch.tensor(1.0))


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Forgets(nn.Linear):
    """Inherits a reset_parameters that knows nothing of the gain."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.gain = nn.Parameter(torch.ones(4))


class Raises(Scale):
    def reset_parameters(self) -> None:
        raise RuntimeError("not yet")


class Listed(nn.Module):
    def __init__(self, *, resets: bool) -> None:
        super().__init__()
        self.many = nn.ParameterList([nn.Parameter(torch.ones(4))])
        self.named = nn.ParameterDict({"a": nn.Parameter(torch.ones(4))})
        if resets:
            self.reset_parameters = self._fill

    def _fill(self) -> None:
        for parameter in self.parameters():
            nn.init.ones_(parameter)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Scale(), r"^0.candidates.0: .*Scale has none.* 'gain'"),
        (Forgets(), r"^0.candidates.0: .*Forgets leaves 'gain'"),
        (Raises(), r"^0.candidates.0: reset_parameters .* Raises raised RuntimeError: 'not yet'"),
        (Listed(resets=False), r"^0.candidates.0.many: .*ParameterList has none.* '0'"),
        (nn.Sequential(Scale()), r"^0.candidates.0.0: .*Scale"),
    ],
)
def test_what_cannot_be_initialised_is_named(module: nn.Module, words: str) -> None:
    supernet = Supernet(nn.Sequential(ChoiceBlock([module])))
    with pytest.raises(BindingError, match=words):
        supernet.extract(supernet.space.parse("0"), inherit=False)
    supernet.extract(supernet.space.parse("0"))


def test_parents_and_frozen_parameters_count() -> None:
    frozen = Scale()
    frozen.gain.requires_grad_(False)
    supernet = Supernet(nn.Sequential(ChoiceBlock([nn.Sequential(Listed(resets=True), frozen)])))
    model: Any = supernet.extract(supernet.space.parse("0"), inherit=False)
    assert all(bool((parameter == 1).all()) for parameter in model.parameters())


def test_buffers_of_own_modules_are_those_of_the_start() -> None:
    class Statistic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(2))
            self.register_buffer("kernel", torch.tensor([1.0, 2.0]))

    statistic = Statistic()
    supernet = Supernet(nn.Sequential(statistic, ChoiceBlock([nn.Identity()])))
    statistic.mean.add_(5)
    path = supernet.space.parse("0")
    scratch: Any = supernet.extract(path, inherit=False)
    inherited: Any = supernet.extract(path)
    assert scratch[0].mean.tolist() == [0, 0]
    assert scratch[0].kernel.tolist() == [1, 2]
    assert inherited[0].mean.tolist() == [5, 5]


@pytest.mark.parametrize("name", ["weight_norm", "parametrizations.weight_norm", "spectral_norm"])
def test_elastic_layers_hold_their_weight_themselves(name: str) -> None:
    layer = WRAPS[name](ElasticConv2d(2, Choice("w", [2, 4]), 1))
    with pytest.raises(BindingError, match="0: an elastic layer must hold its weight itself"):
        Supernet(nn.Sequential(layer))
