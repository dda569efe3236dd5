"""The binary gates of ProxylessNAS: one candidate's output is used, and the logits of all candidates or of two learn.

Source: Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware", ICLR 2019
(arXiv 1812.00332), section 3.2, equations 2 to 4. The logits are a, p = softmax(a), and with one-hot gates g the output
is y = sum of g_j o_j(x). The gradient of the gates is dL/dg_j = sum(dL/dy * o_j(x)), and that of the logits is
dL/da_i = sum over j of dL/dg_j * p_j * ((1 if i == j else 0) - p_i).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onepath.nn.choice_block import ChoiceBlock
from onepath.nn.frozen_statistics import frozen_statistics
from onepath.nn.gates import Gate
from onepath.nn.paths import GatedPath
from onepath.nn.relaxations.relaxation import Relaxation, draw, one_path


class BinaryRelaxation(Relaxation):
    """One candidate per choice runs, drawn by its probability; the gates of all candidates have gradients.

    The other candidates are computed one after the other in the backward pass, and their outputs are not kept. So an
    update needs the memory of one path for any number of candidates, and the time of all candidates. If a later module
    changes the block's output in place, the drawn candidate is computed again too.

    Args:
        supernet, seed, deviation: see `Relaxation`.
    """

    def weight_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """Draw one candidate per choice by its probability; see `Relaxation.weight_path`."""
        return self.gated(one_path(self, rng))

    def warmup_path(self, rng: np.random.Generator) -> GatedPath:
        """Draw one candidate per choice uniformly; see `Relaxation.warmup_path`."""
        return self.gated(one_path(self, rng, uniform=True))

    def architecture_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """Draw one candidate per choice, with a backward pass that also computes the others.

        See `Relaxation.architecture_path`.
        """
        gates = {}
        for name, logits in zip(self.names, self.logits, strict=True):
            index = draw(logits.detach().softmax(0), rng)
            gates[name] = Gate((index,), None, _AllGates(index, one_hot(logits, index)))
        return self.gated(gates)


class TwoPathRelaxation(Relaxation):
    """Two candidates per choice run, drawn without replacement; one of them has gate 1 and the other has gate 0.

    Only the logits of these two learn. After a step both logits are shifted by the same amount, so that the
    probabilities of all other candidates stay the same. An update needs the memory of two paths.

    Args:
        supernet, seed, deviation: see `Relaxation`.

    Source: as above, section 3.2.1, last paragraph.
    """

    def weight_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """Draw one candidate per choice by its probability; see `Relaxation.weight_path`."""
        return self.gated(one_path(self, rng))

    def warmup_path(self, rng: np.random.Generator) -> GatedPath:
        """Draw one candidate per choice uniformly; see `Relaxation.warmup_path`."""
        return self.gated(one_path(self, rng, uniform=True))

    def architecture_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """Draw two candidates per choice, with one-hot weights; see `Relaxation.architecture_path`."""
        gates = {}
        self._pairs: list[list[int]] = []
        for name, logits in zip(self.names, self.logits, strict=True):
            pair = two_of(logits.detach().softmax(0), rng)
            self._pairs.append(pair)
            active = draw(logits.detach()[pair].softmax(0), rng)
            gates[name] = Gate(tuple(pair), one_hot(logits[pair], active))
        return self.gated(gates)

    @torch.no_grad()
    def after_step(self, before: Sequence[Tensor]) -> None:
        """Restore the logits that were not drawn, and shift the two drawn ones to keep the sum of their probabilities.

        Args:
            before: logits of each differentiable choice before the step.
        """
        for logits, old, pair in zip(self.logits, before, self._pairs, strict=True):
            stepped = logits[pair] + (old[pair].logsumexp(0) - logits[pair].logsumexp(0))
            logits.copy_(old)
            logits[pair] = stepped


def two_of(probabilities: Tensor, rng: np.random.Generator) -> list[int]:
    """Draw two different indices, one after the other, by their probabilities; one index if there is only one."""
    first = draw(probabilities, rng)
    if len(probabilities) == 1:
        return [first]
    others = probabilities.clone()
    others[first] = 0
    if not others.sum() > 0:  # all others have underflowed
        others = torch.ones_like(probabilities)
        others[first] = 0
    return [first, draw(others, rng)]


def one_hot(logits: Tensor, index: int) -> Tensor:
    """Return gates that are 1 at `index` and 0 elsewhere, with the gradient of softmax(logits); shape of `logits`."""
    gates: Tensor = _OneHot.apply(logits, index)
    return gates


class _OneHot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: int) -> Tensor:
        ctx.save_for_backward(logits)
        gates = torch.zeros_like(logits)
        gates[index] = 1
        return gates

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (logits,) = ctx.saved_tensors
        p = logits.softmax(0)
        return p * (gradient - (p * gradient).sum()), None


class _AllGates:
    """An estimator that returns the output unchanged and gives every gate a gradient."""

    def __init__(self, index: int, gates: Tensor) -> None:
        self.index, self.gates = index, gates

    def __call__(self, block: ChoiceBlock, x: Tensor, output: Tensor) -> Tensor:
        result: Tensor = _Recomputed.apply(output, self.gates, x, block, self.index)
        return result


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, gates: Tensor, x: Tensor, block: ChoiceBlock, index: int) -> Tensor:
        ctx.save_for_backward(x, gates)
        ctx.block, ctx.index, ctx.device = block, index, x.device.type
        ctx.is_cast, ctx.dtype = torch.is_autocast_enabled(ctx.device), torch.get_autocast_dtype(ctx.device)
        if output.untyped_storage().data_ptr() == x.untyped_storage().data_ptr():
            output = output.clone()  # an identity returned x; changing it in place must not change x
        ctx.output, ctx.version = output.detach(), output._version
        # Same memory and version counter, but no view: later modules may change it in place, and the version shows it.
        return output.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, gates = ctx.saved_tensors
        is_kept = ctx.output._version == ctx.version
        products = torch.empty_like(gates)
        cast = torch.autocast(ctx.device, ctx.dtype, enabled=ctx.is_cast)
        with torch.no_grad(), frozen_statistics(ctx.block), cast:
            for index in range(len(gates)):
                candidate = ctx.output if is_kept and index == ctx.index else ctx.block.run(index, x)
                products[index] = (gradient.to(gates.dtype) * candidate.to(gates.dtype)).sum()
        return gradient, products, None, None, None
