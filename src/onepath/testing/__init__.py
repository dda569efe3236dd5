"""Contracts of the parts that users may write themselves, as checks that run on any implementation.

Parametrise a test with `ALGORITHM_CHECKS` for a search algorithm and with `SAMPLER_CHECKS` for a sampler of
paths. Every check raises AssertionError, with a sentence that says what is wrong; pytest is not needed to run it.
"""

from onepath.testing.algorithms import ALGORITHM_CHECKS, MakeAlgorithm, known_score, known_space, search
from onepath.testing.samplers import SAMPLER_CHECKS, MakeSampler

__all__ = [
    "ALGORITHM_CHECKS",
    "SAMPLER_CHECKS",
    "MakeAlgorithm",
    "MakeSampler",
    "known_score",
    "known_space",
    "search",
]
