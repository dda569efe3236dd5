"""The bilevel gradient: closed forms, and products of second derivatives by two ways."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from onepath.train.bilevel import (
    VirtualStep,
    exact_product,
    finite_difference_product,
    first_order,
    second_order,
)


@pytest.mark.parametrize("xi", [0.0, 0.1, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("product", ["finite-difference", "exact"])
def test_toy_problem_ends_at_two_over_one_plus_two_xi(xi: float, product: str) -> None:
    """L_val = a w - 2 a + 1 and L_train = w^2 - 2 a w + a^2 from (a, w) = (2, -2)."""
    a = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    w = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)

    def train() -> Tensor:
        return w**2 - 2 * a * w + a**2

    def validation() -> Tensor:
        return a * w - 2 * a + 1

    for _ in range(600):
        gradient = second_order(train, validation, [w], [a], VirtualStep(xi), product=product)[0]  # type: ignore[arg-type]
        with torch.no_grad():
            a -= 0.1 * gradient
        step = first_order(train, [w])[0]
        with torch.no_grad():
            w -= 0.1 * step
    assert a.item() == pytest.approx(2 / (1 + 2 * xi), abs=1e-4)
    assert w.item() == pytest.approx(2 / (1 + 2 * xi), abs=1e-4)


def quadratic(dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
    """Weights (6,), parameters (4,), a direction, and the mixed second derivative of 0.5 [w a] H [w a]."""
    rng = torch.Generator().manual_seed(0)
    matrix = torch.randn(10, 10, dtype=dtype, generator=rng)
    matrix = matrix + matrix.T
    w, a, v = (torch.randn(n, dtype=dtype, generator=rng) for n in (6, 4, 6))
    return [w.requires_grad_()], [a.requires_grad_()], [v], matrix


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_finite_difference_equals_the_exact_product_on_a_quadratic(
    dtype: torch.dtype, tolerance: float
) -> None:
    weights, architecture, v, matrix = quadratic(dtype)

    def loss() -> Tensor:
        both = torch.cat([weights[0], architecture[0]])
        return 0.5 * both @ matrix @ both

    truth = matrix[6:, :6] @ v[0]
    exact = exact_product(loss, weights, architecture, v)[0]
    finite = finite_difference_product(loss, weights, architecture, v)[0]
    assert torch.allclose(exact, truth, rtol=1e-5)
    # The loss is quadratic, so that the difference has no error but rounding, magnified by 1 / (2 e).
    relative = (finite - exact).norm() / exact.norm()
    assert relative < tolerance


@pytest.mark.parametrize("product", ["finite-difference", "exact"])
def test_second_order_is_the_gradient_through_one_step(product: str) -> None:
    """With momentum, decay and curvature in both arguments, against autograd through the virtual step."""
    rng = torch.Generator().manual_seed(1)
    w, a, buffer = (torch.randn(5, dtype=torch.float64, generator=rng) for _ in range(3))
    w.requires_grad_(), a.requires_grad_()
    xi, momentum, decay = 0.05, 0.9, 0.3

    def train_at(weights: Tensor) -> Tensor:
        return (torch.tanh(weights * a) ** 2).sum() + (weights * a).sum() ** 2

    def validation_at(weights: Tensor) -> Tensor:
        return ((weights - a) ** 2 * a.cos()).sum()

    (gradient,) = torch.autograd.grad(train_at(w), w, create_graph=True)
    ahead = w - xi * (momentum * buffer + gradient + decay * w)
    (truth,) = torch.autograd.grad(validation_at(ahead), a)
    step = VirtualStep(xi, momentum, [buffer], [decay])
    before = w.detach().clone()
    found = second_order(
        lambda: train_at(w),
        lambda: validation_at(w),
        [w],
        [a],
        step,
        product=product,  # type: ignore[arg-type]
    )[0]
    assert torch.equal(w, before)
    assert torch.allclose(found, truth, rtol=1e-9 if product == "exact" else 3e-4)
    without = first_order(lambda: validation_at(w), [a])[0]
    assert not torch.allclose(found, without, rtol=1e-2)


@pytest.mark.parametrize("product", ["finite-difference", "exact"])
@pytest.mark.parametrize(
    ("train_scale", "validation_scale", "expected"),
    [
        # grad_w L_train = s a, clipped at 1 by 1 / s; v = t, clipped at 1; the mixed derivative is s.
        (100.0, 0.5, -0.1 * (1 / 100) * 100 * 0.5),
        (0.5, 0.5, -0.1 * 0.5 * 0.5),
        (0.5, 10.0, -0.1 * 0.5 * 1.0),
        (100.0, 10.0, -0.1 * (1 / 100) * 100 * 1.0),
    ],
)
def test_the_implicit_term_has_the_clip_factor_of_the_training_gradient(
    train_scale: float, validation_scale: float, expected: float, product: str
) -> None:
    w = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    found = second_order(
        lambda: (train_scale * w * a).sum(),
        lambda: (validation_scale * w).sum(),
        [w],
        [a],
        VirtualStep(0.1, clip_norm=1.0),
        product=product,  # type: ignore[arg-type]
    )
    assert found[0].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("product", ["finite-difference", "exact"])
@pytest.mark.parametrize("clip_norm", [0.5, 2.0, 50.0])
def test_with_clipping_it_is_the_slope_along_the_clipped_step(clip_norm: float, product: str) -> None:
    """Against differences of L_val(w - xi (m b + c grad_w L_train(w, a) + l w), a) with c that of the present a."""
    rng = torch.Generator().manual_seed(3)
    w, a, buffer = (torch.randn(5, dtype=torch.float64, generator=rng) for _ in range(3))
    w.requires_grad_(), a.requires_grad_()
    xi, momentum, decay = 0.05, 0.9, 0.3

    def train_at(weights: Tensor, logits: Tensor) -> Tensor:
        return 3 * (torch.tanh(weights * logits) ** 2).sum() + (weights * logits).sum() ** 2

    def validation_at(weights: Tensor, logits: Tensor) -> Tensor:
        return 0.01 * ((weights - logits) ** 2 * logits.cos()).sum()  # its gradient is below every clip norm

    def gradient(logits: Tensor) -> Tensor:
        return torch.autograd.grad(train_at(w, logits), w)[0]

    factor = min(1.0, clip_norm / gradient(a).norm().item())
    assert (factor < 1) == (clip_norm < 50)

    def ahead(logits: Tensor) -> float:
        moved = w - xi * (momentum * buffer + factor * gradient(logits) + decay * w)
        return validation_at(moved, logits).item()

    steps = 1e-5 * torch.eye(5, dtype=torch.float64)
    truth = torch.tensor([(ahead(a + step) - ahead(a - step)) / 2e-5 for step in steps], dtype=torch.float64)
    found = second_order(
        lambda: train_at(w, a),
        lambda: validation_at(w, a),
        [w],
        [a],
        VirtualStep(xi, momentum, [buffer], [decay], clip_norm),
        product=product,  # type: ignore[arg-type]
    )[0]
    assert torch.allclose(found, truth, rtol=1e-5 if product == "exact" else 1e-3, atol=1e-9)


def test_weights_are_restored_after_an_error() -> None:
    w = torch.tensor([3.0], requires_grad=True)
    a = torch.tensor([2.0], requires_grad=True)

    def fails() -> Tensor:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        second_order((a * w).sum, fails, [w], [a], VirtualStep(0.1))
    assert w.item() == 3.0


def test_no_direction_gives_no_implicit_term() -> None:
    w = torch.tensor([3.0], requires_grad=True)
    a = torch.tensor([2.0], requires_grad=True)
    found = second_order((a * w).sum, (a * a).sum, [w], [a], VirtualStep(0.1))
    assert found[0].item() == 4.0


def test_gradients_that_nobody_asked_for_are_not_computed() -> None:
    """A pass for the architecture computes none of the weights, one for the weights none of the architecture."""
    w = torch.tensor([3.0], requires_grad=True)
    a = torch.tensor([2.0], requires_grad=True)
    needed: list[tuple[bool, bool]] = []

    def loss() -> Tensor:
        needed.append((w.requires_grad, a.requires_grad))
        return (a * w).square().sum()

    assert first_order(loss, [a], [w])[0] == 36.0
    second_order(loss, loss, [w], [a], VirtualStep(0.1))
    assert needed == [(False, True), (True, False), (True, True), (False, True), (False, True)]
    assert w.requires_grad
    assert a.requires_grad
    assert first_order(w.sum, [a], [w])[0] == 0.0
