from __future__ import annotations

import pytest
import torch

from onepath.errors import ConfigurationError
from onepath.policy import Controller
from onepath.search import FeasibleSet
from onepath.search.policy_search import PolicySearch
from onepath.testing import ALGORITHM_CHECKS, known_space, search


@pytest.mark.parametrize("check", ALGORITHM_CHECKS)
def test_contract(check) -> None:
    check(lambda space, seed, budget: PolicySearch(Controller(space, hidden=8), seed, budget))


def test_proposes_what_the_controller_prefers() -> None:
    space, _ = known_space()
    controller = Controller(space, hidden=8)
    with torch.no_grad():
        controller.head.bias[controller.options[0]] = torch.tensor([0.0, 0.0, 6.0])
    history = search(PolicySearch(controller, num=50), FeasibleSet(space))
    drawn = [architecture.indices[0] for architectures, _ in history for architecture in architectures]
    assert len(drawn) == 50
    assert drawn.count(2) > 45


def test_no_architecture_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="num"):
        PolicySearch(Controller(known_space()[0]), num=0)
