"""The gates of every relaxation, against autograd of the weighted sum and against their distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock, ElasticLinear, Supernet
from onepath.nn.relaxations import (
    BinaryRelaxation,
    GumbelRelaxation,
    Relaxation,
    SoftmaxRelaxation,
    TwoPathRelaxation,
)
from onepath.nn.relaxations.binary import one_hot
from onepath.nn.relaxations.gumbel import gumbel_softmax
from onepath.space import Choice

LOGITS = [0.5, -1.0, 0.2, 1.5]


class Counted(nn.Linear):
    """Counts its passes."""

    num = 0

    def forward(self, x: Tensor) -> Tensor:
        self.num += 1
        return super().forward(x)


class Zeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def network(num: int = 4, *, none: bool = False) -> Supernet:
    """Two blocks that share a choice; double precision."""
    torch.manual_seed(0)
    choice = Choice("both", [f"c{index}" for index in range(num)])
    blocks = [
        ChoiceBlock(
            {f"c{index}": Counted(3, 3) for index in range(num)}, choice, none=Zeros() if none else None
        )
        for _ in range(2)
    ]
    return Supernet(nn.Sequential(*blocks).double())


def with_logits(relaxation: Relaxation, values: list[float]) -> Relaxation:
    with torch.no_grad():
        relaxation.logits[0].data = torch.tensor(values, dtype=torch.float64)
    return relaxation


def counts(supernet: Supernet) -> list[list[int]]:
    return [[candidate.num for candidate in block.candidates] for block in supernet.module]  # type: ignore[union-attr]


X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)


def test_one_vector_for_a_shared_choice() -> None:
    relaxation = SoftmaxRelaxation(network())
    assert relaxation.names == ("both",)
    assert [tuple(p.shape) for p in relaxation.logits] == [(4,)]


def test_softmax_is_the_weighted_sum() -> None:
    supernet = network()
    relaxation = with_logits(SoftmaxRelaxation(supernet), LOGITS)
    found = supernet(X, relaxation.architecture_path(np.random.default_rng(0), 0.0))
    p = torch.tensor(LOGITS, dtype=torch.float64).softmax(0)
    y = X
    for block in supernet.module:
        y = sum(w * candidate(y) for w, candidate in zip(p, block.candidates, strict=True))
    assert torch.allclose(found, y, atol=1e-14)
    found.sum().backward()
    assert relaxation.logits[0].grad is not None


def test_none_takes_its_share_and_is_not_computed() -> None:
    with_none, without = network(none=True), network()
    relaxation = with_logits(SoftmaxRelaxation(with_none), [*LOGITS, 0.7])
    assert relaxation.candidates == (("c0", "c1", "c2", "c3", "none"),)
    path = relaxation.architecture_path(np.random.default_rng(0), 0.0)
    share = 1 - float(torch.tensor([*LOGITS, 0.7]).softmax(0)[-1])
    inner = without.module[0]  # type: ignore[index]
    p = torch.tensor(LOGITS, dtype=torch.float64).softmax(0)
    expected = share * sum(w * c(X) for w, c in zip(p, inner.candidates, strict=True))
    with_none.activate(path)
    assert torch.allclose(with_none.module[0](X), expected)  # type: ignore[index]
    assert path.gates["both"].active == (0, 1, 2, 3)


def test_weight_paths_have_no_gradient_to_the_logits() -> None:
    for kind in (SoftmaxRelaxation, GumbelRelaxation, BinaryRelaxation, TwoPathRelaxation):
        supernet = network()
        relaxation = kind(supernet)
        supernet(X, relaxation.weight_path(np.random.default_rng(0), 0.5)).sum().backward()
        assert all(p.grad is None for p in relaxation.logits)


@pytest.mark.parametrize("kind", [GumbelRelaxation, BinaryRelaxation])
def test_only_the_drawn_candidate_is_computed_forward(kind: type[Relaxation]) -> None:
    supernet = network()
    relaxation = kind(supernet)
    for path in (relaxation.weight_path, relaxation.architecture_path):
        supernet(X, path(np.random.default_rng(0), 0.5))
    assert [sum(block) for block in counts(supernet)] == [2, 2]


def test_the_others_are_computed_one_by_one_in_the_backward_of_binary_gates() -> None:
    supernet = network()
    relaxation = BinaryRelaxation(supernet)
    y = supernet(X, relaxation.architecture_path(np.random.default_rng(0), 0.5))
    y.sum().backward()
    assert counts(supernet) == [[1, 1, 1, 1], [1, 1, 1, 1]]


def test_binary_gates_have_the_gradient_of_the_softmax_weighted_sum() -> None:
    """At a fixed dL/dy, d(sum p_j o_j)/da: the identity of the paper's equation 4."""
    supernet = Supernet(nn.Sequential(ChoiceBlock([nn.Linear(3, 3) for _ in range(4)])).double())
    relaxation = with_logits(BinaryRelaxation(supernet), LOGITS)
    direction = torch.randn(2, 3, dtype=torch.float64)
    y = supernet(X, relaxation.architecture_path(np.random.default_rng(3), 0.0))
    (found,) = torch.autograd.grad((direction * y).sum(), list(relaxation.logits))
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    block = supernet.module[0]  # type: ignore[index]
    mixed = sum(w * c(X) for w, c in zip(logits.softmax(0), block.candidates, strict=True))
    (truth,) = torch.autograd.grad((direction * mixed).sum(), logits)
    assert torch.allclose(found, truth, atol=1e-15)


