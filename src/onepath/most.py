"""The largest allowed value of every number that a user gives.

The limits are generous, and far below values that exhaust a machine or overflow. A number over its limit is a typing
error or an attack; it is refused before any work starts.
"""

from __future__ import annotations

from onepath.errors import ConfigurationError, shown

EPOCHS = 100_000  # takes a day and more even with the smallest data
BATCH = 1 << 20  # the largest batches in the field have 65,536 examples
PIXELS = 4096  # per side; one image of this size is 200 MB of floats
CHANNELS = 1024  # channels of an input
CLASSES = 1_000_000
PARTS = 1024  # parts of a batch
POPULATION = 100_000  # all architectures of a generation are in memory
GENERATIONS = 1_000_000
EVALUATED = 10**8  # rows of the trial store
TRAININGS = 10_000
FINALISTS = 1_000  # the state of each is kept on the disk until it leaves
NETWORKS = 1_000_000  # networks of a study, which are scored or measured one after another
IMAGES = 10**9
PROCESSES = 256  # each takes 0.4 GB
THREADS = 1024  # the number of cores of the largest machines
COUNT = 10**18  # below 2**63, so that sums of costs do not overflow
CHOICES = 1_000_000
SEED = 2**63 - 1
RATE = 1e6  # no float32 training survives this rate
WEIGHT = 1e12  # weight of a score in a mean of ranks
WIDTH = 100.0
MILLISECONDS = 3.6e6  # an hour
LIMITS = 100  # each limit has a search and a retraining of its own
SECONDS = 604_800.0  # a week
CHARACTERS = 4096  # as many as a path may have
ARGUMENTS = 100
VALUES = 1000  # values in one argument
DEPTH = 10  # nesting depth of one argument


def check_most(limit: float, **values: float) -> None:
    """Raise unless every number is at most `limit`.

    Args:
        limit: one of the constants above.
        values: name of an argument -> its value.

    Raises:
        ConfigurationError: a value is larger than `limit`, or NaN.
    """
    for name, value in values.items():
        if not value <= limit:
            raise ConfigurationError(f"`{name} <= {limit:,}` must hold, but got {shown(value)}; lower it")
