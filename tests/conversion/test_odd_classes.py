"""Models of classes that conversion has to treat with care: what they return, hold, assign and announce."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import onepath as op
from onepath.conversion.trace import output_tensors
from onepath.conversion.tracing import trace_passes
from onepath.errors import ConfigurationError
from onepath.space.ends import end_of


@torch.no_grad()
def randomised(model: nn.Module) -> nn.Module:
    """The model in doubles and evaluation mode, with all parameters and buffers drawn anew."""
    torch.manual_seed(0)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor) / max(1, tensor[0].numel()) ** 0.5)
    return model.double().eval()


def images() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()


def body() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1))


def check(model: nn.Module, x: Tensor, read: Callable[[Any], Tensor] = lambda output: output) -> op.Supernet:
    """Convert a model; the largest architecture is the model, the smallest equals its extracted network."""
    supernet = op.convert(model, x).eval()
    with torch.no_grad():
        torch.testing.assert_close(read(supernet(x, end_of(supernet.space, max))), read(model(x)))
        smallest = end_of(supernet.space, min)
        plain = supernet.extract(smallest)
        torch.testing.assert_close(read(supernet(x, smallest)), read(plain(x)))
        assert read(plain(x)).shape == read(model(x)).shape
    assert sum(p.numel() for p in plain.parameters()) < sum(p.numel() for p in model.parameters())
    return supernet


@dataclass
class Logits:
    scores: Any


class Slotted:
    __slots__ = ("missing", "scores")

    def __init__(self, scores: Any) -> None:
        self.scores = scores


class Attributes:
    """Leads to itself, to a method of its own and to a module."""

    def __init__(self, scores: Any) -> None:
        self.me, self.method, self.module, self.scores = self, self.first, nn.Linear(2, 2), scores

    def first(self) -> Any:
        return self.scores[0]


class Returning(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head, self.wrap = body(), nn.Linear(32, 16), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.head(self.body(x).mean((2, 3))))


@pytest.mark.parametrize(
    ("wrap", "read"),
    [
        (Logits, lambda output: output.scores),
        (Slotted, lambda output: output.scores),
        (Attributes, lambda output: output.scores),
        (
            lambda x: [Logits({"deep": Slotted(x)}), None, "text"],
            lambda output: output[0].scores["deep"].scores,
        ),
        (lambda x: torch.distributions.Categorical(logits=x), lambda output: output.logits),
        (lambda x: x.detach().numpy()[:, ::-1], lambda output: torch.tensor(output.copy())),
    ],
    ids=["dataclass", "slots", "attributes", "nested", "distribution", "array"],
)
def test_tensors_in_the_objects_that_a_model_returns_stay_whole(
    wrap: Callable[[Tensor], Any], read: Callable[[Any], Tensor]
) -> None:
    model, x = randomised(Returning(wrap)), images()
    check(model, x, read)
    if not isinstance(wrap(x), np.ndarray):  # of which only the shape is known
        reasons = trace_passes(model, (x,)).trace.units.reasons()
        assert list(reasons.values()).count("it makes what the model returns") == 16


def generated(x: Tensor) -> Iterator[Tensor]:
    yield x
    yield 2 * x


def begun(x: Tensor) -> Iterator[Tensor]:
    found = generated(x)
    next(found)
    return found


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda x: lambda: x, "function"),
        (lambda x: [Logits({x})], "set"),
        (begun, "generator"),
        (lambda x: {"a": x}.values(), "dict_values"),
    ],
    ids=["function", "set", "generator", "values"],
)
def test_a_tensor_that_hides_in_what_a_model_returns(wrap: Callable[[Tensor], Any], name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"one of them lies in a {name}; return it in a list"
    ) as raised:
        op.convert(randomised(Returning(wrap)), images())
    assert "\n" not in str(raised.value)


def test_the_tensors_of_an_output_come_in_their_order() -> None:
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    output = {"b": (two, [one, two]), "a": one, "c": None}
    assert all(
        found is leaf for found, leaf in zip(output_tensors(output), [*tree_leaves(output)][:4], strict=True)
    )
    assert [len(found) for found in output_tensors([Logits(three), Slotted([one, two]), 5, "x", {7, 8}])] == [
        3,
        1,
        2,
    ]
    twice = (one, two)
    assert [len(found) for found in output_tensors([twice, twice])] == [1, 2, 1, 2]
    assert output_tensors([np.array(["text"]), torch.float32, print, nn.Linear(1, 1), lambda: 3]) == []
    assert torch.equal(output_tensors(np.arange(3))[0], torch.arange(3))


class Centre(nn.Module):
    center: Tensor

    def __init__(self, num: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(1, num, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.center = self.center * 0.9 + 0.1 * x.detach().mean((0, 2, 3), keepdim=True)
        return x - self.center


def test_a_buffer_that_is_assigned_in_training_stays_whole() -> None:
    model, x = randomised(nn.Sequential(body(), Centre(32), nn.Conv2d(32, 8, 1))), images()
    supernet = check(model, x)
    smallest, largest = (end_of(supernet.space, end) for end in (min, max))
    before = supernet.state_dict()["module.1.center"].clone()
    plain: Any = supernet.train().extract(smallest)
    plain(x)
    supernet(x, smallest)
    after = supernet.state_dict()["module.1.center"]
    assert after.shape == before.shape
    num = plain[1].center.shape[1]
    assert num < 32
    torch.testing.assert_close(after[:, :num], plain[1].center)
    assert not torch.equal(after[:, :num], before[:, :num])
    assert torch.equal(after[:, num:], before[:, num:])
    assert supernet(x, largest).shape == model(x).shape


class Registered(nn.Module):
    known: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, key: str, **named: Any) -> None:
        super().__init_subclass__(**named)
        Registered.known[key] = cls


class Gain(Registered, key="gain"):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(32, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


def test_a_registry_of_subclasses_keeps_the_models_own_class() -> None:
    check(randomised(nn.Sequential(body(), Gain(), nn.Conv2d(32, 8, 1))), images())
    assert Registered.known == {"gain": Gain}


class Configured(nn.Module):
    """Has settings and computed tensors in dictionaries that are called caches."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(32, 1, 1))
        self.cache_config, self.cache = {"scale": 2.0}, {"power": 2}

    def forward(self, x: Tensor) -> Tensor:
        if "gain" not in self.cache:
            self.cache["gain"] = self.gain ** self.cache["power"]  # type: ignore[assignment]
        return x * self.cache["gain"] * self.cache_config["scale"]


