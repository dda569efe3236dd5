"""Random generators that depend on what they are for, not on what was drawn before."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """A generator determined by `(seed, purpose, step)` alone.

    Update `step` of a training run draws from its own generator, so that resuming needs no replay and the ranks of a
    distributed run agree without talking.

    Args:
        seed: the run's seed, 0 or more.
        purpose: what is drawn, for example "paths"; different purposes give independent streams.
        step: which draw of that purpose, 0 or more.
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), step])
