"""The interface of what the workers of a pool can do; other packages of onepath subclass it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

Tell = Callable[[Any], None]
"""A function by which a job tells something before its end to whoever waits for it: plain JSON values."""


class Workplace(ABC):
    """What the workers of a pool can do; each worker makes one instance, with its first job.

    Args:
        setup: setup of the pool: plain JSON values.

    Example:
        >>> class Adding(Workplace):
        ...     def __init__(self, setup):
        ...         self.start = setup["start"]
        ...     def kinds(self):
        ...         return {"add": lambda tell, numbers: self.start + sum(numbers)}
        >>> Adding({"start": 1}).kinds()["add"](print, numbers=[2, 3])
        6
    """

    @abstractmethod
    def __init__(self, setup: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def kinds(self) -> Mapping[str, Callable[..., Any]]:
        """Return kind of job -> function that does such a job.

        The function is called with a `Tell`, and with the job's arguments by name. It returns the job's result, plain
        JSON values; an exception that it raises is raised again where the result is asked for. When the worker is asked
        to save and leave, the function gets a KeyboardInterrupt, as with Ctrl-C.
        """
