"""Batches as trees: what is mapped, moved and called."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch

from onepath.tree import (
    call,
    detached,
    first_tensor,
    float_outputs,
    is_image_shape,
    map_tensors,
    num_examples,
    num_values,
    tensors,
    to_device,
)


class Pair(NamedTuple):
    first: Any
    second: Any


TREES = {
    "tensor": torch.arange(3.0),
    "tuple": (torch.arange(3.0), torch.ones(3, 2)),
    "list": [torch.arange(3.0), [torch.ones(3)]],
    "dict": {"a": torch.arange(3.0), "b": (torch.ones(3), torch.zeros(3))},
    "named": Pair(torch.arange(3.0), {"x": torch.ones(3)}),
}


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_map_keeps_the_form_and_changes_every_tensor(name: str) -> None:
    tree = TREES[name]
    doubled = map_tensors(lambda tensor: 2 * tensor, tree)
    assert type(doubled) is type(tree)
    pairs = zip(tensors(tree), tensors(doubled), strict=True)
    assert all(torch.equal(2 * before, after) for before, after in pairs)
    assert num_examples(tree) == 3
    assert torch.equal(first_tensor(tree), torch.arange(3.0))
    moved = to_device(tree, torch.device("meta"))
    assert all(tensor.is_meta for tensor in tensors(moved))


def test_other_leaves_stay() -> None:
    assert map_tensors(lambda tensor: tensor + 1, {"a": "word", "b": None})["a"] == "word"


def test_a_call_has_one_argument_a_tensor_several_of_a_tuple_and_names_of_a_dictionary() -> None:
    def function(first: Any, second: Any = 10, *, path: Any = None) -> Any:
        return first, second, path

    assert call(function, 1.0, path=3) == (1.0, 10, 3)
    assert call(function, (1, 2)) == (1, 2, None)
    assert call(function, [1, 2], path=3) == (1, 2, 3)
    assert call(function, {"second": 2, "first": 1}) == (1, 2, None)


def test_outputs_become_floats_and_lose_their_graph() -> None:
    weight = torch.ones(2, requires_grad=True)
    outputs = {"scores": (2 * weight).double(), "index": torch.tensor([1])}
    floats = float_outputs(outputs)
    assert (floats["scores"].dtype, floats["index"].dtype) == (torch.float32, torch.int64)
    assert floats["scores"].requires_grad
    assert not detached(floats)["scores"].requires_grad


def test_shapes() -> None:
    assert is_image_shape((3, 8, 8))
    assert not is_image_shape((3, 8))
    assert not is_image_shape(((3,), (4,), (5,)))
    assert num_values((3, 8, 8)) == 192
    assert num_values(((3,), (2, 2))) == 7
