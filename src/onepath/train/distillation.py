"""Losses by which the paths of an update learn from a larger one, or from a model that is given."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.errors import ConfigurationError
from onepath.tree import Tree, call, tensors

if TYPE_CHECKING:
    from onepath.data import Task

Divergence = Literal["cross-entropy", "alpha"]
_CLIP = 5.0


def soft_cross_entropy(outputs: Tensor, taught: Tensor, dim: int = 1) -> Tensor:
    """Mean cross-entropy of scores (B, C, ...) against the probabilities that another network gives.

    Its gradient is zero where both agree.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), at temperature 1.
    """
    probabilities = taught.detach().softmax(dim)
    return -(probabilities * outputs.log_softmax(dim)).sum(dim).mean()


def alpha_divergence(outputs: Tensor, taught: Tensor, dim: int = 1, clip: float = _CLIP) -> Tensor:
    """Mean over the examples of the larger of two alpha-divergences, of -1 and of 1, from what another network gives.

    D(p || q) = sum q ((p / q)^a - 1) / (a (a - 1)) with p of the other network and q of this one; for a = 1 it is the
    Kullback-Leibler divergence. -1 punishes what is overestimated, 1 what is underestimated.

    Args:
        outputs: scores (B, C, ...).
        taught: of the other network.
        dim: of the classes.
        clip: largest (p / q)^a, which bounds the gradient.

    Source: Wang et al., "AlphaNet" (arXiv 2102.07954), equations 2 to 5.
    """
    log_own = outputs.log_softmax(dim)
    with torch.no_grad():
        log_ratio = taught.detach().log_softmax(dim) - log_own
    sides = [_divergence(log_own, log_ratio, alpha, dim, clip) for alpha in (-1.0, 1.0)]
    values = torch.stack([value for value, _ in sides])
    surrogates = torch.stack([surrogate for _, surrogate in sides])
    chosen = surrogates.gather(0, values.argmax(0, keepdim=True))
    # The value of the divergence, with the gradient of what stands in for it.
    return values.amax(0).mean() + chosen.mean() - chosen.mean().detach()


def _divergence(
    log_own: Tensor, log_ratio: Tensor, alpha: float, dim: int, clip: float
) -> tuple[Tensor, Tensor]:
    """The divergence of each example, without a graph; and what has its gradient, with a clipped ratio."""
    own = log_own.detach().exp()
    if alpha == 1.0:
        ratio = log_ratio.exp()
        value, weight = own * ratio * log_ratio, ratio.clamp(max=clip)
    else:
        power = (alpha * log_ratio).exp().clamp(max=clip)
        scale = alpha * (alpha - 1)
        value, weight = own * (power - 1) / scale, power / alpha + 1 / scale
    return value.sum(dim), -(own * weight * log_own).sum(dim)


class Distillation:
    """An objective: the first path of an update learns from the labels, the others from what it gives.

    Args:
        label_smoothing: of the labels' loss.
        divergence: how far scores are apart; values of a regression by their squared difference.
        teacher: a network from which the first path learns too, on the same inputs; it is copied, in evaluation mode.
        ratio: of the teacher's loss to that of the labels.

    Source: in-place distillation of Yu et al., "BigNAS" (arXiv 2003.11142), section 3.2.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        divergence: Divergence = "cross-entropy",
        teacher: nn.Module | None = None,
        ratio: float = 1.0,
    ) -> None:
        self.label_smoothing, self.ratio = label_smoothing, ratio
        self._apart = alpha_divergence if divergence == "alpha" else soft_cross_entropy
        self._teacher = None if teacher is None else copy.deepcopy(teacher).eval().requires_grad_(False)
        self._taught: Any = None

    def begin(
        self, forward: Callable[..., Any], inputs: Tree, targets: Tree, rng: np.random.Generator
    ) -> None:
        """Ask the teacher about the update's batch."""
        del forward, targets, rng
        if self._teacher is not None:
            device = next((tensor.device for tensor in tensors(inputs)), torch.device("cpu"))
            with torch.no_grad():
                self._taught = call(self._teacher.to(device), inputs)

    def __call__(self, outputs: Sequence[Any], targets: Any, task: Task) -> Tensor:
        """The loss of the last of the outputs."""
        if len(outputs) > 1:
            return self.distance(outputs[-1], outputs[0], targets, task)
        loss = task.loss(outputs[0], targets, self.label_smoothing)
        if self._taught is None:
            return loss
        return loss + self.ratio * self.distance(outputs[0], self._taught, targets, task)

    def distance(self, outputs: Any, taught: Any, targets: Any, task: Task) -> Tensor:
        """How far outputs are from those of another network.

        Raises:
            ConfigurationError: they are several tensors.
        """
        if not isinstance(outputs, Tensor):
            raise ConfigurationError(
                f"distillation needs networks that return one tensor, but they return {type(outputs).__name__}; use "
                "method spos"
            )
        if isinstance(targets, Tensor) and targets.is_floating_point():
            return functional.mse_loss(outputs, taught.detach())
        return self._apart(outputs, taught, -1 if task.reads_words else 1)
