"""Scores of gradients: closed forms and bounds."""

from __future__ import annotations

import math

import pytest
import torch
from estimate.scores.small_networks import Everything, batch, blocks, chain, seeded
from torch import Tensor, nn
from torch.nn import functional

from onepath.errors import ConfigurationError
from onepath.estimate import score

NAMES = ("grad_norm", "snip", "plain", "fisher")


def test_closed_forms_of_a_linear_layer() -> None:
    """Output w x, loss the mean output: the gradient is the mean input, dL/da is 1 / batch."""
    model = seeded(lambda: nn.Linear(3, 1, bias=False))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))

    def of(name: str) -> float:
        return score(name, model, x, torch.zeros(5), loss=lambda outputs, _: outputs.mean())

    w, g, a = (
        model.weight.detach().double()[0],
        x.double().mean(dim=0),
        (x @ model.weight.detach().T).double(),
    )
    assert of("grad_norm") == pytest.approx(float(g.norm()), rel=1e-5)
    assert of("snip") == pytest.approx(float((w * g).abs().sum()), rel=1e-5)
    assert of("plain") == pytest.approx(float((w * g).sum()), rel=1e-5)
    assert of("fisher") == pytest.approx(float(0.5 * (a / 5).square().mean()), rel=1e-5)


def test_layers_add_up() -> None:
    """Their norms, and not the norm of all of them; neither biases nor normalisations."""
    model, (inputs, targets) = chain([6, 6]), batch()
    weights = [module.weight for module in model if isinstance(module, nn.Conv2d | nn.Linear)]
    values = {name: score(name, model, inputs, targets) for name in ("grad_norm", "snip", "plain")}
    gradients = torch.autograd.grad(functional.cross_entropy(model(inputs), targets), weights)
    products = [(w * g).detach() for w, g in zip(weights, gradients, strict=True)]
    assert values["grad_norm"] == pytest.approx(sum(float(g.norm()) for g in gradients), rel=1e-5)
    assert values["snip"] == pytest.approx(sum(float(p.abs().sum()) for p in products), rel=1e-5)
    assert values["plain"] == pytest.approx(sum(float(p.sum()) for p in products), rel=1e-4, abs=1e-6)


def test_grasp_of_a_quadratic() -> None:
    """Loss 1/2 w^T A w: Hessian A and gradient A w, so that the score is -w^T A (A w)."""
    model = seeded(lambda: nn.Linear(4, 1, bias=False))
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    value = score("grasp", model, x, torch.zeros(6), loss=lambda outputs, _: 0.5 * outputs.square().sum())
    w, a = model.weight.detach().double()[0], (x.T @ x).double()
    assert value == pytest.approx(-float(w @ a @ (a @ w)), rel=1e-5)
    assert value < 0


def test_fisher_sums_positions_before_it_squares() -> None:
    """A 1x1 convolution of ones on ones, loss the mean: a = dL/da * values = 1, over 4 positions and 2 examples."""
    model = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(model.weight)
    value = score(
        "fisher", model, torch.ones(2, 1, 2, 2), torch.zeros(2), loss=lambda outputs, _: outputs.mean()
    )
    assert value == pytest.approx(0.5 * (4 * 1 / 8) ** 2)


@pytest.mark.parametrize("seed", range(3))
def test_bounds(seed: int) -> None:
    model, (inputs, targets) = seeded(Everything, seed), batch()
    assert score("snip", model, inputs, targets) >= abs(score("plain", model, inputs, targets))
    assert score("fisher", model, inputs, targets) >= 0


def test_scale_of_the_loss() -> None:
    model, (inputs, targets) = chain([6, 6]), batch()
    one, three = (
        {
            name: score(
                name, model, inputs, targets, loss=lambda o, t, f=f: f * functional.cross_entropy(o, t)
            )
            for name in (*NAMES, "grasp")
        }
        for f in (1.0, 3.0)
    )
    for name in ("grad_norm", "snip", "plain"):
        assert three[name] == pytest.approx(3 * one[name], rel=1e-4)
    for name in ("fisher", "grasp"):
        assert three[name] == pytest.approx(9 * one[name], rel=1e-3)


