"""What every score promises, whatever it computes."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import pytest
import torch
from estimate.scores.small_networks import Dead, Everything, batch, blocks, chain, seeded
from torch import Tensor, nn

import onepath as op
from onepath import spaces
from onepath.errors import ConfigurationError
from onepath.estimate import SCORES, score, score_definition, scores
from onepath.estimate.scores import catalogue

NAMES = tuple(SCORES)
BLIND = ("l2_norm", "params", "macs", "layers")  # look at the network without running it


def state_of(model: nn.Module) -> list[Any]:
    """All that a score could leave behind: values, gradients, modes, hooks, attributes."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        [(name, t.detach().clone(), t.requires_grad, t._version) for name, t in tensors],
        [(name, None if p.grad is None else p.grad.clone()) for name, p in model.named_parameters()],
        [
            (name, module.training, sorted(module.__dict__), getattr(module, "inplace", None))
            for name, module in model.named_modules()
        ],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
    ]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_not_touched(name: str, training: bool) -> None:
    model = blocks("identity", "gate", "projection").train(training)
    model[1].train(not training)
    model[0][0].weight.grad = torch.ones_like(model[0][0].weight)
    model[2].one.weight.requires_grad_(False)
    inputs, targets = batch()
    before, given, random = state_of(model), (inputs.clone(), targets.clone()), torch.get_rng_state()
    score(name, model, inputs, targets)
    assert same(before, state_of(model))
    assert torch.equal(inputs, given[0])
    assert torch.equal(targets, given[1])
    assert torch.equal(random, torch.get_rng_state())
    assert not inputs.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_repeatable_whatever_the_mode_and_the_global_generator(name: str) -> None:
    model, (inputs, targets) = seeded(Everything), batch()
    first = score(name, model.train(), inputs, targets, seed=3)
    torch.manual_seed(99)
    assert score(name, model.eval(), inputs, targets, seed=3) == first
    assert math.isfinite(first)
    if name.startswith("zen"):
        assert score(name, model, inputs, targets, seed=4) != first


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_read_only_where_they_are_said_to_be(name: str) -> None:
    model, (inputs, targets) = chain([6, 6]), batch()
    if "labels" in SCORES[name].needs:
        with pytest.raises(ConfigurationError, match=f"{name} needs labels"):
            score(name, model, inputs)
        assert score(name, model, inputs, targets) != score(name, model, inputs, targets.flip(0))
    else:
        assert score(name, model, inputs) == score(name, model, inputs, targets)


@pytest.mark.parametrize("name", NAMES)
def test_data_are_read_only_where_they_are_said_to_be(name: str) -> None:
    model, (inputs, targets) = chain([6, 6]), batch()
    changed = score(name, model, inputs.flip(3) * 2 + 1, targets) != score(name, model, inputs, targets)
    assert changed == ("inputs" in SCORES[name].needs)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BLIND])
def test_dead_networks_are_minus_infinity_with_a_reason(name: str) -> None:
    inputs, targets = batch()
    found = scores([name], seeded(Dead), inputs, targets)[name]
    assert found.value == -math.inf
    assert found.reason
    assert found.is_degenerate
    assert score(name, seeded(Dead), inputs, targets) == -math.inf


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_not_finite_give_no_nan(name: str) -> None:
    model, (inputs, targets) = chain([6, 6]), batch()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = math.nan
    found = scores([name], model, inputs, targets)[name]
    assert not math.isnan(found.value)
    assert (found.reason is not None) == (found.value == -math.inf)


@pytest.mark.parametrize("name", NAMES)
def test_together_as_alone(name: str) -> None:
    model, (inputs, targets) = blocks("identity", "projection"), batch()
    together = scores(NAMES, model, inputs, targets, seed=1)
    assert list(together) == list(NAMES)
    assert together[name].value == score(name, model, inputs, targets, seed=1)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_weights_count(name: str) -> None:
    inputs, targets = batch()
    value = score(name, chain([6, 6]), inputs, targets)
    assert score(name, chain([6, 6]).requires_grad_(False), inputs, targets) == value


@pytest.fixture(scope="module")
def isomorphic_cells() -> tuple[nn.Module, nn.Module]:
    """Cells of NAS-Bench-201 that differ in which of two nodes comes first; the same weights where the draws allow."""
    supernet = spaces.build("nasbench201", 4, input_size=16, num_cells=1, width=0.5)
    cells = (
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|",
        "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|",
    )
    one, other = (
        supernet.extract(supernet.space.parse(cell), inherit=False, seed=0).double() for cell in cells
    )
    swapped = {"0": "1", "1": "0", "4": "5", "5": "4"}
    other.load_state_dict(
        {
            re.sub(r"edges\.(\d)", lambda match: f"edges.{swapped.get(match[1], match[1])}", name): value
            for name, value in one.state_dict().items()
        }
    )
    return one, other


@pytest.mark.parametrize("name", NAMES)
def test_isomorphic_cells_score_alike(isomorphic_cells: tuple[nn.Module, nn.Module], name: str) -> None:
    inputs, targets = batch(6, 16)
    draws = name.startswith("zen")  # weights of its own, in the order of the layers
    one, other = (
        [score(name, model, inputs.double(), targets, seed=seed) for seed in range(6 if draws else 1)]
        for model in isomorphic_cells
    )
    if draws:
        assert sum(one) / 6 == pytest.approx(sum(other) / 6, abs=0.2)
    else:
        assert one == pytest.approx(other, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_networks_that_take_no_images(name: str) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 4)))
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 5, generator=draws)
    assert math.isfinite(score(name, model, inputs, torch.arange(8) % 4))


@pytest.mark.parametrize("name", NAMES)
def test_every_definition_says_what_to_know(name: str) -> None:
    definition = score_definition(name)
    assert definition.name == name
    assert all((definition.cost, definition.direction, definition.known_failure))
    documented = catalogue.__dict__[name].__dict__[name].__doc__
    assert "higher is" in documented


def test_one_backward_serves_four_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or grad(*a, **k))
    scores(["grad_norm", "snip", "fisher", "plain"], chain([6, 6]), *batch())
    assert len(calls) == 1


def test_unknown_names_and_options_are_named() -> None:
    model, (inputs, targets) = chain([6]), batch()
    with pytest.raises(ConfigurationError, match="did you mean synflow"):
        score("sinflow", model, inputs, targets)
    with pytest.raises(ConfigurationError, match=r"an option of zen must be one of .*norm.*got repeat"):
        score("zen", model, inputs, repeat=3)
    with pytest.raises(ConfigurationError, match="hold an example"):
        score("params", model, inputs[:0])


def test_public_contract() -> None:
    inputs, targets = batch()
    value = op.estimate.score("zen", chain([6, 6]), inputs, targets, seed=0)
    assert isinstance(value, float)
    model = chain([6, 6])
    assert (
        score(
            "snip", copy.deepcopy(model), inputs, targets, loss=lambda o, t: o.square().mean() + 0 * t.sum()
        )
        > 0
    )
