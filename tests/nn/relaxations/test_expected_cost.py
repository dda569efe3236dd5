"""Expected costs and derived architectures, against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from onepath.counting import CostTable, CostTerm, most_probable
from onepath.errors import ConfigurationError, InfeasibleError
from onepath.nn import ChoiceBlock, Supernet
from onepath.nn.edge_sum import EdgeSum, edge_options
from onepath.nn.relaxations import ExpectedCost, SoftmaxRelaxation, derive
from onepath.space import Choice
from onepath.train import CostLoss


def chain(nums: tuple[int, ...] = (3, 4)) -> Supernet:
    return Supernet(nn.Sequential(*(ChoiceBlock([nn.Identity() for _ in range(num)]) for num in nums)))


def random_logits(relaxation: SoftmaxRelaxation, seed: int = 0) -> None:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in relaxation.logits:
            p.copy_(torch.randn(p.shape, generator=rng))


def test_expected_cost_and_its_gradient_in_closed_form() -> None:
    supernet = chain()
    relaxation = SoftmaxRelaxation(supernet)
    random_logits(relaxation)
    costs = [np.array([1.0, 5.0, 3.0]), np.array([2.0, 0.5, 4.0, 1.0])]
    table = CostTable(10.0, [CostTerm(str(i), c) for i, c in enumerate(costs)], "ms")
    expected = ExpectedCost(relaxation, table)()
    expected.backward()
    total = 10.0
    for logits, cost in zip(relaxation.logits, costs, strict=True):
        p = logits.detach().double().softmax(0).numpy()
        mean = float(p @ cost)
        total += mean
        assert np.allclose(logits.grad.numpy(), p * (cost - mean), atol=1e-6)
    assert expected.item() == pytest.approx(total, rel=1e-6)


def node() -> Supernet:
    """One node that keeps two of three edges, two operations each."""
    edges = [ChoiceBlock({"a": nn.Identity(), "b": nn.Tanh()}, Choice(f"e{i}", ["a", "b"])) for i in range(3)]
    return Supernet(EdgeSum(edges, Choice("kept", edge_options(3))))


def test_terms_over_conditional_choices_equal_the_mean_over_architectures() -> None:
    supernet = node()
    relaxation = SoftmaxRelaxation(supernet)
    random_logits(relaxation)
    rng = np.random.default_rng(0)
    joint = rng.integers(1, 9, (2, 2))
    table = CostTable(
        3, [CostTerm("e0", [1, 4]), CostTerm("e2", [2, 7]), CostTerm(("e0", "e1"), joint)], "macs"
    )
    p = {name: values.detach() for name, values in relaxation.probabilities().items()}
    total = 0.0
    for kept, options in itertools.product(edge_options(3), itertools.product("ab", repeat=3)):
        architecture = supernet.space.architecture(
            {"kept": kept, **{f"e{i}": o for i, o in enumerate(options)}}
        )
        weight = 1 / 3
        for index, option in enumerate(options):
            weight *= float(p[f"e{index}"]["ab".index(option)])
        total += weight * float(table.cost(architecture))
    assert ExpectedCost(relaxation, table)().item() == pytest.approx(total, rel=1e-6)


def test_relaxed_node_is_the_plain_sum_and_only_kept_edges_run() -> None:
    supernet = node()
    x = torch.linspace(-1, 1, 5)
    relaxation = SoftmaxRelaxation(supernet)
    random_logits(relaxation)
    found = supernet([x, 2 * x, 3 * x], relaxation.architecture_path(np.random.default_rng(0), 0.0))
    expected = sum(
        w[0] * s + w[1] * s.tanh()
        for w, s in zip(relaxation.probabilities().values(), [x, 2 * x, 3 * x], strict=True)
    )
    assert torch.allclose(found, expected)
    one = supernet.space.architecture({"kept": "0,2", "e0": "a", "e2": "b"})
    assert torch.allclose(supernet([x, 2 * x, 3 * x], one), x + (3 * x).tanh())
    assert torch.allclose(supernet.extract(one)([x, 2 * x, 3 * x]), x + (3 * x).tanh())
    assert supernet.space.size == 3 * 4


def test_two_rules_of_discretisation_differ_where_none_weighs() -> None:
    """Operations a, b and none on three edges: the weights demote edge 0, the logits do not."""
    edges = [
        ChoiceBlock({"a": nn.Identity(), "b": nn.Tanh()}, Choice(f"e{i}", ["a", "b"]), none=nn.Identity())
        for i in range(3)
    ]
    supernet = Supernet(EdgeSum(edges, Choice("kept", edge_options(3))))
    relaxation = SoftmaxRelaxation(supernet)
    with torch.no_grad():
        for p, values in zip(relaxation.logits, [(1, 0, 3), (0.8, 0, 0), (0.7, 0, 0)], strict=True):
            p.copy_(torch.tensor(values))
    strengths = [float(p.detach()[:2].max()) for p in relaxation.probabilities().values()]
    assert strengths == pytest.approx([0.114, 0.527, 0.502], abs=1e-3)
    assert derive(relaxation)["kept"] == "1,2"
    assert derive(relaxation, rule="logits")["kept"] == "0,1"
    with torch.no_grad():
        for p in relaxation.logits:
            p.zero_()
    tied = derive(relaxation)
    assert (tied["kept"], tied["e0"], tied["e1"]) == ("0,1", "a", "a")


@pytest.mark.parametrize("seed", range(6))
def test_most_probable_within_a_limit_equals_enumeration(seed: int) -> None:
    supernet = node() if seed % 2 else chain((3, 4, 2, 3))
    space, rng = supernet.space, np.random.default_rng(seed)
    scores = {c.name: rng.normal(size=c.num_options).tolist() for c in space.choices if c.name != "kept"}
    names = list(scores)
    terms = [CostTerm(n, rng.integers(1, 30, space.choices[space.column(n)].num_options)) for n in names]
    shape = [space.choices[space.column(n)].num_options for n in names[:2]]
    table = CostTable(5, [*terms, CostTerm(names[:2], rng.integers(0, 9, shape))])
    rows = space.enumerate_matrix()
    costs, active = table.costs(space, rows), space.active(rows)
    totals = sum(
        np.where(active[:, space.column(n)], np.array(scores[n])[rows[:, space.column(n)]], 0.0)
        for n in names
    )
    for share in (0.2, 0.5, 1.0):
        limit = float(np.quantile(costs, share))
        found = most_probable(space, scores, table, limit)
        assert table.cost(found) <= limit
        row = next(i for i, row in enumerate(rows.tolist()) if tuple(row) == found.indices)
        assert totals[row] == pytest.approx(totals[costs <= limit].max())
    with pytest.raises(InfeasibleError, match=str(costs.min())):
        most_probable(space, scores, table, float(costs.min()) - 1)


def test_both_forms_of_the_cost_loss() -> None:
    relaxation = SoftmaxRelaxation(chain((2,)), deviation=0.0)
    cost = ExpectedCost(relaxation, CostTable(0.0, [CostTerm("0", [4.0, 12.0])], "ms"))
    loss = torch.tensor(2.0)
    assert CostLoss(cost, 4.0)(loss).item() == pytest.approx(2.0 + 0.1 * (8 - 4) / 4)
    multiplied = CostLoss(cost, 4.0, "multiply-log")(loss)
    assert multiplied.item() == pytest.approx(0.2 * 2.0 * (np.log(8) / np.log(4)) ** 0.3)
    multiplied.backward()
    assert relaxation.logits[0].grad[0] < 0 < relaxation.logits[0].grad[1]
    with pytest.raises(ConfigurationError, match="reference > 1"):
        CostLoss(cost, 0.8, "multiply-log")
    cheap = ExpectedCost(relaxation, CostTable(0.0, [CostTerm("0", [0.4, 0.6])], "ms"))
    with pytest.raises(ConfigurationError, match="above 1"):
        CostLoss(cheap, 4.0, "multiply-log")(loss)


def test_logits_move_to_the_cheaper_candidate_when_the_loss_is_constant() -> None:
    relaxation = SoftmaxRelaxation(chain((2,)), deviation=0.0)
    cost = CostLoss(ExpectedCost(relaxation, CostTable(0.0, [CostTerm("0", [4.0, 12.0])], "ms")), 4.0)
    optimizer = torch.optim.Adam(relaxation.parameters(), 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        cost(torch.tensor(1.0)).backward()
        optimizer.step()
    assert relaxation.probabilities()["0"][0] > 0.95


def test_a_constant_alone_is_no_expected_cost() -> None:
    relaxation = SoftmaxRelaxation(Supernet(nn.Sequential(ChoiceBlock([nn.Identity(), nn.Identity()]))))
    with pytest.raises(ConfigurationError, match="needs a table with a term"):
        ExpectedCost(relaxation, CostTable(5.0, [], "ms"))


@pytest.mark.parametrize("name", ["strength", "scale", "exponent"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_numbers_of_a_cost_loss_outside_their_domain(name: str, value: float) -> None:
    relaxation = SoftmaxRelaxation(Supernet(nn.Sequential(ChoiceBlock([nn.Identity(), nn.Identity()]))))
    cost = ExpectedCost(relaxation, CostTable(0.0, [CostTerm("0", [4.0, 12.0])], "ms"))
    with pytest.raises(ConfigurationError, match="strength, scale and exponent above 0"):
        CostLoss(cost, 4.0, **{name: value})