def test_activations_in_place_change_nothing() -> None:
    model, (inputs, targets) = chain([6, 6]), batch()
    values = [score("fisher", model, inputs, targets)]
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    assert values == [score("fisher", model, inputs, targets)]


def test_a_function_in_place_on_an_output_is_an_error() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.second(functional.relu(self.first(x), inplace=True))
            return logits

    with pytest.raises(ConfigurationError, match="in place"):
        score("fisher", seeded(InPlace), torch.randn(4, 3), torch.arange(4))
    assert score("snip", seeded(InPlace), torch.randn(4, 3), torch.arange(4)) > 0


def test_synflow_of_a_chain_of_matrices() -> None:
    """R = 1^T |W2| |W1| 1; each of the layers' sums of w dR/dw is R again."""
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False)))
    first, second = (module.weight.detach().double().abs() for module in (model[0], model[2]))
    flow = float((second @ first @ torch.ones(3, dtype=torch.float64)).sum())
    assert score("synflow", model, torch.zeros(2, 3)) == pytest.approx(math.log(2 * flow), rel=1e-12)


def test_synflow_knows_neither_data_nor_signs_nor_normalisation() -> None:
    model, (inputs, _) = blocks("identity", "projection"), batch()
    value = score("synflow", model, inputs)
    assert score("synflow", model, 100 * inputs) == value
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(torch.where(torch.rand(parameter.shape) < 0.5, -1.0, 1.0))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.mul_(5.0)
    assert score("synflow", model, inputs) == value


def test_synflow_of_a_deep_network_is_finite() -> None:
    deep = seeded(
        lambda: nn.Sequential(
            *[
                layer
                for _ in range(60)
                for layer in (nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU6())
            ]
        )
    )
    assert 60 < score("synflow", deep, torch.zeros(1, 64, 4, 4)) < 500


def test_jacob_cov_of_inputs_that_do_not_correlate() -> None:
    """Eigenvalues of the identity are 1: -(log(1 + k) + 1 / (1 + k)) for each input."""

    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return 0.5 * x.square().sum(dim=1, keepdim=True)  # its derivative is the input itself

    rows = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
    assert score("jacob_cov", Weighted(), rows) == pytest.approx(-3 * (math.log(1 + 1e-5) + 1 / (1 + 1e-5)))
    shifted = rows * torch.tensor([[1.0], [2.0], [3.0]]) + torch.tensor([[5.0], [0.0], [-1.0]])
    assert score("jacob_cov", Weighted(), shifted) == pytest.approx(score("jacob_cov", Weighted(), rows))
    twins = score("jacob_cov", Weighted(), rows[[0, 1, 1]])
    assert twins < -1e4  # one eigenvalue is 0


def test_nwot_counts_by_hand() -> None:
    """Codes of two units over three inputs: K counts the units in which two inputs agree."""
    inputs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    kernel = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
    expected = float(torch.logdet(kernel))
    for activation in (nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.Hardtanh(0.0, 2.0)):
        assert score("nwot", activation, inputs) == pytest.approx(expected)
    twice = nn.Sequential(nn.ReLU(), nn.ReLU())  # the same codes again: the kernels add up
    assert score("nwot", twice, inputs) == pytest.approx(expected + 3 * math.log(2))


def test_nwot_of_twins_and_without_relu() -> None:
    model, (inputs, _) = chain([6, 6]), batch()
    assert math.isfinite(score("nwot", model, inputs))
    assert score("nwot", model, inputs[[0, 1, 2, 1]]) == -math.inf
    assert score("nwot", nn.Linear(3, 2), torch.randn(4, 3)) == -math.inf


def test_counts() -> None:
    model, (inputs, _) = chain([6]), batch()
    assert score("params", model, inputs) == 6 * 27 + 12 + 6 * 4 + 4
    assert score("macs", model, inputs) == 6 * 27 * 64 + 6 * 4
    assert score("layers", model, inputs) == 2
    norms = [float(module.weight.detach().double().norm()) for module in (model[0], model[-1])]
    assert score("l2_norm", model, inputs) == pytest.approx(sum(norms))