def test_settings_in_a_dictionary_that_is_called_a_cache_stay() -> None:
    model = randomised(nn.Sequential(body(), Configured(), nn.Conv2d(32, 8, 1)))
    with torch.no_grad():
        model(images())  # fills the cache
    supernet = check(model, images())
    plain: Any = supernet.extract(end_of(supernet.space, min))
    assert plain[1].cache_config == {"scale": 2.0}
    assert plain[1].cache == {"power": 2}


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: nn.Module = torch.jit.script(
            nn.Sequential(nn.Conv2d(32, 24, 1), nn.ReLU(), nn.Conv2d(24, 32, 1)).double()
        )
    return found


def test_a_part_that_is_scripted_stays_whole() -> None:
    ends = nn.Sequential(nn.Conv2d(32, 24, 3), nn.ReLU(), nn.Conv2d(24, 8, 1))
    model = randomised(nn.Sequential(body(), scripted(), ends))
    supernet = check(model, images())
    rows = {row.path: row for row in supernet.conversion.rows}
    assert rows["0.0"].choices == ("0.0.width",)
    assert rows["2.0"].choices == ("2.0.width",)
    assert (rows["1.0"].choices, rows["1.0"].reason) == ((), "it is a script module")
    assert rows["0.2"].choices == ("0.0.width",)  # its outputs go into the scripted part


def test_a_model_that_is_scripted_as_a_whole_cannot_be_elastic() -> None:
    model = scripted()
    with pytest.raises(
        ConfigurationError, match=r"that can be elastic, but .* has none .*script module"
    ) as raised:
        op.convert(model, torch.randn(2, 32, 8, 8).double())
    assert "\n" not in str(raised.value)
