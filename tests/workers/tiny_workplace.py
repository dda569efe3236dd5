"""What the workers of the pool's tests do; imports no torch, so that they start at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError
from onepath.workers import Tell, Workplace


class TinyWorkplace(Workplace):
    """Adds, waits, fails and dies as it is asked to."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        if setup.get("refuses"):
            raise ConfigurationError("a setup must do, but this one does not; take another")
        self.start = setup.get("start", 0)

    def kinds(self) -> Mapping[str, Callable[..., Any]]:
        """All that it can do."""
        return {
            "add": self.add,
            "count": self.count,
            "fail": self.fail,
            "leave": self.leave,
            "die": self.die,
            "save": self.save,
            "about": self.about,
        }

    def add(self, tell: Tell, numbers: list[float], seconds: float = 0.0) -> float:
        """The sum of the numbers and of what the setup begins with."""
        time.sleep(seconds)
        return float(self.start + sum(numbers))

    def count(self, tell: Tell, num: int) -> int:
        """Tells every number below `num`."""
        for number in range(num):
            tell({"number": number})
        return num

    def fail(self, tell: Tell, text: str) -> None:
        """Raises an error of ours."""
        raise ConfigurationError(text)

    def leave(self, tell: Tell) -> None:
        """As code that asks Python to exit."""
        sys.exit(0)

    def die(self, tell: Tell, number: int, unless: str | None = None, seconds: float = 0.0) -> str:
        """Sends its own process a signal, only once where there is a file to know it by."""
        time.sleep(seconds)
        if unless is None or not Path(unless).exists():
            if unless is not None:
                Path(unless).touch()
            os.kill(os.getpid(), number)
        return "alive"

    def save(self, tell: Tell, path: str) -> None:
        """Works until it is interrupted, and then saves."""
        try:
            tell("at work")  # from here on an interruption may come
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            Path(path).write_text("saved")
            raise

    def about(self, tell: Tell) -> dict[str, Any]:
        """What kind of process this is; what it prints disturbs nobody."""
        print("printed by a job")  # noqa: T201
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return {
            "process": os.getpid(),
            "has_torch": "torch" in sys.modules,
            "reads": sys.stdin.read(),
            "blocks_interrupts": signal.SIGINT in blocked,
        }


class NoWorkplace:
    """Something else."""
