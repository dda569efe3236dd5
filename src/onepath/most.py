"""The largest value of every number that is asked for: generous, and far below what ends a machine or overflows.

A number over its limit is a mistake of writing, or was not meant well; it is refused before anything is done.
"""

from __future__ import annotations

from onepath.errors import ConfigurationError, shown

EPOCHS = 100_000  # of the smallest data, a day and more
BATCH = 1 << 20  # the largest of the field are 65,536
PIXELS = 4096  # a side; one image of these is 200 MB of floats
CHANNELS = 1024  # of an input
CLASSES = 1_000_000
PARTS = 1024  # of a batch
POPULATION = 100_000  # all architectures of a generation are in memory
GENERATIONS = 1_000_000
EVALUATED = 10**8  # rows of the store
TRAININGS = 10_000
NETWORKS = 1_000_000  # of a study, scored or measured one after another
IMAGES = 10**9
PROCESSES = 256  # of 0.4 GB each
THREADS = 1024  # cores of the largest machines
COUNT = 10**18  # below 2**63, so that sums of costs do not overflow
CHOICES = 1_000_000
SEED = 2**63 - 1
RATE = 1e6  # no training of float32 survives it
WEIGHT = 1e12  # of a score in a mean of ranks
WIDTH = 100.0
MILLISECONDS = 3.6e6  # an hour
LIMITS = 100  # each has a search and a retraining
SECONDS = 604_800.0  # a week
CHARACTERS = 4096  # as of a path
ARGUMENTS = 100
VALUES = 1000  # of one argument
DEPTH = 10  # of one argument


def check_most(limit: float, **values: float) -> None:
    """That numbers are at most their limit.

    Args:
        limit: one of the above.
        values: name of the argument -> what came.

    Raises:
        ConfigurationError: one is larger.
    """
    for name, value in values.items():
        if not value <= limit:
            raise ConfigurationError(f"`{name} <= {limit:,}` must hold, but got {shown(value)}; lower it")
