"""Gumbel softmax: sample candidates in a way that gives their logits a gradient.

Source: Dong and Yang, "Searching for a Robust Neural Architecture in Four GPU Hours", CVPR 2019 (arXiv 1910.04465,
GDAS), equations 3 to 7: one candidate is sampled and computed; its weight is 1, with the gradient of the softened
weight. Xie et al., "SNAS: Stochastic Neural Architecture Search", ICLR 2019 (arXiv 1812.09926): all candidates run
with softened weights. Differs from them: the temperature is a function of the progress alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from onepath.errors import ConfigurationError
from onepath.nn.gates import Gate
from onepath.nn.paths import GatedPath
from onepath.nn.relaxations.relaxation import Relaxation
from onepath.nn.supernet import Supernet


class GumbelRelaxation(Relaxation):
    """Candidates are drawn by their softmax probabilities, with the gradient of a softened draw.

    With Gumbel noise G, the softened draw is `h = softmax((log p + G) / temperature)`; the index of the largest entry
    of h is distributed as p.

    Args:
        supernet, seed, deviation: see `Relaxation`.
        temperatures: temperature at the beginning and at the end of the search, both above 0; linear in between.
        hard: True: compute only the drawn candidate, with the straight-through weight `1 - h + h` (value 1, gradient of
            h). False: compute all candidates, with the weights h.

    Raises:
        ConfigurationError: a temperature is 0 or less, or a choice, such as a size, is neither between the candidates
            of a block nor between sets of edges.
    """

    def __init__(
        self,
        supernet: Supernet,
        *,
        seed: int = 0,
        deviation: float = 1e-3,
        temperatures: tuple[float, float] = (10.0, 0.1),
        hard: bool = True,
    ) -> None:
        super().__init__(supernet, seed=seed, deviation=deviation)
        if not min(temperatures) > 0:
            raise ConfigurationError(
                f"temperatures must be above 0, but got {temperatures}; use for example (10, 0.1)"
            )
        self.temperatures = temperatures
        self.hard = hard

    def settings(self) -> dict[str, Any]:
        """Return the settings that a checkpoint must agree on, see `Relaxation.settings`."""
        return {**super().settings(), "temperatures": list(self.temperatures), "hard": self.hard}

    def temperature(self, progress: float) -> float:
        """Return the temperature when the share `progress`, in [0, 1], of the search is done."""
        first, last = self.temperatures
        return first + (last - first) * progress

    def weight_path(self, rng: np.random.Generator, progress: float) -> GatedPath:
        """Draw a path whose weights are constant; see `Relaxation.weight_path`."""
        with torch.no_grad():
            return self._path(rng, progress, learn=False)

    def architecture_path(self, rng: np.random.Generator, progress: float) -> GatedPath:
        """Draw a path whose weights depend on the logits; see `Relaxation.architecture_path`."""
        return self._path(rng, progress, learn=True)

    def _path(self, rng: np.random.Generator, progress: float, *, learn: bool) -> GatedPath:
        gates = {}
        for name, logits, num in zip(self.names, self.logits, self.num_options, strict=True):
            relaxed = gumbel_softmax(logits, self.temperature(progress), rng)
            if self.hard:
                index = int(relaxed.argmax())
                weight = relaxed[index : index + 1]
                gates[name] = Gate((index,), 1 - weight.detach() + weight if learn else None)
            else:
                gates[name] = Gate.weighted(relaxed[:num])
        return self.gated(gates)


def gumbel_softmax(logits: Tensor, temperature: float, rng: np.random.Generator) -> Tensor:
    """Return `softmax((log softmax(logits) + G) / temperature)`, of the shape of `logits`.

    G is standard Gumbel noise from `rng`. The result is differentiable with respect to the logits.
    """
    noise = torch.from_numpy(rng.gumbel(size=len(logits))).to(logits)
    return ((logits.log_softmax(0) + noise) / temperature).softmax(0)
