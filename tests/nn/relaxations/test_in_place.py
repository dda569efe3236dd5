"""Operations that change a tensor in place, behind a block and inside its candidates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onepath.errors import SpaceError
from onepath.nn import ChoiceBlock, GatedPath, Supernet
from onepath.nn.relaxations import (
    BinaryRelaxation,
    GumbelRelaxation,
    Relaxation,
    SoftmaxRelaxation,
    TwoPathRelaxation,
)


class Counted(nn.Linear):
    """Counts its passes."""

    num = 0

    def forward(self, x: Tensor) -> Tensor:
        self.num += 1
        return super().forward(x)


def network(*, inplace: bool) -> Supernet:
    """A block of two layers and an identity, with a ReLU behind it."""
    torch.manual_seed(0)
    block = ChoiceBlock({"a": Counted(3, 3), "b": Counted(3, 3), "skip": nn.Identity()})
    return Supernet(nn.Sequential(nn.Linear(3, 3), block, nn.ReLU(inplace=inplace), nn.Linear(3, 3)).double())


def path_of(relaxation: Relaxation, index: int) -> GatedPath:
    """A path of the logits' step that has drawn this candidate."""
    for seed in range(100):
        path = relaxation.architecture_path(np.random.default_rng(seed), 0.0)
        if path.gates["1"].active == (index,):
            return path
    raise AssertionError("not drawn")


X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)


def gradients(supernet: Supernet, index: int) -> list[Tensor]:
    relaxation = BinaryRelaxation(supernet, deviation=0.5)
    leaves = [*relaxation.logits, *supernet.parameters()]
    y = supernet(X, path_of(relaxation, index))
    found = torch.autograd.grad(y.square().sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_what_follows_binary_gates_may_change_their_output_in_place(index: int) -> None:
    changing, plain = network(inplace=True), network(inplace=False)
    for ours, truth in zip(gradients(changing, index), gradients(plain, index), strict=True):
        assert torch.equal(ours, truth)
    candidates = changing.module[1].candidates  # type: ignore[index]
    # The drawn layer is computed again, since its output is gone; that of the identity is a copy.
    assert [candidate.num for candidate in candidates[:2]] == [1 + (index == 0), 1 + (index == 1)]
    assert [candidate.num for candidate in plain.module[1].candidates[:2]] == [1, 1]  # type: ignore[index]


def beginning_in_place(inplace: dict[str, bool]) -> Supernet:
    torch.manual_seed(0)
    block = ChoiceBlock(
        {
            name: nn.Sequential(nn.Hardswish(inplace=changes), nn.Linear(3, 3))
            for name, changes in inplace.items()
        }
    )
    return Supernet(nn.Sequential(nn.Linear(3, 3), block).double())


@pytest.mark.parametrize("kind", [SoftmaxRelaxation, TwoPathRelaxation, BinaryRelaxation])
def test_candidates_that_change_a_shared_input_are_an_error(kind: type[Relaxation]) -> None:
    supernet = beginning_in_place({"a": True, "b": True})
    path = kind(supernet).architecture_path(np.random.default_rng(0), 0.0)
    with pytest.raises(SpaceError, match=r"changes it in place; let it begin with inplace=False"):
        supernet(X, path)


def test_a_candidate_that_was_not_drawn_is_found_in_the_backward() -> None:
    supernet = beginning_in_place({"a": False, "b": True})
    y = supernet(X, path_of(BinaryRelaxation(supernet), 0))
    with pytest.raises(SpaceError, match="'b' changes it in place"):
        y.sum().backward()


def test_a_candidate_that_runs_alone_may_change_its_input() -> None:
    changing, plain = (beginning_in_place({"a": inplace, "b": inplace}) for inplace in (True, False))
    for index in range(2):
        paths = [supernet.space.architecture([index]) for supernet in (changing, plain)]
        assert torch.equal(changing(X, paths[0]), plain(X, paths[1]))
    logits = []
    for supernet in (changing, plain):
        relaxation = GumbelRelaxation(supernet)
        y = supernet(X, relaxation.architecture_path(np.random.default_rng(0), 0.0))
        logits.append(torch.autograd.grad(y.square().sum(), list(relaxation.logits))[0])
    assert torch.equal(*logits)
