"""An extracted network leads to its own modules and tensors, however its modules hold each other."""

from __future__ import annotations

import functools
import types
import weakref
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onepath.cost import params
from onepath.cost.architecture import architecture_cost
from onepath.errors import BindingError
from onepath.nn import ChoiceBlock, ElasticConv2d, ElasticDepth, ElasticLinear, Supernet
from onepath.space import Choice

Pair = namedtuple("Pair", "first second")


@dataclass
class Holder:
    """An object that holds a module."""

    module: nn.Module
    note: str = "note"


class Slots:
    __slots__ = ("module",)

    def __init__(self, module: nn.Module) -> None:
        self.module = module


def _closure(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x)  # noqa: PLW0108 - a closure is what is tested


def _default(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x, layer=module: layer(x)


class Wrapper(nn.Module):
    """A module that no parent registers, around one that is registered."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


WAYS: dict[str, tuple[Callable[[nn.Module], Any], Callable[[Any], Callable[[Tensor], Tensor]]]] = {
    "list": (lambda m: [m], lambda held: held[0]),
    "tuple": (lambda m: (3, m), lambda held: held[1]),
    "dict": (lambda m: {"a": m}, lambda held: held["a"]),
    "dict of lists": (lambda m: {"a": [(m,)]}, lambda held: held["a"][0][0]),
    "key": (lambda m: {m: 1}, lambda held: next(iter(held))),
    "ordered dict": (lambda m: OrderedDict(a=m), lambda held: held["a"]),
    "deque": (lambda m: deque([m], maxlen=2), lambda held: held[0]),
    "set": (lambda m: {m}, lambda held: next(iter(held))),
    "frozenset": (lambda m: frozenset([m]), lambda held: next(iter(held))),
    "namedtuple": (lambda m: Pair(m, 1), lambda held: held.first),
    "bound method": (lambda m: m.forward, lambda held: held),
    "list of bound methods": (lambda m: [m.forward], lambda held: held[0]),
    "partial": (functools.partial, lambda held: held),
    "partial of a bound method": (lambda m: functools.partial(m.forward), lambda held: held),
    "partial with a module": (
        lambda m: functools.partial(lambda layer, x: layer(x), m),
        lambda held: held,
    ),
    "closure": (_closure, lambda held: held),
    "default": (_default, lambda held: held),
    "weak reference": (weakref.ref, lambda held: held()),
    "object": (Holder, lambda held: held.module),
    "slots": (Slots, lambda held: held.module),
    "object in a list": (lambda m: [Holder(m)], lambda held: held[0].module),
    "unregistered module": (lambda m: [Wrapper(m)], lambda held: held[0]),
}


class Keeper(nn.Module):
    """Runs its block by what it keeps in an attribute."""

    def __init__(self, way: str, kept: nn.Module) -> None:
        super().__init__()
        hold, self.reach = WAYS[way]
        self.kept = kept
        self.held = hold(kept)

    def forward(self, x: Tensor) -> Tensor:
        return self.reach(self.held)(x)


def _layers() -> dict[str, nn.Module]:
    return {"k1": nn.Conv2d(2, 2, 1), "k3": nn.Conv2d(2, 2, 3, padding=1)}


@pytest.mark.parametrize("inherit", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_held_leads_to_the_copy(way: str, inherit: bool) -> None:
    supernet = Supernet(nn.Sequential(Keeper(way, nn.Conv2d(2, 2, 1)), ChoiceBlock(_layers())))
    model = supernet.extract(supernet.space.parse("1"), inherit=inherit)
    x = torch.randn(1, 2, 4, 4)
    if inherit:
        assert torch.equal(model(x), supernet(x, supernet.space.parse("1")))
    model(x).sum().backward()
    assert model[0].kept.weight.grad is not None  # type: ignore[union-attr, index]
    assert all(parameter.grad is None for parameter in supernet.parameters())


@pytest.mark.parametrize("way", [way for way in WAYS if "method" not in way])
def test_a_held_block_is_the_one_extracted(way: str) -> None:
    supernet = Supernet(Keeper(way, ChoiceBlock(_layers())))
    costs = []
    for text in "01":
        architecture = supernet.space.parse(text)
        model = supernet.extract(architecture)
        x = torch.randn(1, 2, 4, 4)
        assert torch.equal(model(x), supernet(x, architecture))
        supernet.activate(supernet.space.parse("0"))
        assert not any(isinstance(module, ChoiceBlock) for module in model.modules())
        costs.append(architecture_cost(supernet, architecture, (2, 4, 4)).macs)
    assert costs == [2 * 2 * 16, 2 * 2 * 9 * 16]


def test_monkeypatched_forward_hooks_and_cycles() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)
            self.block = ChoiceBlock(_layers())
            self.seen: list[nn.Module] = []
            self.block.candidates[0].parent = [self]
            self.conv.forward = types.MethodType(nn.Conv2d.forward, self.conv)  # type: ignore[method-assign]
            self.conv.register_forward_hook(lambda *_: self.seen.append(self.conv))
            self.conv.register_forward_hook(self.note)

        def note(self, *_: object) -> None:
            self.seen.append(self)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.block(self.conv(x))
            return out

    net = Net()
    supernet = Supernet(net)
    model = supernet.extract(supernet.space.parse("0"))
    model(torch.zeros(1, 2, 4, 4))
    assert net.seen == []
    assert model.seen == [model.conv, model]  # type: ignore[comparison-overlap]
    assert model.block.parent == [model]  # type: ignore[union-attr]


def test_recurrent_layers_run_their_own_weights() -> None:
    supernet = Supernet(nn.Sequential(ChoiceBlock({"gru": nn.GRU(3, 3), "lstm": nn.LSTM(3, 3)})))
    x = torch.randn(2, 1, 3)
    for text in "01":
        model = supernet.extract(supernet.space.parse(text), inherit=False, seed=4)
        assert not torch.equal(model(x)[0], supernet(x, supernet.space.parse(text))[0])
        model(x)[0].sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


def test_what_lies_outside_is_left() -> None:
    teacher, choice = nn.Linear(2, 2), Choice("c", ["a", "b"])

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = ChoiceBlock({"a": nn.Linear(2, 2), "b": nn.Identity()}, choice)
            self.teacher = [teacher]
            self.choices = {"c": choice}

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.block(x)
            return out

    supernet = Supernet(Net())
    model = supernet.extract(supernet.space.parse("0"))
    assert model.teacher[0] is teacher  # type: ignore[index]
    assert model.choices["c"] is choice  # type: ignore[index]
    assert model.teacher is not supernet.module.teacher


def test_what_cannot_be_copied_is_named() -> None:
    class Stubborn:
        def __new__(cls, module: nn.Module) -> Stubborn:
            made = super().__new__(cls)
            made.module = module  # type: ignore[attr-defined]
            return made

    net = nn.Sequential(nn.Linear(2, 2), ChoiceBlock([nn.Linear(2, 2)]))
    net.odd = Stubborn(net[0])  # type: ignore[assignment]
    supernet = Supernet(net)
    with pytest.raises(BindingError, match=r"root: what a module .* attribute 'odd' of Sequential"):
        supernet.extract(supernet.space.parse("0"))


def test_blocks_in_a_plain_list_alone_are_refused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.known = ChoiceBlock([nn.Identity()])
            self.blocks = [nn.Sequential(ChoiceBlock([nn.Identity()]))]

    with pytest.raises(BindingError, match=r"root: .*'blocks' of Net holds Sequential in a plain list"):
        Supernet(Net())


class Tied(nn.Module):
    """Layers that share their weight and a buffer, plain and elastic, and with a candidate."""

    def __init__(self) -> None:
        super().__init__()
        width = Choice("width", [2, 4])
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.block = ChoiceBlock({"tied": nn.Linear(4, 4), "own": nn.Linear(4, 4)})
        self.second.weight = self.first.weight
        self.block.candidates[0].weight = self.first.weight
        self.up, self.up2 = ElasticLinear(4, width), ElasticLinear(4, width)
        self.up2.weight = self.up.weight
        self.first.register_buffer("scale", torch.ones(1))
        self.second.register_buffer("scale", self.first.scale)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(self.block(self.second(self.first(x)))) + self.up2(x)
        return out


@pytest.mark.parametrize("inherit", [True, False])
def test_shared_parameters_stay_shared_and_are_counted_once(inherit: bool) -> None:
    supernet = Supernet(Tied())
    for architecture in supernet.space.enumerate():
        model: Any = supernet.extract(architecture, inherit=inherit)
        assert model.first.weight is model.second.weight
        assert model.up.weight is model.up2.weight
        assert model.first.scale is model.second.scale
        assert (model.block.weight is model.first.weight) == (architecture.options["block"] == "tied")
        width = int(architecture.options["width"])
        own = 16 if architecture.options["block"] == "own" else 0
        expected = 16 + 4 + 4 + own + 4 + 4 * width + 2 * width
        assert params(supernet, architecture) == expected
        assert sum(p.numel() for p in model.parameters()) == expected


def test_elastic_layers_of_other_sizes_cannot_share() -> None:
    first, second = (ElasticLinear(4, Choice(name, [2, 4])) for name in "ab")
    second.weight = first.weight
    with pytest.raises(
        BindingError, match="1: elastic layers that share a parameter must have the same sizes"
    ):
        Supernet(nn.Sequential(first, second))
    width = Choice("w", [2, 4])
    first, second = ElasticLinear(4, width * 2), ElasticLinear(4, width * 2)
    second.weight = first.weight
    Supernet(nn.Sequential(first, second))


def test_depth_0_runs_no_block() -> None:
    blocks = [nn.Conv2d(2, 2, 3, padding=1) for _ in range(2)]
    supernet = Supernet(nn.Sequential(ElasticDepth(blocks, Choice("depth", [0, 1, 2])), nn.Flatten()))
    x = torch.randn(1, 2, 4, 4)
    for architecture, depth in zip(supernet.space.enumerate(), (0, 1, 2), strict=True):
        y = x
        for block in blocks[:depth]:
            y = block(y)
        assert torch.equal(supernet(x, architecture), y.flatten(1))
        assert torch.equal(supernet.extract(architecture)(x), y.flatten(1))
        assert params(supernet, architecture) == depth * 38


def test_a_copy_on_meta_has_its_own_selection() -> None:
    supernet = Supernet(nn.Sequential(ElasticConv2d(2, Choice("w", [2, 4]), 1)))
    small, large = supernet.space.enumerate()
    supernet.activate(large)
    twin = supernet.on_meta()
    twin.activate(small)
    assert supernet(torch.zeros(1, 2, 1, 1)).shape[1] == 4
    assert twin(torch.zeros(1, 2, 1, 1, device="meta")).shape[1] == 2
    assert all(parameter.is_meta for parameter in twin.parameters())
