"""Gradients of architecture parameters in a bilevel problem: the architecture on validation, the weights on training.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), equations 5 to 8, and the
released code. With xi the learning rate of the weights, m their momentum, b its buffer and l their weight decay:
w' = w - xi * (m * b + grad_w L_train(w, a) + l * w) is one virtual step, and
g = grad_a L_val(w', a) - xi * (grad_a grad_w L_train(w, a)) v with v = grad_w' L_val(w', a). The product is a central
difference around the old w: (grad_a L_train(w + e v) - grad_a L_train(w - e v)) / (2 e) with e = 0.01 / |v|_2.
With clipping, the virtual step takes c * grad_w L_train with c = min(1, clip / |grad_w L_train|), so that by the chain
rule, c held constant, the implicit term has the factor c too: g = grad_a L_val(w', a) - xi * c * (...) v. The released
code for recurrent networks does so, and beside it clips v at the same norm, which the chain rule does not ask for and
which bounds the implicit term; that is followed here.
Differs from the released code: the product can also be taken exactly, by differentiating twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Loss = Callable[[], Tensor]
"""Computes a loss from the present values of the parameters; every call gives the same for the same values."""

Product = Literal["finite-difference", "exact"]

_EPSILON = 0.01


@dataclass(frozen=True)
class VirtualStep:
    """The step of the weights that an architecture step looks ahead by.

    Attributes:
        learning_rate: of the weights, xi.
        momentum: factor on the buffers.
        buffers: per weight its momentum buffer, None where there is none yet; empty for none at all.
        decays: per weight its weight decay; empty for none.
        clip_norm: largest norm of the two gradients with respect to the weights: that of the training loss, whose
            factor the implicit term then has, and v. None does not clip.
    """

    learning_rate: float
    momentum: float = 0.0
    buffers: Sequence[Tensor | None] = ()
    decays: Sequence[float] = ()
    clip_norm: float | None = None


def first_order(
    validation_loss: Loss, architecture: Sequence[Tensor], weights: Sequence[Tensor] = ()
) -> list[Tensor]:
    """grad_a L_val(w, a): one gradient per architecture parameter, zeros where the loss does not depend on it.

    Args:
        validation_loss: on a batch of the validation split.
        architecture: leaves that the loss reads.
        weights: the other leaves that it reads, whose gradients are then not computed on the way.
    """
    with _constant(weights):
        return _gradients(validation_loss(), architecture)


def second_order(
    train_loss: Loss,
    validation_loss: Loss,
    weights: Sequence[Tensor],
    architecture: Sequence[Tensor],
    step: VirtualStep,
    *,
    product: Product = "finite-difference",
) -> list[Tensor]:
    """The gradient of L_val(w'(a), a) with respect to the architecture parameters a.

    The weights hold other values in between and the same ones, bit for bit, afterwards, also after an error.
    Whatever else the losses change, such as running statistics, is up to the caller.

    Args:
        train_loss: on the batch that the weights' next update will see.
        validation_loss: on a batch of the validation split.
        weights: leaves that the losses read.
        architecture: leaves that the losses read.
        step: the virtual step.
        product: how the product of the mixed second derivative with v is taken. "exact" keeps the graph of a
            gradient and needs operations that can be differentiated twice.

    Returns:
        One gradient per architecture parameter.
    """
    xi = step.learning_rate
    with _constant(architecture):
        gradients, scale = _clipped(_gradients(train_loss(), weights), step.clip_norm)
    with _restored(weights) as old:
        _set(weights, [w - xi * d for w, d in zip(old, _directions(old, gradients, step), strict=True)])
        both = _gradients(validation_loss(), [*architecture, *weights])
        explicit, (v, _) = both[: len(architecture)], _clipped(both[len(architecture) :], step.clip_norm)
        if product == "finite-difference":
            implicit = _finite_difference(train_loss, weights, old, architecture, v)
    if product == "exact":
        implicit = exact_product(train_loss, weights, architecture, v)
    return [g - xi * scale * h for g, h in zip(explicit, implicit, strict=True)]


def finite_difference_product(
    loss: Loss, weights: Sequence[Tensor], architecture: Sequence[Tensor], v: Sequence[Tensor]
) -> list[Tensor]:
    """(grad_a grad_w loss) v by a central difference with e = 0.01 / |v|_2; zeros where v is 0."""
    with _restored(weights) as old:
        return _finite_difference(loss, weights, old, architecture, v)


def exact_product(
    loss: Loss, weights: Sequence[Tensor], architecture: Sequence[Tensor], v: Sequence[Tensor]
) -> list[Tensor]:
    """(grad_a grad_w loss) v by differentiating twice."""
    found = torch.autograd.grad(loss(), list(weights), create_graph=True, allow_unused=True)
    pairs = [(g, d) for g, d in zip(found, v, strict=True) if g is not None and g.requires_grad]
    if not pairs:
        return [torch.zeros_like(a) for a in architecture]
    total = torch.stack([(g * d).sum() for g, d in pairs]).sum()
    return _gradients(total, architecture)


def _finite_difference(
    loss: Loss,
    weights: Sequence[Tensor],
    old: Sequence[Tensor],
    architecture: Sequence[Tensor],
    v: Sequence[Tensor],
) -> list[Tensor]:
    norm = _norm(v)
    if norm == 0:
        return [torch.zeros_like(a) for a in architecture]
    epsilon = _EPSILON / norm
    sides = []
    for sign in (epsilon, -epsilon):
        _set(weights, [w + sign * d for w, d in zip(old, v, strict=True)])
        sides.append(first_order(loss, architecture, weights))
    return [(plus - minus) / (2 * epsilon) for plus, minus in zip(*sides, strict=True)]


def _directions(old: Sequence[Tensor], gradients: Sequence[Tensor], step: VirtualStep) -> Iterator[Tensor]:
    """What the virtual step subtracts, over the learning rate: momentum, gradient and decay."""
    buffers = step.buffers or [None] * len(old)
    decays = step.decays or [0.0] * len(old)
    for w, gradient, buffer, decay in zip(old, gradients, buffers, decays, strict=True):
        direction = gradient + decay * w if decay else gradient
        yield direction if buffer is None else direction + step.momentum * buffer


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t) for t in tensors])))


def _clipped(gradients: list[Tensor], clip_norm: float | None) -> tuple[list[Tensor], float]:
    """The gradients scaled to a norm of at most `clip_norm`, and the factor, at most 1."""
    if clip_norm is None:
        return gradients, 1.0
    factor = min(1.0, clip_norm / (_norm(gradients) + 1e-6))
    return [factor * gradient for gradient in gradients], factor


@torch.no_grad()
def _set(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)


@contextlib.contextmanager
def _constant(leaves: Sequence[Tensor]) -> Iterator[None]:
    """Inside, these leaves need no gradient, so that backward passes leave out what only they would take."""
    kept = [leaf.requires_grad for leaf in leaves]
    for leaf in leaves:
        leaf.requires_grad_(False)
    try:
        yield
    finally:
        for leaf, needs in zip(leaves, kept, strict=True):
            leaf.requires_grad_(needs)


@contextlib.contextmanager
def _restored(weights: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Copies of the weights, which are put back afterwards."""
    old = [weight.detach().clone() for weight in weights]
    try:
        yield old
    finally:
        _set(weights, old)
