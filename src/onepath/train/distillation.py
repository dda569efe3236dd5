"""Distillation losses: the paths of an update learn from a larger path, or from a given teacher network."""

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
    """Return the mean cross-entropy of a network's outputs against the probabilities of another network, a scalar.

    Lower is better. The gradient is zero where both networks agree.

    Args:
        outputs: scores (logits) of the network that learns, (B, C, ...).
        taught: scores of the other network, of the same shape; no gradient flows to them.
        dim: dimension of the classes.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), at temperature 1.
    """
    probabilities = taught.detach().softmax(dim)
    return -(probabilities * outputs.log_softmax(dim)).sum(dim).mean()


def alpha_divergence(outputs: Tensor, taught: Tensor, dim: int = 1, clip: float = _CLIP) -> Tensor:
    """Return the larger of two alpha-divergences, a = -1 and a = 1, from another network: a mean over the examples.

    D(p || q) = sum q ((p / q)^a - 1) / (a (a - 1)), where p are the probabilities of the other network and q those of
    the network that learns. For a = 1 it is the Kullback-Leibler divergence. With a = -1 it punishes probabilities
    that are overestimated, with a = 1 those that are underestimated. Lower is better.

    Args:
        outputs: scores (logits) of the network that learns, (B, C, ...).
        taught: scores of the other network, of the same shape; no gradient flows to them.
        dim: dimension of the classes.
        clip: largest (p / q)^a; it bounds the gradient.

    Source: Wang et al., "AlphaNet" (arXiv 2102.07954), equations 2 to 5.
    """
    log_own = outputs.log_softmax(dim)
    with torch.no_grad():
        log_ratio = taught.detach().log_softmax(dim) - log_own
    sides = [_divergence(log_own, log_ratio, alpha, dim, clip) for alpha in (-1.0, 1.0)]
    values = torch.stack([value for value, _ in sides])
    surrogates = torch.stack([surrogate for _, surrogate in sides])
    chosen = surrogates.gather(0, values.argmax(0, keepdim=True))
    # The value is that of the divergence, the gradient that of the surrogate.
    return values.amax(0).mean() + chosen.mean() - chosen.mean().detach()


def _divergence(
    log_own: Tensor, log_ratio: Tensor, alpha: float, dim: int, clip: float
) -> tuple[Tensor, Tensor]:
    """Return the divergence of each example, without a graph, and a surrogate with its gradient for clipped ratios."""
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
    """An `Objective` in which the first path of an update learns from the labels, the others from its outputs.

    Args:
        label_smoothing: label smoothing of the loss against the labels.
        divergence: how the distance between two networks' scores is measured, "cross-entropy" or "alpha". For
            regression it is the mean squared difference instead.
        teacher: a network from which the first path learns too, on the same inputs; it is copied and put in eval
            mode. None uses the labels alone.
        ratio: weight of the teacher's loss; the loss against the labels has weight 1.

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
        """Compute the teacher's outputs for the update's batch; see `SeesBatch`."""
        del forward, targets, rng
        if self._teacher is not None:
            device = next((tensor.device for tensor in tensors(inputs)), torch.device("cpu"))
            with torch.no_grad():
                self._taught = call(self._teacher.to(device), inputs)

    def __call__(self, outputs: Sequence[Any], targets: Any, task: Task) -> Tensor:
        """Return the loss of the last of `outputs`, a scalar; see `Objective`.

        Raises:
            ConfigurationError: the outputs are compared with another network's and are not one tensor.
        """
        if len(outputs) > 1:
            return self.distance(outputs[-1], outputs[0], targets, task)
        loss = task.loss(outputs[0], targets, self.label_smoothing)
        if self._taught is None:
            return loss
        return loss + self.ratio * self.distance(outputs[0], self._taught, targets, task)

    def distance(self, outputs: Any, taught: Any, targets: Any, task: Task) -> Tensor:
        """Return the distance of outputs from those of another network, a scalar; lower is closer.

        Args:
            outputs: outputs of the network that learns.
            taught: outputs of the other network; no gradient flows to them.
            targets: the batch's targets; floating-point ones mean regression.
            task: says which dimension holds the classes.

        Raises:
            ConfigurationError: `outputs` are not one tensor.
        """
        if not isinstance(outputs, Tensor):
            raise ConfigurationError(
                f"distillation needs networks that return one tensor, but they return {type(outputs).__name__}; use "
                "method spos"
            )
        if isinstance(targets, Tensor) and targets.is_floating_point():
            return functional.mse_loss(outputs, taught.detach())
        return self._apart(outputs, taught, -1 if task.reads_words else 1)
