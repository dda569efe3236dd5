"""Estimates of many architectures, each kept as soon as it is made."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onepath.errors import RunDirectoryError

ESTIMATES = "estimates.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS estimates (
    setting TEXT NOT NULL, architecture TEXT NOT NULL, numbers TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (setting, architecture));
"""


class EstimateStore:
    """One SQLite file of numbers by setting and architecture; open it inside a `with`.

    Each is on the disk when `put` returns, so that a killed command continues with those that are left. Other settings
    have rows of their own.

    Args:
        path: the file; created if it does not exist.

    Raises:
        RunDirectoryError: here and in every method: the file cannot be read or written. What was written stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._errors():
            self._connection = sqlite3.connect(path, timeout=10.0)
        try:
            with self._errors(), self._connection:
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute(_SCHEMA)
        except RunDirectoryError:
            self._connection.close()
            raise

    def __enter__(self) -> EstimateStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def put(self, setting: str, architecture: str, numbers: Mapping[str, float], seconds: float) -> None:
        """Keep the numbers of an architecture; those that are not finite become None."""
        plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        row = (setting, architecture, json.dumps(plain, allow_nan=False), seconds)
        with self._errors(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO estimates VALUES (?, ?, ?, ?)", row)

    def read(self, setting: str) -> dict[str, dict[str, float | None]]:
        """Architecture -> its numbers, in a setting."""
        return {row[0]: json.loads(row[1]) for row in self._rows("architecture, numbers", setting)}

    def seconds(self, setting: str) -> float:
        """Time that the estimates of a setting took in all."""
        return float(sum(row[0] for row in self._rows("seconds", setting)))

    def _rows(self, columns: str, setting: str) -> list[tuple[Any, ...]]:
        with self._errors():
            query = f"SELECT {columns} FROM estimates WHERE setting = ? ORDER BY rowid"
            return self._connection.execute(query, (setting,)).fetchall()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"{self.path} must be a readable and writable store, but SQLite said: {error}; nothing already written "
                "is lost: mend that, then run the same command again"
            ) from error
