"""The state that a recurrent network carries from one batch to the next."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import ShapeError


class CarriedState(nn.Module):
    """What a network remembers between batches; it has no parameters and no buffers.

    The network takes `start(x)` as its first state and gives its last state to `end`. Only `advance` makes the last
    state the first one of the next batch, and whoever runs the batches calls it: so each of several passes over one
    batch, as of several paths, begins with the same state, of which the last pass's is carried on. Without any call
    every batch begins with zeros.

    Args:
        num_features: of the state, which is (B, num_features).

    Attributes:
        first: the state that batches begin with, detached; None: zeros.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.first: Tensor | None = None
        self._last: Tensor | None = None

    def start(self, x: Tensor) -> Tensor:
        """The first state for a batch (B, ...) of floats, on its device and of its type.

        Raises:
            ShapeError: the state is of a batch of another size.
        """
        if self.first is None:
            return x.new_zeros(x.shape[0], self.num_features)
        if self.first.shape[0] != x.shape[0]:
            raise ShapeError(
                f"a batch must continue as many streams as the one before, {self.first.shape[0]}, but it has "
                f"{x.shape[0]}; do not cut batches into parts; call forget() before another text"
            )
        return self.first.to(x)

    def end(self, state: Tensor) -> None:
        """Note the last state of a pass; no gradient flows through it. An exported network has no memory."""
        if not torch.compiler.is_exporting():
            self._last = state.detach()

    def advance(self) -> None:
        """Let the next batch begin where the last pass ended."""
        if self._last is not None:
            self.first, self._last = self._last, None

    def forget(self) -> None:
        """Let the next batch begin with zeros."""
        self.first = self._last = None


def carried_states(model: object) -> list[CarriedState]:
    """The states of a module, in the order of its modules; none of a plain function."""
    if not isinstance(model, nn.Module):
        return []
    return [module for module in model.modules() if isinstance(module, CarriedState)]


@contextlib.contextmanager
def carrying(model: object) -> Iterator[Callable[[], None]]:
    """Run batches that follow one another from zeros, apart from what the model carries; that is back afterwards.

    Yields:
        What to call after each batch.
    """
    states = carried_states(model)
    kept: list[dict[str, Any]] = [{"first": state.first, "_last": state._last} for state in states]

    def advance() -> None:
        for state in states:
            state.advance()

    for state in states:
        state.forget()
    try:
        yield advance
    finally:
        for state, values in zip(states, kept, strict=True):
            state.__dict__.update(values)
