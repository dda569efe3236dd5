"""The modules that take a choice say what it decides."""

from __future__ import annotations

import pytest
from torch import nn

from onepath.errors import BindingError
from onepath.nn import ChoiceBlock, ElasticDepth, ElasticLinear, Supernet
from onepath.nn.alignment import widest_path
from onepath.nn.edge_sum import EdgeSum, edge_options
from onepath.space import Choice


def identities(*names: object) -> dict[object, nn.Module]:
    return {name: nn.Identity() for name in names}


def test_each_module_says_its_role() -> None:
    width, ratio, depth, kept = (
        Choice("width", [8, 16]),
        Choice("ratio", [1, 2]),
        Choice("depth", [1, 2]),
        Choice("kept", edge_options(3)),
    )
    supernet = Supernet(
        nn.Sequential(
            ElasticLinear(4, width),
            ElasticLinear(width, width * ratio),
            ElasticDepth([nn.Identity(), nn.Identity()], depth),
            ChoiceBlock(identities(3, 5)),
            EdgeSum([nn.Identity()] * 3, kept),
        )
    )
    roles = {choice.name: choice.role for choice in supernet.space.choices}
    expected = {"width": "size", "ratio": "size", "depth": "depth", "3": "operation", "kept": "operation"}
    assert roles == expected


def test_numbers_that_name_candidates_are_no_sizes() -> None:
    shared = Choice("kernel", [3, 5])
    supernet = Supernet(nn.Sequential(ChoiceBlock(identities(3, 5), shared), ChoiceBlock(identities(5, 7))))
    assert not any(choice.is_ordered for choice in supernet.space.choices)
    assert widest_path(supernet).indices == (0, 0)


@pytest.mark.parametrize("is_block_first", [True, False])
def test_a_width_that_also_decides_between_modules_stays_a_width(is_block_first: bool) -> None:
    width = Choice("width", [8, 16])
    makers = [lambda: ChoiceBlock(identities(8, 16), width), lambda: ElasticLinear(4, width)]
    for make in makers if is_block_first else reversed(makers):
        make()
    assert width.role == "size"


@pytest.mark.parametrize(
    "make", [lambda c: ElasticLinear(4, c), lambda c: ElasticDepth([nn.Identity()] * 4, c)]
)
def test_a_choice_that_says_it_is_an_operation_is_no_size_and_no_depth(make) -> None:
    with pytest.raises(BindingError, match="has role 'operation' and must not be used as a"):
        make(Choice("c", [2, 4], role="operation"))
    said = Choice("c", [2, 4], role="resolution")
    make(said)
    assert said.role == "resolution"
