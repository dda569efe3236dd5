"""Hypernetworks in a supernet: what they make, what learns, and that all else goes on as before."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from hyper.branches import KINDS, SHAPE, batch, made, source_of, supernet_of
from small_cells import cell_space
from torch import Tensor, nn
from torch.nn import functional

import onepath as op
from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import Gate, GhostBatches, Supernet


def loss_of(supernet: Supernet, text: str) -> Tensor:
    inputs, targets = batch()
    return functional.cross_entropy(supernet(inputs, supernet.space.parse(text)), targets)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_hypernetwork_and_what_is_shared_and_nothing_that_is_made(kind: str) -> None:
    supernet = made(kind, is_longer=True)
    names = dict(supernet.named_parameters())
    held = {
        name.removeprefix("module.").removesuffix(".weight") for name in names if name.endswith(".weight")
    }
    assert not held & {layer.path for layer in supernet.weights.layers}
    loss_of(supernet, "1,1").backward()
    got = {name for name, parameter in names.items() if parameter.grad is not None}
    source = {name for name in names if name.startswith("weights.")}
    assert source <= got
    assert all(float(names[name].grad.abs().sum()) > 0 for name in source if "last" in name)
    assert {"module.stem.0.weight", "module.head.weight", "module.block.candidates.1.1.weight"} <= got
    assert "module.block.candidates.0.0.bias" not in got
    for layer in supernet.weights.layers:
        assert layer.module.weight is None


@pytest.mark.parametrize("kind", KINDS)
def test_another_hypernetwork_is_another_loss(kind: str) -> None:
    supernet = made(kind)
    for text in "012":
        with torch.no_grad():
            before = float(loss_of(supernet, text))
            assert float(loss_of(supernet, text)) == before
            changed = copy.deepcopy(supernet)
            for parameter in changed.weights.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
            assert float(loss_of(changed, text)) != before


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_gets_weights_of_its_layers_shapes(kind: str) -> None:
    supernet, plain = made(kind, is_longer=True), supernet_of(is_longer=True)
    for indices in itertools.product(range(3), range(2)):
        architecture = supernet.space.architecture(indices)
        own = [supernet.weights.layers[number] for number in supernet.weights.numbers_in(architecture)]
        weights = supernet.weights(architecture)
        assert [tuple(weight.shape) for weight in weights] == [layer.shape for layer in own]
        shapes = {name: value.shape for name, value in supernet.extract(architecture).state_dict().items()}
        expected = plain.extract(plain.space.architecture(indices)).state_dict()
        assert shapes == {name: value.shape for name, value in expected.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_depend_on_the_rest_of_the_architecture(kind: str) -> None:
    supernet = made(kind, is_longer=True)
    one, other = (supernet.weights(supernet.space.parse(text))[0] for text in ("0,0", "0,1"))
    assert not torch.allclose(one, other)
    assert torch.equal(one, supernet.weights(supernet.space.parse("0,0"))[0])


@pytest.mark.parametrize(("trains_all", "share"), [(False, 1.0), (True, 0.8)])
@pytest.mark.parametrize("kind", KINDS)
def test_after_training_every_architecture_is_better_than_with_first_weights(
    kind: str, trains_all: bool, share: float
) -> None:
    supernet = made(kind).train()
    trained = supernet if trains_all else supernet.weights
    optimizer = torch.optim.Adam(trained.parameters(), lr=0.01)
    for update in range(150):
        optimizer.zero_grad()
        loss_of(supernet, "012"[update % 3]).backward()
        optimizer.step()
    with torch.no_grad():
        for text in "012":
            first = [float(loss_of(made(kind, seed=seed).train(), text)) for seed in range(3)]
            assert float(loss_of(supernet, text)) < share * min(first), text


@pytest.mark.parametrize("kind", KINDS)
def test_the_extracted_network_computes_what_the_supernet_computes(kind: str) -> None:
    supernet = made(kind, is_longer=True).eval()
    inputs, _ = batch()
    with torch.no_grad():
        for text in ("0,1", "1,0", "2,1"):
            architecture = supernet.space.parse(text)
            model = supernet.extract(architecture)
            assert not hasattr(model, "weights")
            assert all(type(part).__module__.startswith(("torch.", "hyper.")) for part in model.modules())
            assert all(parameter.requires_grad for parameter in model.parameters())
            assert torch.equal(model(inputs), supernet(inputs, architecture))


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_weights_and_costs_are_those_of_the_space(kind: str) -> None:
    fresh, costs = [], []
    for supernet in (made(kind, is_longer=True), supernet_of(is_longer=True)):
        architecture = supernet.space.parse("2,1")
        fresh.append(supernet.extract(architecture, inherit=False, seed=4).state_dict())
        costs.append(op.cost.architecture_cost(supernet, architecture, SHAPE))
    assert all(torch.equal(value, fresh[1][name]) for name, value in fresh[0].items())
    assert costs[0].params == costs[1].params
    assert costs[0].macs == costs[1].macs


def test_a_passing_network_holds_the_weights_of_one_path() -> None:
    supernet = op.Supernet(cell_space())
    supernet.take_weights_from(op.HyperNetwork.smash(supernet, width=8, rank=2))
    supernet(torch.zeros(2, 1, 8, 8), supernet.space.random(np.random.default_rng(0)))
    held = sum(value.numel() for name, value in supernet.state_dict().items() if name.startswith("module."))
    conv = sum(np.prod(layer.shape) for layer in supernet.weights.layers)
    assert held == sum(value.numel() for value in cell_space().state_dict().values()) - conv


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_stored_weights_compute_the_same(kind: str) -> None:
    supernet = made(kind).eval()
    inputs, _ = batch()
    loaded = made(kind, seed=9).eval()
    loaded.load_state_dict(supernet.state_dict())
    others = [supernet.copied(), copy.deepcopy(supernet), pickle.loads(pickle.dumps(supernet)), loaded]
    with torch.no_grad():
        expected = supernet(inputs, supernet.space.parse("1"))
        for other in others:
            assert torch.equal(other(inputs, other.space.parse("1")), expected)
        for parameter in others[0].weights.parameters():
            parameter.zero_()
        assert torch.equal(supernet(inputs, supernet.space.parse("1")), expected)


def test_the_seed_decides_the_first_weights() -> None:
    def weights(seed: int) -> Tensor:
        supernet = made("smash", seed=seed)
        return supernet.weights(supernet.space.parse("0"))[0]

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_weights_are_made_in_float32_under_autocast() -> None:
    supernet = made("smash")
    with torch.autocast("cpu", torch.bfloat16):
        outputs = supernet(batch()[0], supernet.space.parse("0"))
    assert outputs.dtype == torch.bfloat16
    with supernet.weights.placed(supernet.space.parse("0")):
        assert supernet.module.block.candidates[0][0].weight.dtype == torch.float32


def test_parts_of_a_batch_run_along_their_own_paths() -> None:
    supernet = made("ghn").eval()
    inputs, _ = batch(num=8)
    paths = [supernet.space.parse(text) for text in "02"]
    with torch.no_grad():
        both = supernet(inputs, GhostBatches(paths))
        assert torch.allclose(both[:4], supernet(inputs[:4], paths[0]), atol=1e-6)
        assert torch.allclose(both[4:], supernet(inputs[4:], paths[1]), atol=1e-6)


def test_what_has_no_single_architecture_is_refused() -> None:
    supernet = made("smash")
    with pytest.raises(SpaceError, match="but none is active"):
        supernet(batch()[0])
    supernet.activate(supernet.space.parse("0"))
    with pytest.raises(SpaceError, match="but gates are active"):
        supernet(batch()[0], {"block": Gate.single(1)})
    with pytest.raises(ConfigurationError, match="leave compile out"):
        supernet.compile_candidates()


def test_a_supernet_has_one_source_that_was_made_for_it() -> None:
    supernet = made("smash")
    kept = supernet.weights
    supernet.take_weights_from(source_of(supernet, "smash", seed=8))
    assert supernet.weights is kept
    with pytest.raises(ConfigurationError, match=r"they come from .*'smash'.* and .*'ghn'.* came"):
        supernet.take_weights_from(source_of(supernet, "ghn"))
    with pytest.raises(ConfigurationError, match="this is another one"):
        supernet_of().take_weights_from(source_of(supernet_of(), "smash"))


def test_a_layer_that_does_not_run_in_evaluation_is_refused_by_the_graph() -> None:
    class Training(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = op.ChoiceBlock([nn.Linear(64, 3), nn.Linear(64, 3)])
            self.extra = op.ChoiceBlock([nn.Linear(64, 3), nn.Identity()])

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.extra(x.flatten(1))
            return self.block(x.flatten(1))

    supernet = Supernet(Training())
    supernet.take_weights_from(op.HyperNetwork.ghn(supernet, (1, 8, 8), width=4))
    with pytest.raises(ConfigurationError, match=r"does not run extra\.candidates\.0; use method smash"):
        supernet(torch.zeros(2, 1, 8, 8), supernet.space.parse("0,0"))
