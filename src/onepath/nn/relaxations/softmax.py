"""The relaxation of DARTS: every candidate runs, weighted by a softmax.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), equation 2. Differs from
it: a block's `none` takes part in the softmax and is not computed, since it adds zeros. The dropout of skip connections
is that of Chen et al., "Progressive Differentiable Architecture Search" (arXiv 1904.12760), with a whole choice's skip
connection dropped at once rather than its values one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from onepath.errors import ConfigurationError
from onepath.nn.gates import Gate
from onepath.nn.paths import GatedPath
from onepath.nn.relaxations.relaxation import Relaxation
from onepath.nn.supernet import Supernet


class SoftmaxRelaxation(Relaxation):
    """All candidates of every block, weighted by the softmax of its logits.

    Args:
        supernet, seed, deviation: see `Relaxation`.
        skip_dropout: probability, falling linearly to 0 over the search, with which an update of the weights leaves
            out the skip connection of a choice; when it stays, its weight is divided by the complement. A choice of
            nothing but skip connections keeps them all.

    Raises:
        ConfigurationError: a rate outside [0, 1), or a choice that is no choice block.
    """

    def __init__(
        self, supernet: Supernet, *, seed: int = 0, deviation: float = 1e-3, skip_dropout: float = 0.0
    ) -> None:
        super().__init__(supernet, seed=seed, deviation=deviation)
        if not 0 <= skip_dropout < 1:
            raise ConfigurationError(
                f"`0 <= skip_dropout < 1` must hold, but got skip_dropout={skip_dropout}; lower it"
            )
        self.skip_dropout = skip_dropout

    def settings(self) -> dict[str, Any]:
        """See `Relaxation.settings`."""
        return {**super().settings(), "skip_dropout": self.skip_dropout}

    def weight_path(self, rng: np.random.Generator, progress: float) -> GatedPath:
        """All candidates, with constant weights; see `Relaxation.weight_path`."""
        rate = self.skip_dropout * (1 - progress)
        gates = {}
        for (name, candidates, num, weights), skips in zip(self._weights(), self.skips, strict=True):
            constant, active = weights.detach(), list(range(num))
            is_dropped = rate > 0 and len(skips) < num
            for index in (candidates.index(skip) for skip in sorted(skips)) if is_dropped else ():
                constant[index] /= 1 - rate
                if rng.random() < rate:
                    active.remove(index)
            gates[name] = Gate(tuple(active), constant[active])
        return self.gated(gates)

    def architecture_path(self, rng: np.random.Generator, progress: float) -> GatedPath:  # noqa: ARG002
        """All candidates, with weights that depend on the logits; see `Relaxation.architecture_path`."""
        return self.gated({name: Gate.weighted(weights[:num]) for name, _, num, weights in self._weights()})

    def _weights(self) -> Iterator[tuple[str, tuple[str, ...], int, Tensor]]:
        """Name, candidates, how many of them are computed, and weights of every differentiable choice."""
        for (name, weights), candidates, num in zip(
            self.probabilities().items(), self.candidates, self.num_options, strict=True
        ):
            yield name, candidates, num, weights
