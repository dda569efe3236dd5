"""Processes that work on jobs: a pool of them, shaped like `concurrent.futures.Executor`."""

from onepath.workers.pool import Future, Pool
from onepath.workers.workplace import Tell, Workplace

__all__ = ["Future", "Pool", "Tell", "Workplace"]
