"""The state that a recurrent network carries from one batch to the next."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import ShapeError


class CarriedState(nn.Module):
    """The state that a network carries from batch to batch; a module without parameters and buffers.

    The network takes `start(x)` as its first state and passes its last state to `end`. Only `advance`, which the loop
    over the batches calls, makes this last state the first state of the next batch. So several passes over one batch,
    for example along several paths, all begin with the same state, and the last state of the last pass is carried on.
    If `advance` is never called, every batch begins with zeros.

    Args:
        num_features: number of features of the state, which has shape (B, num_features).

    Attributes:
        first: state that the next batch begins with, detached; None: zeros.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.first: Tensor | None = None
        self._last: Tensor | None = None

    def start(self, x: Tensor) -> Tensor:
        """Return the first state (B, num_features) for a batch, on the device and of the type of the batch.

        Args:
            x: the batch, (B, ...) floats.

        Raises:
            ShapeError: the carried state is of a batch of another size.
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
        """Note the last state of a pass, detached; while a network is exported, nothing is noted."""
        if not torch.compiler.is_exporting():
            self._last = state.detach()

    def advance(self) -> None:
        """Let the next batch begin with the last state of the last pass."""
        if self._last is not None:
            self.first, self._last = self._last, None

    def forget(self) -> None:
        """Let the next batch begin with zeros."""
        self.first = self._last = None


def carried_states(model: object) -> list[CarriedState]:
    """Return the carried states of a module, in the order of its modules; a plain function has none."""
    if not isinstance(model, nn.Module):
        return []
    return [module for module in model.modules() if isinstance(module, CarriedState)]


@contextlib.contextmanager
def carrying(model: object) -> Iterator[Callable[[], None]]:
    """Let consecutive batches begin with zeros inside the context; restore the model's carried states afterwards.

    Args:
        model: a module or function; one without carried states is not changed.

    Yields:
        A function to call after each batch, which carries the state on to the next batch.
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
