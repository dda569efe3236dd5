"""Signals of a differentiable search after each epoch, and the guard that stops it before it collapses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onepath.errors import ConfigurationError
from onepath.nn.relaxations import Relaxation, Rule, derive, num_skips

Gradients = Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class ArchitecturePoint:
    """The state of the architecture parameters at the end of an epoch.

    Attributes:
        epoch: number of epochs done.
        loss: mean validation loss of the architecture steps of the epoch; None if there were none.
        entropy: mean entropy of the probabilities, in [0, 1]; see `mean_entropy`.
        num_skips: number of choices whose option in the derived architecture passes its input on unchanged.
        eigenvalue: dominant eigenvalue of the Hessian of the validation loss with respect to the logits; None if it was
            not computed.
        architecture: the derived architecture, in the space's notation.
        weights: differentiable choice -> probabilities of its candidates.
        num_choices: number of differentiable choices that are active in the derived architecture; `num_skips` of them
            are skips.
    """

    epoch: int
    loss: float | None
    entropy: float
    num_skips: int
    eigenvalue: float | None
    architecture: str
    weights: dict[str, list[float]]
    num_choices: int = 0


@dataclass(frozen=True)
class Guard:
    """Decides when a search stops moving its logits, and to the logits of which epoch it goes back.

    The logits never go back to the initial ones.

    Args:
        max_skips: largest number of skip connections allowed in the derived architecture; None for no such rule. If it
            is exceeded, the logits go back to the last epoch of their training that was within it; if there was none,
            by one epoch.
        eigenvalue_ratio: smallest allowed ratio of the dominant eigenvalue `window` epochs ago to its present value,
            both as means over `window` epochs; None for no such rule. The source uses 0.75. If the ratio is lower, the
            logits go back by `window` epochs, to the epoch that was compared, as in the source.
        window: number of epochs of each mean, and between the two means.
        first_epoch: first epoch that is judged, counted from 1 at the start of the logits' training. After epoch 1
            the derived architecture may still be that of the random initial logits.

    Raises:
        ConfigurationError: a number is out of its range.

    Source: the number of skip connections: Liang et al., "DARTS+" (arXiv 1909.06035). The eigenvalue: Zela et al.,
    "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020 (arXiv 1909.09656).
    """

    max_skips: int | None = None
    eigenvalue_ratio: float | None = None
    window: int = 5
    first_epoch: int = 2

    def __post_init__(self) -> None:
        ratio = self.eigenvalue_ratio
        if self.window < 1 or (self.max_skips or 0) < 0 or (ratio is not None and not 0 < ratio < 1):
            raise ConfigurationError(
                "window >= 1, max_skips >= 0 and 0 < eigenvalue_ratio < 1 must hold, but got "
                f"{self.window}, {self.max_skips} and {ratio}; change the one that is out of range"
            )

    def fires(self, points: Sequence[ArchitecturePoint]) -> str | None:
        """Return the reason to stop after the last of the points, in a few words; None to go on.

        Args:
            points: one point per epoch of the logits' training so far, from its first epoch, which has number 1.
        """
        if not points or points[-1].epoch < self.first_epoch:
            return None
        if self._has_too_many_skips(points[-1]):
            return f"{points[-1].num_skips} skip connections"
        values = [p.eigenvalue for p in points if p.eigenvalue is not None and p.epoch >= self.first_epoch]
        if self.eigenvalue_ratio is not None and len(values) >= 2 * self.window:
            before = sum(values[-2 * self.window : -self.window])
            now = sum(values[-self.window :])
            if 0 < before < self.eigenvalue_ratio * now:
                return f"dominant eigenvalue {now / before:.2f} times what it was {self.window} epochs before"
        return None

    def kept_epoch(self, points: Sequence[ArchitecturePoint]) -> int:
        """Return the epoch whose logits are kept if the guard fires after the last of the points.

        Args:
            points: one point per epoch of the logits' training so far; at least one.
        """
        num_back = self.window
        if self._has_too_many_skips(points[-1]):
            within = [p.epoch for p in points if not self._has_too_many_skips(p)]
            if within:
                return within[-1]
            num_back = 1
        return points[max(0, len(points) - 1 - num_back)].epoch

    def _has_too_many_skips(self, last: ArchitecturePoint) -> bool:
        return self.max_skips is not None and last.num_skips > self.max_skips


def point(
    relaxation: Relaxation, epoch: int, loss: float | None, eigenvalue: float | None, rule: Rule
) -> ArchitecturePoint:
    """Return the signals of a relaxation in its present state.

    Args:
        relaxation: the relaxation to describe; not changed.
        epoch: number of epochs done.
        loss: mean loss of the epoch's architecture steps; None if there were none.
        eigenvalue: dominant eigenvalue; None if it was not computed.
        rule: how the architecture is derived, see `derive`.
    """
    architecture = derive(relaxation, rule=rule)
    return ArchitecturePoint(
        epoch=epoch,
        loss=loss,
        entropy=mean_entropy(relaxation),
        num_skips=num_skips(relaxation, architecture),
        eigenvalue=eigenvalue,
        architecture=relaxation.space.format(architecture),
        weights=relaxation.weights_of(),
        num_choices=sum(name in relaxation.names for name in architecture.options),
    )


def mean_entropy(relaxation: Relaxation) -> float:
    """Return the mean of entropy(p) / log(candidates) over the choices of two or more candidates.

    1 means that all candidates are equally probable, 0 that every choice is decided.
    """
    shares = [
        float(torch.special.entr(p.detach().double()).sum()) / math.log(len(p))
        for p in relaxation.probabilities().values()
        if len(p) > 1
    ]
    return sum(shares) / len(shares) if shares else 0.0


def dominant_eigenvalue(
    gradients: Gradients, parameters: Sequence[Tensor], start: Tensor, *, num_iterations: int = 10
) -> float:
    """Return the eigenvalue of largest magnitude of the Hessian of a loss, by power iteration.

    A product with the Hessian is a central difference of the gradients at a distance of 0.01 from the parameters, which
    are restored bit for bit.

    Args:
        gradients: computes the gradients of the loss at the present values of the parameters, one per parameter; calls
            with the same values return the same gradients.
        parameters: leaf tensors; changed during the call and restored afterwards.
        start: first vector, with as many elements as all parameters together; not 0.
        num_iterations: number of steps of the power iteration, each of two calls of `gradients`.

    Returns:
        The eigenvalue with its sign; 0 if a product with the Hessian is 0.
    """
    old = [p.detach().clone() for p in parameters]
    sizes = [p.numel() for p in parameters]

    def gradient_at(offset: Tensor) -> Tensor:
        with torch.no_grad():
            for p, value, step in zip(parameters, old, torch.split(offset, sizes), strict=True):
                p.copy_(value + step.view_as(value))
        return torch.cat([g.detach().flatten() for g in gradients()])

    vector = start / start.norm()
    value = 0.0
    try:
        for _ in range(num_iterations):
            step = 0.01 * vector
            product = (gradient_at(step) - gradient_at(-step)) / 0.02
            value = float(vector @ product)
            norm = product.norm()
            if norm == 0:
                return 0.0
            vector = product / norm
    finally:
        with torch.no_grad():
            for p, before in zip(parameters, old, strict=True):
                p.copy_(before)
    return value
