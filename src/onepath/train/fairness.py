"""A sampler that trains all candidates of every block equally often at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onepath.errors import ConfigurationError

if TYPE_CHECKING:
    from onepath.space import Architecture, SearchSpace


class StrictFairnessSampler:
    """A sampler of m paths per update in which every option of every choice is on exactly one path.

    For each choice an independent random permutation of its m options is drawn; path k takes the k-th option of each.
    The paths share a batch and one step of the optimizer, so that their order favours none of them. An update costs m
    passes. To spend as many passes as with one path per update, train for 1 / m of the epochs. Parameters outside of
    the choices get m gradients; see `reduction` of `train_supernet`.

    If choices differ in their number of options, m is the largest number. A choice with fewer options repeats some:
    the options used least so far, in turn, so that over updates no option is ahead of another by more than one.

    Args:
        space: the space from which architectures are drawn; all its choices must always be active.

    Attributes:
        num_paths: number m of paths per update.

    Raises:
        ConfigurationError: a choice depends on another choice, so that no number of paths trains its options
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
        """Return `num_paths` architectures."""
        matrix = np.empty((self.num_paths, self.space.num_choices), dtype=self.space.dtype)
        for column, num_options in enumerate(self.space.num_options.tolist()):
            # Options are repeated in turn, so that the next ones are always those used least.
            num_repeated = self.num_paths - num_options
            repeated = (update * num_repeated + np.arange(num_repeated)) % num_options
            matrix[:, column] = rng.permutation(np.concatenate([np.arange(num_options), repeated]))
        return self.space.architectures(matrix)
