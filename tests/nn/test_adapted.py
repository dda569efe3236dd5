"""Modules of any class that use a part of their tensors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.errors import SpaceError
from onepath.nn.adapted import Adaptation, Adapted, Part, Size, adapt, restore
from onepath.nn.binding import conditions_by_path
from onepath.space import Choice
from onepath.space.ends import end_of


def leading_part(choice: Choice, num: int, per_unit: int = 1) -> Part:
    return Part((choice,), (per_unit,), np.zeros(num, dtype=np.int64), np.arange(num))


def test_a_leading_part_is_a_view_and_any_other_a_copy() -> None:
    choice, tensor = Choice("width", [2, 4]), torch.arange(8.0).reshape(4, 2)
    part = leading_part(choice, 4)
    assert torch.equal(part.of(tensor, 0, {choice: 2}), tensor[:2])
    assert part.of(tensor, 0, {choice: 2}).data_ptr() == tensor.data_ptr()
    assert part.of(tensor, 0, {choice: 4}) is tensor
    assert part.of(tensor, 0, {}) is tensor
    mixed = Part((choice,), (1,), np.array([0, -1, 0, 0]), np.array([2, 0, 0, 1]))
    assert torch.equal(mixed.of(tensor, 0, {choice: 2}), tensor[1:])
    assert mixed.num({choice: 2}) == 3
    assert torch.equal(mixed.kept({choice: 1}), torch.tensor([1, 2]))


def test_units_of_several_entries_and_several_kinds() -> None:
    heads, width = Choice("heads", [1, 2]), Choice("width", [8, 16])
    owners, ranks = np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 2, 3])
    part = Part((heads, width), (1, 4), owners, ranks)
    assert part.kept({heads: 1, width: 8}) == slice(0, 4)
    assert part.num({heads: 1, width: 8}) == 4
    assert part.num({heads: 2, width: 8}) == 6
    assert part.num({heads: 1, width: 16}) == 6
    assert part.full == 8
    assert Size(part, 4).value({heads: 1, width: 8}) == 2


class Scale(nn.Module):
    """A module of no library: a parameter, a buffer, a noted size and a cache."""

    def __init__(self, num: int = 4) -> None:
        super().__init__()
        self.weight, self.num = nn.Parameter(torch.arange(1.0, num + 1)), num
        self.register_buffer("seen", torch.zeros(num))
        self.cache: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if "squared" not in self.cache:
            self.cache["squared"] = self.weight.square()
        if self.training:
            self.seen.add_(1)
        return x * self.cache["squared"] / self.num


def scaled(ranks: list[int]) -> tuple[op.Supernet, Choice, Scale]:
    choice, scale = Choice("width", [2, 4]), Scale()
    part = Part((choice,), (1,), np.zeros(4, dtype=np.int64), np.array(ranks))
    adapt(
        scale,
        Adaptation({"weight": {0: part}, "seen": {0: part}}, {"num": Size(part, 4)}, caches=("cache",)),
    )
    return op.Supernet(nn.Sequential(scale)), choice, scale


@pytest.mark.parametrize("ranks", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_the_modules_own_code_sees_the_active_parts(ranks: list[int]) -> None:
    supernet, _, scale = scaled(ranks)
    kept = [place for place in range(4) if ranks[place] < 2]
    for option, places in ((2, kept), (4, [0, 1, 2, 3]), (2, kept)):
        chosen, x = supernet.space.parse({"width": option}), torch.ones(option)
        expected = torch.tensor([float(place + 1) ** 2 for place in places]) / option
        with torch.no_grad():
            assert torch.equal(supernet.eval()(x, chosen), expected)
            plain: Any = supernet.extract(chosen)[0]
            assert torch.equal(plain(x), expected)
        assert type(plain) is Scale
        assert (plain.num, plain.weight.shape[0], plain.cache.keys()) == (option, option, {"squared"})
        assert not {"path", "selection", "_written"} & set(vars(plain))
    assert isinstance(scale, Scale)
    assert type(scale).__name__ == "Scale"


@pytest.mark.parametrize("ranks", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_buffers_that_are_changed_in_training_are_changed_in_their_places(ranks: list[int]) -> None:
    supernet, _, scale = scaled(ranks)
    supernet.train()(torch.ones(2), supernet.space.parse({"width": 2}))
    expected = torch.tensor([float(rank < 2) for rank in ranks])
    assert torch.equal(scale._buffers["seen"], expected)  # type: ignore[arg-type]


class Centre(nn.Module):
    """Assigns its buffer in training, and uses it before and after."""

    center: Tensor

    def __init__(self, num: int = 4) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(num))
        self.register_buffer("center", torch.randn(num))

    def forward(self, x: Tensor) -> Tensor:
        before, x = self.center, x * self.scale * self.center
        if self.training:
            self.center = self.center * 0.9 + 0.1 * self.update(x).mean(0)
        return x - self.center + 2 * before

    def update(self, x: Tensor) -> Tensor:
        return x.detach()


class Memory(Centre):
    """Gradients go through what it assigns."""

    def update(self, x: Tensor) -> Tensor:
        return x


class Counting(nn.Module):
    """Changes its buffer in place, in two ways, and reads it again afterwards."""

    center: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4))
        self.register_buffer("center", torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and bool((self.center != 100).any()):
            self.center.add_(1)
            self.center += x.detach().mean(0)
        return x * self.scale * self.center


RANKS = pytest.mark.parametrize("ranks", [[0, 1, 2, 3], [2, 0, 3, 1]])


@RANKS
@pytest.mark.parametrize("kind", [Centre, Memory, Counting])
def test_a_buffer_that_the_module_assigns_is_that_of_the_extracted_network(
    kind: type[nn.Module], ranks: list[int]
) -> None:
    torch.manual_seed(0)
    choice, module = Choice("width", [2, 4]), kind()
    part = Part((choice,), (1,), np.zeros(4, dtype=np.int64), np.array(ranks))
    adapt(module, Adaptation({"scale": {0: part}, "center": {0: part}}))
    supernet = op.Supernet(nn.Sequential(module))
    for option, places in (
        (2, [rank < 2 for rank in ranks]),
        (4, [True] * 4),
        (2, [rank < 2 for rank in ranks]),
    ):
        chosen, x = supernet.space.parse({"width": option}), torch.randn(3, option)
        whole = module._buffers["center"].detach().clone()  # type: ignore[union-attr]
        module._buffers["center"] = whole.clone()
        plain: Any = supernet.train().extract(chosen)
        plain(x).square().sum().backward()
        supernet.zero_grad()
        supernet(x, chosen).square().sum().backward()
        kept = torch.tensor(places)
        now = module._buffers["center"]
        assert now is not None
        assert now.shape == (4,)
        torch.testing.assert_close(now[kept], plain[0].center)
        assert torch.equal(now[~kept], whole[~kept])
        torch.testing.assert_close(module._parameters["scale"].grad[kept], plain[0].scale.grad)  # type: ignore[union-attr, index]
        torch.testing.assert_close(supernet(x, chosen), plain(x))


def test_a_whole_tensor_that_is_assigned_replaces_the_buffer() -> None:
    supernet, _, scale = scaled([2, 0, 3, 1])
    supernet.activate(supernet.space.parse({"width": 2}))
    given = torch.arange(4.0)
    scale.seen = given
    assert scale._buffers["seen"] is given
    assert torch.equal(scale.seen, torch.tensor([1.0, 3.0]))
    scale.seen = torch.tensor([7, 8])
    assert torch.equal(scale._buffers["seen"], torch.tensor([0.0, 7, 2, 8]))
    assert torch.equal(given, torch.arange(4.0))


@RANKS
def test_a_buffer_that_is_adapted_along_two_dimensions(ranks: list[int]) -> None:
    class Table(nn.Module):
        table: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.randn(4, 5, 4))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.table.add_(x)
                self.table = 2 * self.table
            return self.table + x

    choice, module = Choice("width", [2, 4]), Table()
    part = Part((choice,), (1,), np.zeros(4, dtype=np.int64), np.array(ranks))
    adapt(module, Adaptation({"table": {0: part, 2: leading_part(choice, 4)}}))
    supernet, expected = op.Supernet(nn.Sequential(module)), module._buffers["table"].clone()  # type: ignore[union-attr]
    supernet.train()(torch.ones(1), supernet.space.parse({"width": 2}))
    places = [place for place in range(4) if ranks[place] < 2]
    expected[places, :, :2] = 2 * (expected[places, :, :2] + 1)
    torch.testing.assert_close(module._buffers["table"], expected)


def test_the_class_above_a_module_is_not_announced_to_its_own_classes() -> None:
    known: dict[str, type] = {}

    class Keyed(nn.Module):
        def __init_subclass__(cls, key: str, **named: Any) -> None:
            super().__init_subclass__(**named)
            known[key] = cls

    class Layer(Keyed, key="layer"):
        pass

    layer = Layer()
    adapt(layer, Adaptation(presence=(Choice("depth", [0, 1], role="depth"), frozenset({1}))))
    assert isinstance(layer, Adapted)
    assert isinstance(copy.deepcopy(layer), Layer)
    assert known == {"layer": Layer}


def test_of_a_cache_the_tensors_are_dropped_and_settings_stay() -> None:
    supernet, _, scale = scaled([0, 1, 2, 3])
    settings: dict[Any, Any] = {"power": 2, "names": ["a"]}
    scale.cache.update(settings)
    wide, narrow = (supernet.space.parse({"width": width}) for width in (4, 2))
    for architecture, width in ((wide, 4), (narrow, 2)):
        expected = torch.arange(1.0, width + 1).square() / width
        assert torch.equal(supernet.eval()(torch.ones(width), architecture), expected)
    supernet(torch.ones(4), wide)
    plain: Any = supernet.extract(narrow)[0]  # type: ignore[index]
    assert plain.cache == settings
    assert plain.cache is not scale.cache
    assert torch.equal(plain(torch.ones(2)), torch.tensor([1.0, 4.0]) / 2)


def test_state_and_parameters_stay_those_of_the_largest() -> None:
    supernet, _, scale = scaled([2, 0, 3, 1])
    supernet.activate(supernet.space.parse({"width": 2}))
    assert supernet.state_dict()["module.0.weight"].shape == (4,)
    assert [parameter.shape for parameter in supernet.parameters()] == [(4,)]
    supernet.load_state_dict({"module.0.weight": torch.zeros(4), "module.0.seen": torch.ones(4)})
    assert torch.equal(scale.weight, torch.zeros(2))
    meta = supernet.on_meta()
    assert meta.extract(meta.space.parse({"width": 2}))[0].weight.shape == (2,)  # type: ignore[index, union-attr]
    assert supernet.copied().module[0].weight.data_ptr() != scale.weight.data_ptr()  # type: ignore[index, union-attr]


def test_restoring_gives_the_class_back() -> None:
    _, _, scale = scaled([0, 1, 2, 3])
    assert isinstance(scale, Adapted)
    restore(scale)
    assert type(scale) is Scale
    assert torch.equal(scale.eval()(torch.ones(4)), torch.tensor([1.0, 4.0, 9.0, 16.0]) / 4)
    restore(scale)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.block = op.ChoiceBlock({"a": nn.Linear(4, 4), "b": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.block(self.first(x)))


def test_a_module_that_is_absent_hands_on_its_input_and_its_choices_do_not_matter() -> None:
    depth, net = Choice("depth", [1, 2], role="depth"), nn.Sequential(Pair(), Pair())
    adapt(net[1], Adaptation(presence=(depth, frozenset({2}))))
    supernet, x = op.Supernet(net), torch.randn(3, 4)
    assert set(supernet.space.names) == {"0.block", "depth", "1.block"}
    short = supernet.space.parse({"0.block": "b", "depth": 1})
    assert "1.block" not in short.options
    with torch.no_grad():
        assert torch.equal(supernet(x, short), supernet.extract(short)(x))
        only: Any = supernet.extract(short)
        assert [type(each) for each in only] == [Pair, nn.Identity]
        long = supernet.space.parse({"0.block": "b", "depth": 2, "1.block": "b"})
        assert not torch.equal(supernet(x, long), supernet(x, short))
    assert conditions_by_path(net)["1.block"] == ((depth, frozenset({2})),)
    with pytest.raises(SpaceError):
        supernet.space.parse({"0.block": "b", "depth": 3})


def test_a_deep_copy_of_a_converted_network_stays_elastic() -> None:
    """Its choices are copies, too, and its modules must read those."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    supernet = op.convert(model.eval(), torch.zeros(1, 3, 8, 8))
    copied = copy.deepcopy(supernet)
    smallest = end_of(copied.space, min)
    assert copied.extract(smallest)[0].out_channels == 16
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(copied(x, smallest), supernet(x, end_of(supernet.space, min)))
    with torch.no_grad():
        copied.module[0].bias.zero_()
        assert bool(supernet.module[0].bias.any())
    again = copy.deepcopy(copied)
    assert again.extract(end_of(again.space, min))[0].out_channels == 16
