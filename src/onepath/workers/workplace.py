"""What the workers of a pool can do: the one class that other rooms write for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

Tell = Callable[[Any], None]
"""Tells whoever waits for a job something on the way: plain JSON values."""


class Workplace(ABC):
    """What the workers of a pool can do; each worker makes one, with its first job.

    Args:
        setup: that of the pool: plain JSON values.

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
        """Kind of job -> what does it: called with a `Tell`, and with the job's arguments by their names.

        What it returns is the job's result, plain JSON values; what it raises is raised again where the result is asked
        for. Asked to save and leave, it gets a KeyboardInterrupt, as by Ctrl-C.
        """
