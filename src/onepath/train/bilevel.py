"""Gradients of architecture parameters in a bilevel problem: architecture on validation data, weights on training data.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), equations 5 to 8, and the
released code.

Let w be the weights, a the architecture parameters, xi the learning rate of the weights, m their momentum, b its
buffer and l their weight decay. One virtual step of the weights is
w' = w - xi * (m * b + grad_w L_train(w, a) + l * w), and the gradient of the architecture parameters is
g = grad_a L_val(w', a) - xi * (grad_a grad_w L_train(w, a)) v with v = grad_w' L_val(w', a). The product is a central
difference around the old w: (grad_a L_train(w + e v) - grad_a L_train(w - e v)) / (2 e) with e = 0.01 / |v|_2.

With clipping, the virtual step takes c * grad_w L_train with c = min(1, clip / |grad_w L_train|). With c held constant,
the chain rule gives the implicit term the factor c too: g = grad_a L_val(w', a) - xi * c * (...) v. The released code
for recurrent networks does this. It also clips v at the same norm, which the chain rule does not require but which
bounds the implicit term. Both are done here.

Differs from the released code: the product can also be computed exactly, by differentiating twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Loss = Callable[[], Tensor]
"""A function that computes a loss, a scalar, from the present values of the parameters.

Calls with the same values return the same loss."""

Product = Literal["finite-difference", "exact"]

_EPSILON = 0.01


@dataclass(frozen=True)
class VirtualStep:
    """The virtual step of the weights by which a step of the architecture looks ahead.

    Attributes:
        learning_rate: learning rate xi of the weights.
        momentum: factor of the momentum buffers.
        buffers: momentum buffer of each weight, None for a weight without one yet; empty if no weight has one.
        decays: weight decay of each weight; empty if no weight has any.
        clip_norm: largest norm of each of the two gradients with respect to the weights: the gradient of the training
            loss, whose clipping factor also multiplies the implicit term, and v. None does not clip.
    """

    learning_rate: float
    momentum: float = 0.0
    buffers: Sequence[Tensor | None] = ()
    decays: Sequence[float] = ()
    clip_norm: float | None = None


def first_order(
    validation_loss: Loss, architecture: Sequence[Tensor], weights: Sequence[Tensor] = ()
) -> list[Tensor]:
    """Return grad_a L_val(w, a), the gradient at the present weights.

    Args:
        validation_loss: loss on a batch of the validation split.
        architecture: architecture parameters, leaf tensors that the loss depends on.
        weights: other leaf tensors that the loss depends on; naming them saves the computation of their gradients.

    Returns:
        One gradient per architecture parameter, of its shape; zeros if the loss does not depend on the parameter.
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
    """Return the gradient of L_val(w'(a), a) with respect to the architecture parameters a.

    The weights change during the call. Afterwards they are restored bit for bit, also after an error. The caller
    must restore anything else that the losses change, such as running statistics.

    Args:
        train_loss: loss on the batch of the weights' next update.
        validation_loss: loss on a batch of the validation split.
        weights: weights w, leaf tensors that the losses depend on.
        architecture: architecture parameters a, leaf tensors that the losses depend on.
        step: the virtual step from w to w'.
        product: how the product of the mixed second derivative with v is computed. "exact" keeps the graph of a
            gradient and needs operations that can be differentiated twice.

    Returns:
        One gradient per architecture parameter, of its shape.
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
    """Return (grad_a grad_w loss) v by a central difference with e = 0.01 / |v|_2.

    Args:
        loss: the loss to differentiate.
        weights: weights w, leaf tensors; changed during the call and restored afterwards.
        architecture: architecture parameters a, leaf tensors.
        v: one tensor per weight, of its shape.

    Returns:
        One tensor per architecture parameter, of its shape; zeros if v is 0.
    """
    with _restored(weights) as old:
        return _finite_difference(loss, weights, old, architecture, v)


def exact_product(
    loss: Loss, weights: Sequence[Tensor], architecture: Sequence[Tensor], v: Sequence[Tensor]
) -> list[Tensor]:
    """Return (grad_a grad_w loss) v by differentiating twice.

    Args:
        loss: the loss to differentiate, of operations that can be differentiated twice.
        weights: weights w, leaf tensors.
        architecture: architecture parameters a, leaf tensors.
        v: one tensor per weight, of its shape.

    Returns:
        One tensor per architecture parameter, of its shape.
    """
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
    """Yield, for each weight, the sum of momentum, gradient and decay that the virtual step subtracts times xi."""
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
    """Return the gradients scaled to a norm of at most `clip_norm`, and the factor, at most 1."""
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
    """Let these leaves require no gradient inside, which makes backward passes cheaper."""
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
    """Yield copies of the weights, and restore the weights from them afterwards."""
    old = [weight.detach().clone() for weight in weights]
    try:
        yield old
    finally:
        _set(weights, old)
