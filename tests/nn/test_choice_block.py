from __future__ import annotations

import pytest
import torch
from torch import nn

from onepath.errors import BindingError, SpaceError
from onepath.nn import ChoiceBlock, Gate, Supernet
from onepath.space import Choice


class Scale(nn.Module):
    """Multiplies by a parameter and counts its calls."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(value))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.factor


def block() -> ChoiceBlock:
    return ChoiceBlock({"one": Scale(1.0), "ten": Scale(10.0), "hundred": Scale(100.0)})


def test_single_path_computes_one_candidate() -> None:
    supernet = Supernet(nn.Sequential(block(), block()))
    assert supernet(torch.tensor(1.0), supernet.space.parse("1,2")) == 1000.0
    calls = [module.calls for module in supernet.modules() if isinstance(module, Scale)]
    assert calls == [0, 1, 0, 0, 0, 1]


def test_subset_is_the_plain_sum_and_skips_the_rest() -> None:
    supernet = Supernet(nn.Sequential(block()))
    assert supernet(torch.tensor(2.0), {"0": Gate.subset((0, 2))}) == 202.0
    assert [module.calls for module in supernet.modules() if isinstance(module, Scale)] == [1, 0, 1]


def test_subset_of_one_equals_the_single_path() -> None:
    supernet = Supernet(nn.Sequential(block()))
    x = torch.randn(4)
    assert torch.equal(supernet(x, {"0": Gate.subset((1,))}), supernet(x, supernet.space.parse("1")))


def test_weighted_sum_and_its_gradients_equal_the_formula() -> None:
    supernet = Supernet(nn.Sequential(block()))
    alpha = torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64, requires_grad=True)
    weights = alpha.softmax(0)
    x = torch.tensor(2.0, dtype=torch.float64)
    output = supernet(x, {"0": Gate.weighted(weights)})
    output.backward()
    values = torch.tensor([2.0, 20.0, 200.0], dtype=torch.float64)
    p = weights.detach()
    assert torch.allclose(output, (p * values).sum())
    assert torch.allclose(alpha.grad, p * (values - (p * values).sum()))


def test_architecture_after_gates_is_a_single_path_again() -> None:
    supernet = Supernet(nn.Sequential(block()))
    supernet(torch.tensor(1.0), {"0": Gate.subset((0, 1))})
    assert supernet(torch.tensor(1.0), supernet.space.parse("2")) == 100.0


def test_one_choice_shared_by_two_blocks() -> None:
    shared = Choice("op", ["a", "b"])
    module = nn.Sequential(
        ChoiceBlock({"a": Scale(2.0), "b": Scale(3.0)}, shared),
        ChoiceBlock({"a": Scale(5.0), "b": Scale(7.0)}, shared),
    )
    supernet = Supernet(module)
    assert supernet.space.size == 2
    assert supernet(torch.tensor(1.0), supernet.space.parse("1")) == 21.0


def test_sequence_names_candidates_by_their_numbers() -> None:
    assert ChoiceBlock([nn.ReLU(), nn.Tanh()]).names == ("0", "1")


def test_wrong_blocks_and_gates_are_rejected() -> None:
    with pytest.raises(BindingError, match="at least one candidate"):
        ChoiceBlock({})
    with pytest.raises(BindingError, match="options of choice 'op'"):
        ChoiceBlock({"a": nn.ReLU(), "c": nn.Tanh()}, Choice("op", ["a", "b"]))
    with pytest.raises(SpaceError, match="distinct indices"):
        Gate.subset(())
    with pytest.raises(SpaceError, match="distinct indices"):
        Gate.subset((1, 1))
    with pytest.raises(SpaceError, match="one weight per active"):
        Gate((0, 1), torch.ones(3))
    with pytest.raises(SpaceError, match="must be active before"):
        block()(torch.tensor(1.0))
    supernet = Supernet(nn.Sequential(block()))
    for gates in ({"0": Gate.single(3)}, {"nothing": Gate.single(0)}):
        with pytest.raises(SpaceError, match="must belong to a choice block"):
            supernet(torch.tensor(1.0), gates)
