"""Batches as trees: a tensor, or a tuple, list or dictionary of trees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Tree = Any
"""A tensor, or a tuple, list or dictionary of trees."""


def map_tensors(function: Callable[[Tensor], Any], tree: Tree) -> Any:
    """Return the same tree with every tensor replaced by the result of `function`; other leaves are unchanged."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {name: map_tensors(function, item) for name, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(function, item) for item in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_tensors(function, item) for item in tree)
    return tree


def tensors(tree: Tree) -> Iterator[Tensor]:
    """Yield the tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensors(item)
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from tensors(item)


def to_device(tree: Tree, device: torch.device) -> Tree:
    """Return the tree with every tensor on a device; copies from pinned memory are asynchronous."""
    return map_tensors(lambda tensor: tensor.to(device, non_blocking=True), tree)


def first_tensor(tree: Tree) -> Tensor:
    """Return the first tensor of a tree; the first dimension of a batch's tensors is the number of examples."""
    return next(tensors(tree))


def num_examples(tree: Tree) -> int:
    """Return the number of examples in a batch."""
    return len(first_tensor(tree))


def call(function: Callable[..., Any], inputs: Tree, **named: Any) -> Any:
    """Call a network with a batch's inputs: a tensor as one argument, a tuple or list as several, a dictionary by name.

    Args:
        function: a module, or any callable.
        inputs: inputs of a batch.
        named: further arguments, passed by name.

    Returns:
        The result of `function`.
    """
    if isinstance(inputs, dict):
        return function(**inputs, **named)
    if isinstance(inputs, list | tuple):
        return function(*inputs, **named)
    return function(inputs, **named)


def float_outputs(outputs: Tree) -> Tree:
    """Return the outputs of a network with every floating-point tensor in float32."""
    return map_tensors(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor, outputs)


def detached(outputs: Tree) -> Tree:
    """Return the outputs detached from their autograd graph; the tensors share memory with the given ones."""
    return map_tensors(Tensor.detach, outputs)


def is_image_shape(shape: Any) -> bool:
    """Whether the shape of one example is that of one image, (C, H, W)."""
    return len(shape) == 3 and all(isinstance(size, int) for size in shape)


def num_values(shape: Any) -> int:
    """Return how many numbers one example has.

    Args:
        shape: shape of the example without the batch, or a tuple of shapes if the example has several tensors.
    """
    if all(isinstance(size, int) for size in shape):
        return math.prod(shape)
    return sum(num_values(part) for part in shape)
