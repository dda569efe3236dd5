"""A supernet whose weights come from a source: where they are, for how long, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.nn import Supernet
from onepath.nn.binding import conditions_by_path
from onepath.nn.weight_source import SourcedLayer, WeightSource
from onepath.space import Architecture


class Counted(WeightSource):
    """Makes weights whose elements are all the number of the layer, times one learned factor."""

    def __init__(self, layers: list[SourcedLayer]) -> None:
        super().__init__(layers)
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, architecture: Architecture) -> list[Tensor]:
        return [
            self.factor * (1 + number) * torch.ones(self.layers[number].shape)
            for number in self.numbers_in(architecture)
        ]

    def settings(self) -> dict[str, Any]:
        return {"source": "counted"}


def sourced() -> Supernet:
    width = op.Choice("width", [1, 2])
    supernet = Supernet(
        nn.Sequential(
            op.ElasticLinear(2, width, bias=False),
            op.ChoiceBlock({"one": op.ElasticLinear(width, 1, bias=False), "sum": Total()}),
        )
    )
    conditions = conditions_by_path(supernet.module)
    layers = [
        SourcedLayer(path, layer, tuple(layer.weight.shape), (conditions[path],))
        for path, layer in supernet.module.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    supernet.take_weights_from(Counted(layers))
    return supernet


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(-1, keepdim=True)


@pytest.mark.parametrize(("width", "block", "output"), [(1, 0, 16.0), (2, 0, 32.0), (1, 1, 4.0), (2, 1, 8.0)])
def test_elastic_layers_use_the_slice_of_what_is_made(width: int, block: int, output: float) -> None:
    supernet = sourced()
    architecture = supernet.space.architecture([width - 1, block])
    found = supernet(torch.ones(1, 2), architecture)
    assert float(found.detach()) == output
    found.backward()
    degree = 2 if block == 0 else 1
    assert float(supernet.weights.factor.grad) == degree * output / 2
    assert float(supernet.extract(architecture)(torch.ones(1, 2)).detach()) == output


def test_the_layers_are_without_weights_between_passes_and_after_a_failure() -> None:
    supernet = sourced()
    architecture = supernet.space.architecture([0, 0])
    with pytest.raises(op.errors.ShapeError):
        supernet(torch.ones(1, 5), architecture)
    assert [layer.module.weight for layer in supernet.weights.layers] == [None, None]
    assert list(supernet.state_dict()) == ["weights.factor"]
    assert Supernet(supernet).weights is supernet.weights


def test_weights_can_be_held_again() -> None:
    supernet = sourced()
    supernet.hold_weights()
    assert supernet.weights is None
    assert {name: value.tolist() for name, value in supernet.state_dict().items()} == {
        "module.0.weight": [[0.0, 0.0], [0.0, 0.0]],
        "module.1.candidates.0.weight": [[0.0, 0.0]],
    }
    supernet.hold_weights()
