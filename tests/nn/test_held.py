"""What modules hold of one another in ways that few use, hooks around blocks, and copies that are thrown away."""

from __future__ import annotations

import copy
import itertools
import random
import threading
import types
from collections import ChainMap, OrderedDict, UserList, defaultdict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.cost import module_cost
from onepath.errors import BindingError

Pair = namedtuple("Pair", "first second")


@dataclass(frozen=True, slots=True)
class Slots:
    first: nn.Module
    second: nn.Module


class Last(list[Any]):
    def __init__(self, *items: Any) -> None:
        super().__init__(items)
        self.last = items[-1]


def _objects(*items: Any) -> Any:
    found = np.empty(len(items), dtype=object)
    found[:] = items
    return found


Hold = Callable[[nn.Module, nn.Module], Any]
Take = Callable[[Any], list[Callable[[Tensor], Tensor]]]

HELD: dict[str, tuple[Hold, Take]] = {
    "ordered": (lambda a, b: OrderedDict(a=a, b=b), lambda o: list(o.values())),
    "deque": (lambda a, b: deque([a, b], maxlen=2), list),
    "named tuple": (Pair, list),
    "slots": (Slots, lambda o: [o.first, o.second]),
    "namespace": (lambda a, b: types.SimpleNamespace(a=a, b=b), lambda o: [o.a, o.b]),
    "read-only dict": (lambda a, b: types.MappingProxyType({0: a, 1: b}), lambda o: list(o.values())),
    "default": (lambda a, b: defaultdict(lambda: b, {0: a}), lambda o: [o[0], o[1]]),
    "list with attributes": (Last, lambda o: [o[0], o.last]),
    "user list": (lambda a, b: UserList([a, b]), list),
    "chain": (lambda a, b: ChainMap({0: a}, {1: b}), lambda o: [o[0], o[1]]),
    "array": (lambda a, b: _objects(nn.Sequential(a), b), list),
    "bound forward": (lambda a, b: [a.forward, b.__call__], list),
    "closure": (lambda a, b: lambda x: b(a(x)), lambda o: [o]),
    "lock beside": (lambda a, b: (threading.Lock(), a, b), lambda o: [o[1], o[2]]),
}


class Net(nn.Module):
    def __init__(self, hold: Hold | None = None, take: Take | None = None) -> None:
        super().__init__()
        self.first, self.second = self.block(), self.block()
        self.held = None if hold is None else hold(self.first, self.second)
        self.take = take

    def block(self) -> op.ChoiceBlock:
        return op.ChoiceBlock({"k1": nn.Conv2d(2, 2, 1), "k3": nn.Sequential(nn.Conv2d(2, 2, 3, padding=1))})

    def forward(self, x: Tensor) -> Tensor:
        for step in [self.first, self.second] if self.take is None else self.take(self.held):
            x = step(x)
        return x


@pytest.mark.parametrize("kind", HELD)
def test_what_is_held_leads_to_the_extracted_network(kind: str) -> None:
    supernet = op.Supernet(Net(*HELD[kind])).eval()
    x = torch.randn(1, 2, 4, 4)
    for text, macs in (("0,0", 2 * 64), ("1,0", 10 * 64), ("1,1", 18 * 64)):
        architecture = supernet.space.parse(text)
        model = supernet.extract(architecture)
        expected = supernet(x, architecture)
        supernet.activate(supernet.space.parse("0,1"))
        assert torch.equal(model(x), expected)
        assert module_cost(model, (2, 4, 4)).macs == macs
        assert op.cost.macs(supernet, architecture, (2, 4, 4)) == macs


def test_an_iterator_that_holds_blocks_is_an_error_that_names_it() -> None:
    supernet = op.Supernet(Net(lambda a, b: itertools.cycle([a, b]), lambda o: [next(o), next(o)]))
    with pytest.raises(BindingError, match="attribute 'held' of Net, which leads to others"):
        supernet.extract(supernet.space.parse("0,0"))


@pytest.mark.parametrize("hold", [deque, Last, lambda blocks: types.SimpleNamespace(blocks=blocks)])
def test_blocks_that_only_an_object_holds_are_refused(hold: Callable[[Any], Any]) -> None:
    net = Net()
    net.held = hold([Net().first])
    with pytest.raises(
        BindingError, match="root: modules with choices must be submodules, but attribute 'held'"
    ):
        op.Supernet(net)