def test_one_hot_gates() -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    gates = one_hot(logits, 2)
    assert gates.tolist() == [0, 0, 1, 0]
    v = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    (found,) = torch.autograd.grad(gates @ v, logits)
    (truth,) = torch.autograd.grad(logits.softmax(0) @ v, logits)
    assert torch.allclose(found, truth)


def test_two_paths_leave_the_other_probabilities_alone() -> None:
    supernet = network(6)
    values = [0.3, -0.2, 1.0, 0.0, -1.0, 0.5]
    relaxation = with_logits(TwoPathRelaxation(supernet), values)
    optimizer = torch.optim.Adam(relaxation.parameters(), 0.1, (0.9, 0.999))
    for step in range(5):
        before = [p.detach().clone() for p in relaxation.logits]
        old = before[0].softmax(0)
        y = supernet(X, relaxation.architecture_path(np.random.default_rng(step), 0.0))
        optimizer.zero_grad()
        (y**2).sum().backward()
        optimizer.step()
        relaxation.after_step(before)
        new = relaxation.logits[0].detach().softmax(0)
        moved = torch.nonzero(relaxation.logits[0].detach() != before[0]).flatten().tolist()
        assert len(moved) == 2
        others = [index for index in range(6) if index not in moved]
        assert torch.allclose(new[others], old[others], atol=1.5e-8)
        assert new[moved].sum() == pytest.approx(float(old[moved].sum()))
        assert (new - old).abs().max() > 1e-3
    assert [sum(block) for block in counts(supernet)] == [10, 10]


def test_two_paths_are_drawn_without_replacement_by_probability() -> None:
    relaxation = with_logits(TwoPathRelaxation(network()), LOGITS)
    p = torch.tensor(LOGITS).softmax(0).numpy()
    rng, found = np.random.default_rng(0), np.zeros(4)
    for _ in range(4000):
        found[list(relaxation.architecture_path(rng, 0.0).gates["both"].active)] += 1
    # P(j first) + sum over others first.
    expected = [p[j] + sum(p[i] * p[j] / (1 - p[i]) for i in range(4) if i != j) for j in range(4)]
    assert np.abs(found / 4000 - expected).max() < 4 * np.sqrt(0.25 / 4000)


def test_gumbel_draws_by_the_softmax_probability() -> None:
    logits = torch.tensor(LOGITS)
    rng = np.random.default_rng(0)
    draws = [int(gumbel_softmax(logits, 0.7, rng).argmax()) for _ in range(6000)]
    p = logits.softmax(0).numpy()
    deviation = np.sqrt(p * (1 - p) / 6000)
    assert (np.abs(np.bincount(draws, minlength=4) / 6000 - p) < 4 * deviation).all()


