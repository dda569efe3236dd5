"""The binary gates of ProxylessNAS: one candidate runs, and the logits learn from all, or from two.

Source: Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware", ICLR 2019
(arXiv 1812.00332), section 3.2, equations 2 to 4. With p = softmax(a) and the output y = sum of g_j o_j(x) of one-hot
gates g, the gradient of the gates is dL/dg_j = sum(dL/dy * o_j(x)), and that of the logits
dL/da_i = sum over j of dL/dg_j * p_j * (1 if i == j else 0 - p_i).
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
    """One candidate per choice, drawn by its probability; every candidate's gate has a gradient.

    The candidates that were not drawn are computed one after the other in the backward pass, and nothing of them is
    kept: memory of one path, whatever the number of candidates, for the time of all. What follows a block may change
    the block's output in place; the drawn candidate is then computed again, too.
    """

    def weight_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """One candidate each, drawn by its probability; see `Relaxation.weight_path`."""
        return self.gated(one_path(self, rng))

    def warmup_path(self, rng: np.random.Generator) -> GatedPath:
        """One candidate each, drawn uniformly."""
        return self.gated(one_path(self, rng, uniform=True))

    def architecture_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """The drawn candidate, with a backward that asks the others; see `Relaxation.architecture_path`."""
        gates = {}
        for name, logits in zip(self.names, self.logits, strict=True):
            index = draw(logits.detach().softmax(0), rng)
            gates[name] = Gate((index,), None, _AllGates(index, one_hot(logits, index)))
        return self.gated(gates)


class TwoPathRelaxation(Relaxation):
    """Two candidates per choice, drawn without replacement, of which one has gate 1 and one has gate 0.

    Only the logits of the two learn. After a step both are shifted by the same amount, so that the probabilities of all
    other candidates stay what they were. Memory of two paths.

    Source: as above, section 3.2.1, last paragraph.
    """

    def weight_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """One candidate each, drawn by its probability; see `Relaxation.weight_path`."""
        return self.gated(one_path(self, rng))

    def warmup_path(self, rng: np.random.Generator) -> GatedPath:
        """One candidate each, drawn uniformly."""
        return self.gated(one_path(self, rng, uniform=True))

    def architecture_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """The two candidates, with one-hot weights; see `Relaxation.architecture_path`."""
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
        """Give every other logit its old value back, and the two the sum of probabilities that they had."""
        for logits, old, pair in zip(self.logits, before, self._pairs, strict=True):
            stepped = logits[pair] + (old[pair].logsumexp(0) - logits[pair].logsumexp(0))
            logits.copy_(old)
            logits[pair] = stepped


def two_of(probabilities: Tensor, rng: np.random.Generator) -> list[int]:
    """Two different indices, or the one there is, drawn one after the other by their probabilities."""
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
    """Gates, 1 at `index` and 0 elsewhere, with the gradient of softmax(logits); shape of logits."""
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
    """An estimator: the output unchanged, and a gradient for every gate."""

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
            output = output.clone()  # of an identity: what changes it in place must not change x
        ctx.output, ctx.version = output.detach(), output._version
        # Same memory and version counter, but no view: what follows may change it in place, and is told by the version.
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
