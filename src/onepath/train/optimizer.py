"""Gradient descent that touches only the parameters that have a gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from onepath.train.bilevel import VirtualStep
from onepath.train.recipe import Recipe


class ActiveSGD:
    """SGD with momentum over the parameters whose gradient is not None; all others do not move at all.

    Same arithmetic as `torch.optim.SGD`. Momentum buffers are made when a parameter is first sampled. A step
    costs one look at each parameter and one fused kernel over the active ones, however many candidates a
    supernet has.

    Args:
        named_parameters: the names key the state.
        recipe: momentum, weight decay (parameters of two or more dimensions only), nesterov, clip_norm.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, Tensor]], recipe: Recipe) -> None:
        self._names = {p: name for name, p in named_parameters if p.requires_grad}
        self._recipe = recipe
        self._groups = (
            ([p for p in self._names if p.ndim >= 2], recipe.weight_decay),
            ([p for p in self._names if p.ndim < 2], 0.0),
        )
        self._has_complex = any(p.is_complex() for p in self._names)
        self._momentum: dict[Tensor, Tensor] = {}

    def clear(self) -> None:
        """Set every gradient to None."""
        for p in self._names:
            p.grad = None

    def step(self, learning_rate: float) -> None:
        """Move the parameters that have a gradient, then set their gradients to None."""
        actives = [([p for p in group if p.grad is not None], decay) for group, decay in self._groups]
        if self._recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(
                [p for active, _ in actives for p in active], self._recipe.clip_norm
            )
        for active, decay in actives:
            if active:
                self._step_group(active, decay, learning_rate)
        for active, _ in actives:
            for p in active:
                p.grad = None

    @torch.no_grad()
    def _step_group(self, active: list[Tensor], weight_decay: float, learning_rate: float) -> None:
        buffers: list[Tensor | None] = [None] * len(active)
        if self._recipe.momentum > 0:
            buffers = [self._buffer(p) for p in active]
        gradients: list[Any] = [p.grad for p in active]
        if self._has_complex:  # two real numbers each
            active, gradients, buffers = _as_real(active), _as_real(gradients), _as_real(buffers)
        sgd(
            active,
            gradients,
            buffers,
            fused=True,
            weight_decay=weight_decay,
            momentum=self._recipe.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=self._recipe.nesterov,
            maximize=False,
        )

    def _buffer(self, parameter: Tensor) -> Tensor:
        buffer = self._momentum.get(parameter)
        if buffer is None:
            # A first step from zero equals torch's first step, which copies the gradient.
            buffer = self._momentum[parameter] = torch.zeros_like(parameter)
        return buffer

    def virtual_step(
        self, weights: Sequence[Tensor], learning_rate: float, clip_norm: float | None
    ) -> VirtualStep:
        """The next step as a look ahead sees it: without Nesterov's momentum and, unless given, without clipping."""
        decayed = {p for group, decay in self._groups if decay for p in group}
        return VirtualStep(
            learning_rate,
            self._recipe.momentum,
            [self._momentum.get(w) for w in weights],
            [self._recipe.weight_decay if w in decayed else 0.0 for w in weights],
            clip_norm,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Parameter name -> momentum buffer (not a copy), of the parameters sampled so far."""
        return {self._names[p]: buffer for p, buffer in self._momentum.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over momentum buffers; the values are copied into the parameters' own memory layout."""
        parameters = {name: p for p, name in self._names.items()}
        if any(b.shape != parameters[name].shape for name, b in state.items()):
            raise ValueError("a momentum buffer is of another shape than its parameter")
        self._momentum = {
            parameters[name]: torch.zeros_like(parameters[name]).copy_(b) for name, b in state.items()
        }


def _as_real(tensors: list[Any]) -> list[Any]:
    """The tensors, complex ones as views with a last dimension of 2."""
    return [torch.view_as_real(t) if t is not None and t.is_complex() else t for t in tensors]