def test_binary_paths_are_drawn_by_the_softmax_probability() -> None:
    relaxation = with_logits(BinaryRelaxation(network()), LOGITS)
    rng = np.random.default_rng(1)
    draws = [relaxation.weight_path(rng, 0.0).gates["both"].active[0] for _ in range(6000)]
    p = torch.tensor(LOGITS).softmax(0).numpy()
    assert (np.abs(np.bincount(draws, minlength=4) / 6000 - p) < 4 * np.sqrt(p * (1 - p) / 6000)).all()


def test_straight_through_has_value_one_and_the_relaxed_gradient() -> None:
    relaxation = with_logits(GumbelRelaxation(network(), temperatures=(2.0, 2.0)), LOGITS)
    gate = relaxation.architecture_path(np.random.default_rng(5), 0.3).gates["both"]
    assert gate.weights is not None
    assert gate.weights.tolist() == [1.0]
    (found,) = torch.autograd.grad(gate.weights.sum(), list(relaxation.logits))
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    relaxed = gumbel_softmax(logits, 2.0, np.random.default_rng(5))
    (truth,) = torch.autograd.grad(relaxed[gate.active[0]], logits)
    assert torch.allclose(found, truth)
    assert relaxation.temperature(0.3) == 2.0
    assert GumbelRelaxation(network(), temperatures=(10, 0.5)).temperature(0.5) == 5.25


def test_skip_dropout_keeps_the_mean_of_the_skip() -> None:
    torch.manual_seed(0)
    supernet = Supernet(nn.Sequential(ChoiceBlock({"skip": nn.Identity(), "linear": nn.Linear(3, 3)})))
    relaxation = SoftmaxRelaxation(supernet, skip_dropout=0.5, deviation=0.0)
    rng, total = np.random.default_rng(0), 0.0
    for _ in range(2000):
        gate = relaxation.weight_path(rng, 0.5).gates["0"]
        assert gate.weights is not None
        total += float(gate.weights[gate.active.index(0)]) if 0 in gate.active else 0.0
    assert total / 2000 == pytest.approx(0.5, abs=0.02)
    assert len(relaxation.weight_path(rng, 1.0).gates["0"].active) == 2


def mean_weights(candidates: dict[str, nn.Module], rate: float) -> np.ndarray:
    """Mean weight of each candidate over many updates of the weights, 0 where it is left out."""
    relaxation = SoftmaxRelaxation(
        Supernet(nn.Sequential(ChoiceBlock(candidates))), skip_dropout=rate, deviation=0.0
    )
    rng, total = np.random.default_rng(0), np.zeros(len(candidates))
    for _ in range(2000):
        gate = relaxation.weight_path(rng, 0.0).gates["0"]
        assert gate.weights is not None
        total[list(gate.active)] += gate.weights.numpy()
    return total / 2000


def test_skip_dropout_never_drops_all_candidates() -> None:
    skips = {"skip": nn.Identity(), "skip_connect": nn.Identity()}
    for rate in (0.5, 0.9):
        assert mean_weights({"skip": nn.Identity()}, rate) == pytest.approx([1.0])
        assert mean_weights(skips, rate) == pytest.approx([0.5, 0.5])
    found = mean_weights({**skips, "linear": nn.Linear(3, 3)}, 0.5)
    assert found == pytest.approx([1 / 3] * 3, abs=0.03)


def test_binary_gates_leave_running_statistics_alone() -> None:
    torch.manual_seed(0)
    block = ChoiceBlock([nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)) for _ in range(3)])
    supernet = Supernet(nn.Sequential(block))
    relaxation = BinaryRelaxation(supernet)
    path = relaxation.architecture_path(np.random.default_rng(0), 0.0)
    supernet(torch.randn(4, 2, 3, 3), path).square().sum().backward()
    trained = [int(candidate[1].num_batches_tracked) for candidate in block.candidates]  # type: ignore[index]
    assert sum(trained) == 1


def test_sizes_are_rejected_by_name() -> None:
    supernet = Supernet(nn.Sequential(ElasticLinear(3, Choice("width", [1, 2]))))
    with pytest.raises(ConfigurationError, match="width"):
        SoftmaxRelaxation(supernet)