def test_hooks_of_blocks_and_layers_run_in_the_extracted_network() -> None:
    class Hooked(Net):
        def __init__(self) -> None:
            super().__init__()
            self.layer = op.ElasticConv2d(2, op.Choice("width", [1, 2]), 1)
            self.first.register_forward_pre_hook(lambda _, inputs: (self.second(inputs[0]),))
            self.first.candidates[0].register_forward_hook(lambda _, __, output: output + 1)
            self.first.register_forward_hook(lambda _, __, output: output * 2)
            self.layer.register_forward_hook(lambda _, inputs, output: output - inputs[0].mean())

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.first(x))  # type: ignore[no-any-return]

    supernet = op.Supernet(Hooked()).eval()
    x = torch.randn(1, 2, 4, 4)
    for indices in itertools.product([0, 1], repeat=3):
        architecture = supernet.space.architecture(indices)
        assert torch.equal(supernet.extract(architecture)(x), supernet(x, architecture))


class Stateful(nn.Module):
    """Keeps much beside its buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.generator, self.numpy, self.python = (
            torch.Generator(),
            np.random.default_rng(0),
            random.Random(0),
        )
        self.seen, self.number = types.SimpleNamespace(calls=0), itertools.count()
        self.pair = (threading.Lock(), types.SimpleNamespace(calls=0))
        self.teacher = [nn.BatchNorm2d(2)]

    def forward(self, x: Tensor) -> Tensor:
        self.seen.calls += 1
        self.pair[1].calls += 1
        next(self.number)
        self.teacher[0](x)
        noise = self.numpy.random() + self.python.random()
        return self.conv(x) + noise * torch.rand(1, generator=self.generator).to(x.device)  # type: ignore[no-any-return]

    def state(self) -> list[Any]:
        found = [self.generator.get_state().tolist(), self.numpy.bit_generator.state, self.python.getstate()]
        return [
            *found,
            self.seen.calls,
            self.pair[1].calls,
            repr(self.number),
            self.teacher[0].num_batches_tracked,
        ]


def test_copies_that_are_run_leave_generators_counters_and_teachers_as_they_are() -> None:
    net = Net()
    net.second.candidates[0] = stateful = Stateful()
    supernet = op.Supernet(net)
    before = copy.deepcopy(stateful.state())
    architecture = supernet.space.parse("0,0")
    supernet.copied()(torch.randn(1, 2, 4, 4), architecture)
    assert stateful.state() == before
    assert op.cost.macs(supernet, architecture, (2, 4, 4)) == 128
    assert stateful.state() == before
    assert module_cost(stateful, (2, 4, 4)).macs == 64
    assert stateful.state() == before


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_a_traced_module_is_copied_trainable_and_counted() -> None:
    net = Net()
    net.first.candidates[0] = torch.jit.trace(nn.Conv2d(2, 2, 1), torch.randn(1, 2, 4, 4))
    supernet = op.Supernet(net)
    architecture = supernet.space.parse("0,0")
    assert all(
        weight.requires_grad and weight.is_leaf for weight in supernet.extract(architecture).parameters()
    )
    assert all(weight.requires_grad and weight.is_leaf for weight in supernet.copied().parameters())
    assert op.cost.macs(supernet, architecture, (2, 4, 4)) == 128
    with pytest.raises(BindingError, match=r"first\.candidates\.0: a module that owns parameters must have"):
        supernet.extract(architecture, inherit=False)


class Unusual(nn.Module):
    """A weight of five dimensions and a complex one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3, padding=1)
        self.filter = nn.Parameter(torch.ones(2, 1, 1, dtype=torch.cfloat))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.filter)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(self.conv(x.unsqueeze(1)).squeeze(1)) * self.filter)


def test_weights_of_five_dimensions_and_complex_ones_are_trained() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 2), dtype=np.uint8)
    data = op.load_data((images, np.arange(40) % 2))
    block = op.ChoiceBlock({"a": Unusual(), "b": nn.Identity()})
    net = nn.Sequential(block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    supernet = op.Supernet(net)
    op.train_supernet(supernet, data, sampler=op.UniformSampler(supernet.space), epochs=2, seed=0)
    own = block.candidates[0]
    assert isinstance(own, Unusual)
    assert not torch.equal(own.filter, torch.ones_like(own.filter))
    assert own.filter.isfinite().all()
