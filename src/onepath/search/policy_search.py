"""Search by a trained controller: the best of many architectures that it draws.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268).
Differs from a widely used implementation for text (carpedm20/ENAS-pytorch): architectures are scored on the whole
validation split, not on its first batch, and none is scored twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, check_most
from onepath.policy import Controller
from onepath.search.driver import Draw, Evaluated, SearchAlgorithm

_BATCH = 10


class PolicySearch(SearchAlgorithm):
    """Proposes what a controller draws; the controller learns nothing from the scores.

    Once the controller draws nothing new, random legal architectures take the place of what is missing.

    Args:
        controller: the controller, which is not changed.
        seed: seed of every random draw.
        num: number of architectures in all.

    Raises:
        ConfigurationError: `num` is below 1.
    """

    name = "policy"

    def __init__(self, controller: Controller, seed: int = 0, num: int = 100) -> None:
        check_most(EVALUATED, num=num)
        if num < 1:
            raise ConfigurationError(f"`num` must be at least 1, but got {num}; raise it")
        super().__init__(controller.space, seed)
        self.controller, self.num = controller, num

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """Yield the next architectures that the controller draws."""
        num = min(_BATCH, self.num - self.num_proposed)
        if num > 0:
            yield Draw("policy", num, lambda tries: self.controller.sample(tries, rng), 4 * _BATCH)

    def observe(self, evaluated: Evaluated) -> None:
        """Do nothing: the controller is trained already."""
