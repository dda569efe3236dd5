"""Optimizers that move only the parameters that have a gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from onepath.errors import ConfigurationError
from onepath.train.bilevel import VirtualStep
from onepath.train.recipe import Recipe


class ActiveOptimizer(ABC):
    """An optimizer that moves the parameters whose gradient is not None, and no others.

    Other parameters do not move at all, not even by momentum or decay. A parameter gets its state when it is first
    sampled. A step costs one look at each parameter and one fused kernel over the active ones, however many candidates
    a supernet has.

    Args:
        named_parameters: pairs of name and parameter; the names are the keys of the saved state. Parameters that do
            not require a gradient are left out.
        recipe: gives weight decay (for parameters with two or more dimensions only), `clip_value`, `clip_norm` and the
            settings of the optimizer; its schedule is not used.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, Tensor]], recipe: Recipe) -> None:
        self._names = {p: name for name, p in named_parameters if p.requires_grad}
        self._recipe = recipe
        self._groups = (
            ([p for p in self._names if p.ndim >= 2], recipe.weight_decay),
            ([p for p in self._names if p.ndim < 2], 0.0),
        )

    def clear(self) -> None:
        """Set every gradient to None."""
        for p in self._names:
            p.grad = None

    def step(self, learning_rate: float) -> None:
        """Clip the gradients, move the parameters that have one in place, then set the gradients to None."""
        actives = [([p for p in group if p.grad is not None], decay) for group, decay in self._groups]
        if self._recipe.clip_value is not None:
            torch.nn.utils.clip_grad_value_(
                [p for active, _ in actives for p in active], self._recipe.clip_value
            )
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

    @abstractmethod
    def _step_group(self, active: list[Tensor], weight_decay: float, learning_rate: float) -> None:
        """Move these parameters by their gradients, in place."""

    def virtual_step(
        self,
        weights: Sequence[Tensor],  # noqa: ARG002
        learning_rate: float,  # noqa: ARG002
        clip_norm: float | None,  # noqa: ARG002
    ) -> VirtualStep:
        """Return the next step in the form that second-order DARTS needs for its look ahead.

        Args:
            weights: parameters of this optimizer.
            learning_rate: learning rate of the step.
            clip_norm: largest norm of the look ahead's gradients; None does not clip.

        Raises:
            ConfigurationError: the optimizer is not SGD; a look ahead is known for SGD alone.
        """
        raise ConfigurationError(
            f"a look ahead needs optimizer 'sgd', but the recipe has {self._recipe.optimizer!r}; use order first, or "
            "sgd"
        )

    @abstractmethod
    def _buffers(self) -> Mapping[str, dict[Tensor, Tensor]]:
        """Return kind of state -> parameter -> state, for the parameters sampled so far."""

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return kind of state -> parameter name -> state (not a copy), for the parameters sampled so far."""
        return {
            kind: {self._names[p]: buffer for p, buffer in buffers.items()}
            for kind, buffers in self._buffers().items()
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore what `state_dict` returned; the values are copied into the parameters' own memory layout.

        Raises:
            KeyError: a kind of state is missing, or a parameter has an unknown name.
            ValueError: the state of a parameter has another shape than it needs.
        """
        parameters = {name: p for p, name in self._names.items()}
        for kind, buffers in self._buffers().items():
            buffers.clear()
            for name, saved in state[kind].items():
                parameter = parameters[name]
                if saved.shape != (torch.Size(()) if kind == "steps" else parameter.shape):
                    raise ValueError(f"the {kind} of a parameter are of another shape than it needs")
                own = _no_steps(parameter) if kind == "steps" else torch.zeros_like(parameter)
                buffers[parameter] = own.copy_(saved)


class ActiveSGD(ActiveOptimizer):
    """SGD with momentum; the same arithmetic as `torch.optim.SGD`."""

    def __init__(self, named_parameters: Iterable[tuple[str, Tensor]], recipe: Recipe) -> None:
        super().__init__(named_parameters, recipe)
        self._has_complex = any(p.is_complex() for p in self._names)
        self._momentum: dict[Tensor, Tensor] = {}

    def _buffers(self) -> Mapping[str, dict[Tensor, Tensor]]:
        return {"momentum": self._momentum}

    @torch.no_grad()
    def _step_group(self, active: list[Tensor], weight_decay: float, learning_rate: float) -> None:
        buffers: list[Tensor | None] = [None] * len(active)
        if self._recipe.momentum > 0:
            buffers = [self._buffer(p) for p in active]
        gradients: list[Any] = [p.grad for p in active]
        if self._has_complex:  # the kernel takes real numbers
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
        """See `ActiveOptimizer.virtual_step`; the step leaves out Nesterov's momentum, and clips only if asked to."""
        decayed = {p for group, decay in self._groups if decay for p in group}
        return VirtualStep(
            learning_rate,
            self._recipe.momentum,
            [self._momentum.get(w) for w in weights],
            [self._recipe.weight_decay if w in decayed else 0.0 for w in weights],
            clip_norm,
        )


class ActiveAdamW(ActiveOptimizer):
    """AdamW with decoupled decay; the same arithmetic as `torch.optim.AdamW`.

    The number of steps of a parameter counts only the updates in which it was sampled.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019 (arXiv 1711.05101), Algorithm 2.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, Tensor]], recipe: Recipe) -> None:
        super().__init__(named_parameters, recipe)
        self._means: dict[Tensor, Tensor] = {}
        self._squares: dict[Tensor, Tensor] = {}
        self._steps: dict[Tensor, Tensor] = {}

    def _buffers(self) -> Mapping[str, dict[Tensor, Tensor]]:
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    @torch.no_grad()
    def _step_group(self, active: list[Tensor], weight_decay: float, learning_rate: float) -> None:
        for p in active:
            if p not in self._means:
                self._means[p], self._squares[p] = torch.zeros_like(p), torch.zeros_like(p)
                self._steps[p] = _no_steps(p)
        beta1, beta2 = self._recipe.betas or (0.9, 0.999)
        adamw(
            active,
            [p.grad for p in active if p.grad is not None],
            [self._means[p] for p in active],
            [self._squares[p] for p in active],
            [],
            [self._steps[p] for p in active],
            fused=not any(p.is_complex() for p in active),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=learning_rate,
            weight_decay=weight_decay,
            eps=self._recipe.epsilon or 1e-8,
            maximize=False,
        )


def active_optimizer(named_parameters: Iterable[tuple[str, Tensor]], recipe: Recipe) -> ActiveOptimizer:
    """Return a new optimizer of the kind that `recipe.optimizer` names.

    Args:
        named_parameters: pairs of name and parameter; see `ActiveOptimizer`.
        recipe: the recipe of the training.
    """
    return {"sgd": ActiveSGD, "adamw": ActiveAdamW}[recipe.optimizer](named_parameters, recipe)


def _no_steps(parameter: Tensor) -> Tensor:
    """Return a counter of AdamW's steps at 0; fused kernels need it on the parameter's device."""
    return torch.zeros((), dtype=torch.float32, device=parameter.device)


def _as_real(tensors: list[Any]) -> list[Any]:
    """Return the tensors, complex ones as real views with a last dimension of 2."""
    return [torch.view_as_real(t) if t is not None and t.is_complex() else t for t in tensors]
