"""Training all candidates of every block equally often at every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onepath.errors import ConfigurationError

if TYPE_CHECKING:
    from onepath.space import Architecture, SearchSpace


class StrictFairnessSampler:
    """m paths per update, so that every option of every choice is in exactly one of them.

    For each choice an independent random permutation of its m options is drawn; path k takes the k-th of each.
    The paths share a batch and one step of the optimizer, so that no order among them favours any. An update costs
    m passes: for as many passes as with one path per update, train for 1 / m of the epochs. Parameters outside of
    the choices get m gradients; see `reduction` of `train_supernet`.

    Where choices differ in their number of options, m is the largest. A choice with fewer options repeats
    some: those used least so far, in turn, so that over updates no option is ahead of another by more than one.

    Args:
        space: whose architectures are drawn; all its choices are always active.

    Attributes:
        num_paths: m.

    Raises:
        ConfigurationError: a choice depends on another one, so that no number of paths trains its options
            equally often.

    Source: FairNAS, Chu et al., arXiv 1907.01845, strict fairness and algorithm 1. Differs from it: different
    numbers of options are allowed.
    """

    needs_every_update = True

    def __init__(self, space: SearchSpace) -> None:
        if space.is_conditional:
            raise ConfigurationError(
                "strict fairness needs choices that are always active, but in this space some depend on others; "
                "use UniformSampler (method spos)"
            )
        self.space = space
        self.num_paths = int(space.num_options.max())

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """As many architectures as `num_paths`."""
        matrix = np.empty((self.num_paths, self.space.num_choices), dtype=self.space.dtype)
        for column, num_options in enumerate(self.space.num_options.tolist()):
            # The options go round: the next ones in turn are those used least, whatever the update.
            num_repeated = self.num_paths - num_options
            repeated = (update * num_repeated + np.arange(num_repeated)) % num_options
            matrix[:, column] = rng.permutation(np.concatenate([np.arange(num_options), repeated]))
        return self.space.architectures(matrix)
