"""The relaxation of DARTS: every candidate runs, weighted by a softmax.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), equation 2. Differs from
it: a block's `none` takes part in the softmax but is not computed, since it adds zeros. The dropout of skip connections
is that of Chen et al., "Progressive Differentiable Architecture Search" (arXiv 1904.12760), but it drops the whole skip
connection of a choice at once rather than its values one by one.
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
    """All candidates of every block run, weighted by the softmax of the block's logits.

    Args:
        supernet, seed, deviation: see `Relaxation`.
        skip_dropout: probability at the beginning of the search that an update of the weights leaves out the skip
            connection of a choice; it falls linearly to 0 over the search. A skip connection that stays has its weight
            divided by 1 minus the probability. A choice that has only skip connections keeps them all.

    Raises:
        ConfigurationError: `skip_dropout` is outside [0, 1), or a choice, such as a size, is neither between the
            candidates of a block nor between sets of edges.
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
        """Return the settings that a checkpoint must agree on, see `Relaxation.settings`."""
        return {**super().settings(), "skip_dropout": self.skip_dropout}

    def weight_path(self, rng: np.random.Generator, progress: float) -> GatedPath:
        """Return a path of all candidates with constant weights, without dropped skip connections.

        See `Relaxation.weight_path`.
        """
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
        """Return a path of all candidates whose weights depend on the logits; see `Relaxation.architecture_path`."""
        return self.gated({name: Gate.weighted(weights[:num]) for name, _, num, weights in self._weights()})

    def _weights(self) -> Iterator[tuple[str, tuple[str, ...], int, Tensor]]:
        """Iterate over the differentiable choices: name, candidates, number of computed candidates, weights."""
        for (name, weights), candidates, num in zip(
            self.probabilities().items(), self.candidates, self.num_options, strict=True
        ):
            yield name, candidates, num, weights
