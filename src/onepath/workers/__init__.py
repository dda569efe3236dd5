"""A pool of processes that work on jobs, shaped like `concurrent.futures.Executor`."""

from onepath.workers.pool import Future, Pool
from onepath.workers.workplace import Tell, Workplace

__all__ = ["Future", "Pool", "Tell", "Workplace"]
