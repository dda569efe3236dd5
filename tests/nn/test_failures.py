"""Errors of a pass name the module and what to do; blocks and supernets take any number of inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onepath.errors import ShapeError, SpaceError, UserError
from onepath.nn import ChoiceBlock, ElasticConv2d, Gate, GatedPath, GhostBatches, Supernet
from onepath.space import Choice

BEHIND: dict[str, tuple[nn.Module, str]] = {
    "GroupNorm": (nn.GroupNorm(4, 16), "ChoiceBlock with that choice and one GroupNorm per option"),
    "LayerNorm": (nn.LayerNorm([16, 8, 8]), "one LayerNorm per option"),
    "PReLU": (nn.PReLU(16), "one PReLU per option"),
    "InstanceNorm2d": (
        nn.InstanceNorm2d(16, affine=True, track_running_stats=True),
        "one InstanceNorm2d per option",
    ),
    "BatchNorm2d": (nn.BatchNorm2d(16), "use ElasticBatchNorm2d with the choice of the layer before"),
    "Conv2d": (nn.Conv2d(16, 4, 1), "use ElasticConv2d with the choice of the layer before"),
    "Conv1d": (nn.Sequential(nn.Flatten(2), nn.Conv1d(16, 4, 1)), "one Conv1d per option"),
    "Linear": (nn.Sequential(nn.Flatten(2), nn.Flatten(1), nn.Linear(1024, 4)), "use ElasticLinear"),
}


@pytest.mark.parametrize("name", BEHIND)
def test_plain_layers_behind_an_elastic_width(name: str) -> None:
    layer, advice = BEHIND[name]
    path = r"1\.\d" if isinstance(layer, nn.Sequential) else "1"
    supernet = Supernet(nn.Sequential(ElasticConv2d(1, Choice("w", [8, 16]), 3, padding=1), layer))
    with pytest.raises(
        ShapeError, match=rf"^{path}: {name} must accept .*input of shape \(2, .*{advice}"
    ) as caught:
        supernet(torch.zeros(2, 1, 8, 8), supernet.space.parse("0"))
    assert "\n" not in str(caught.value)
    supernet(torch.zeros(2, 1, 8, 8), supernet.space.parse("1"))


def test_the_advice_for_norms_works() -> None:
    width = Choice("w", [8, 16])
    norms = ChoiceBlock({8: nn.GroupNorm(4, 8), 16: nn.GroupNorm(4, 16)}, width)  # type: ignore[dict-item]
    supernet = Supernet(nn.Sequential(ElasticConv2d(1, width, 1), norms))
    for architecture in supernet.space.enumerate():
        x = torch.randn(2, 1, 4, 4)
        assert torch.equal(supernet.extract(architecture)(x), supernet(x, architecture))


def test_normalisation_of_one_example() -> None:
    net = nn.Sequential(ChoiceBlock([nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(2))]))
    supernet = Supernet(net)
    path = supernet.space.parse("0")
    ghosts = GhostBatches([path] * 4)
    assert supernet(torch.zeros(8, 2, 4, 4), ghosts).shape == (8, 2, 1, 1)
    for inputs, way in ((torch.zeros(1, 2, 4, 4), path), (torch.zeros(4, 2, 4, 4), ghosts)):
        with pytest.raises(
            ShapeError, match=r"0.candidates.0.1: BatchNorm2d .* larger batch_size, fewer ghost"
        ):
            supernet(inputs, way)


def test_other_errors_keep_their_class() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("what")

    supernet = Supernet(nn.Sequential(ChoiceBlock([Odd()])))
    with pytest.raises(KeyError):
        supernet(torch.zeros(1), supernet.space.parse("0"))


class Cross(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, y: Tensor, *, scale: float = 1.0) -> Tensor:
        return x * self.factor + y * scale


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = ChoiceBlock([Cross(2.0), Cross(3.0)])

    def forward(self, x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
        out: Tensor = self.block(x, y, scale=scale)
        return out


def test_several_inputs() -> None:
    supernet = Supernet(Two())
    first, second = supernet.space.enumerate()
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])
    calls: list[tuple[Any, list[float]]] = [
        (supernet(x, y, first), [12.0, 24.0]),
        (supernet(x, y, path=second), [13.0, 26.0]),
        (supernet(x, y), [13.0, 26.0]),
        (supernet(x, y, None), [13.0, 26.0]),
        (supernet(x, y, first, scale=0.5), [7.0, 14.0]),
        (supernet(x, y, GatedPath(first, {"block": Gate.subset((0, 1))})), [25.0, 50.0]),
        (supernet(x, y, {"block": Gate.weighted(torch.tensor([1.0, 2.0]))}), [38.0, 76.0]),
        (supernet(x, y, GhostBatches([first, second])), [12.0, 26.0]),
        (supernet.extract(first)(x, y), [12.0, 24.0]),
    ]
    for output, expected in calls:
        assert output.tolist() == expected
    gate = Gate((0,), None, lambda _, __, output: output)
    with pytest.raises(SpaceError, match=r"block: .* need blocks of one input, but got 3"):
        supernet(x, y, GatedPath(first, {"block": gate}))


def test_a_dict_of_tensors_is_an_input() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = ChoiceBlock([nn.Identity()])

        def forward(self, x: Tensor, more: dict[str, Tensor]) -> Tensor:
            out: Tensor = self.block(x) + more["y"]
            return out

    supernet = Supernet(Named())
    supernet.activate(supernet.space.parse("0"))
    assert supernet(torch.ones(1), {"y": torch.ones(1)}).tolist() == [2]


@pytest.mark.parametrize(
    "use",
    [
        nn.Dropout,
        range,
        int,
        float,
        lambda c: nn.Linear(c, 4),
        lambda c: nn.Linear(4, c),
        lambda c: nn.Conv2d(3, c, 3),
        lambda c: nn.Conv2d(3, 4, c),
        lambda c: nn.Conv1d(c, 4, 3),
        nn.BatchNorm2d,
        nn.LayerNorm,
        lambda c: nn.GroupNorm(2, c),
        lambda c: nn.GroupNorm(c, 8),
        nn.PReLU,
        lambda c: nn.Embedding(10, c),
        lambda c: nn.MultiheadAttention(8, c),
        lambda c: nn.MaxPool2d(c)(torch.zeros(1, 1, 4, 4)),
        lambda c: nn.LeakyReLU(c)(torch.zeros(1)),
        lambda c: torch.zeros(2, c),
        lambda c: [0] * c,
        lambda c: c < 3,
        lambda c: c % 2,
        lambda c: c / 2,
        list,
    ],
)
@pytest.mark.parametrize("make", [lambda: Choice("size", [2, 4]), lambda: Choice("size", [2, 4]) + 1])
def test_a_choice_where_a_number_is_needed(use: Any, make: Any) -> None:
    with pytest.raises(UserError, match="size") as caught:
        use(make())
    assert "\n" not in str(caught.value)


def test_choices_still_compare_by_identity() -> None:
    first, second = Choice("a", [1, 2]), Choice("a", [1, 2])
    assert first == first
    assert first != second
    assert len({first, second, first}) == 2
    assert first in [second, first]
    assert bool(first)
