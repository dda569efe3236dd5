"""Random generators that depend on their purpose, not on what was drawn before."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Return a generator that `(seed, purpose, step)` alone determines.

    Each update of a training run draws from a generator of its own, with the number of the update as `step`. So
    resuming needs no replay, and the ranks of a distributed run agree without communicating.

    Args:
        seed: the run's seed, 0 or more.
        purpose: name of what is drawn, for example "paths"; different purposes give independent streams.
        step: number of the draw of that purpose, 0 or more.
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), step])
