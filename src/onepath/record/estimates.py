"""A store of estimates of many architectures, each stored as soon as it is made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from onepath.record.atomic import damaged_error
from onepath.record.sqlite_file import SqliteFile

ESTIMATES = "estimates.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS estimates (
    setting TEXT NOT NULL, architecture TEXT NOT NULL, numbers TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (setting, architecture));
"""


class EstimateStore(SqliteFile):
    """An SQLite file of the numbers of each architecture under each setting; open it inside a `with`.

    A setting is a text that names everything that the numbers depend on besides the architecture. An estimate is on the
    disk when `put` returns, so that a killed command can continue with the architectures that are left.

    Args:
        path: path of the SQLite file; created if it does not exist.

    Raises:
        RunDirectoryError: here and in every method: the file cannot be read or written, or is damaged. What was
            written before stays.
    """

    def _prepare(self) -> None:
        with self._connection:
            self._connection.execute(_SCHEMA)

    def put(self, setting: str, architecture: str, numbers: Mapping[str, float], seconds: float) -> None:
        """Store the numbers of an architecture and replace earlier ones; numbers that are not finite become None.

        Args:
            setting: text that names what the numbers depend on.
            architecture: text of the architecture.
            numbers: name -> number.
            seconds: time that the estimate took.
        """
        plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        row = (setting, architecture, json.dumps(plain, allow_nan=False), seconds)
        self._write("INSERT OR REPLACE INTO estimates VALUES (?, ?, ?, ?)", row)

    def read(self, setting: str) -> dict[str, dict[str, float | None]]:
        """Return architecture -> name -> number, for all estimates of a setting, in the order of their storage."""
        return {str(row[0]): self._numbers(row[1]) for row in self._rows("architecture, numbers", setting)}

    def seconds(self, setting: str) -> dict[str, float]:
        """Return architecture -> time of its estimate, for all estimates of a setting."""
        found = {str(row[0]): row[1] for row in self._rows("architecture, seconds", setting)}
        if not all(isinstance(seconds, float) for seconds in found.values()):
            raise damaged_error(self.path)
        return found

    def _numbers(self, text: object) -> dict[str, float | None]:
        try:
            numbers = json.loads(str(text))
        except (ValueError, RecursionError) as error:
            raise damaged_error(self.path) from error
        kinds = (int, float, type(None))
        if not isinstance(numbers, dict) or not all(isinstance(value, kinds) for value in numbers.values()):
            raise damaged_error(self.path)
        return numbers

    def _rows(self, columns: str, setting: str) -> list[tuple[Any, ...]]:
        return self._read(f"SELECT {columns} FROM estimates WHERE setting = ? ORDER BY rowid", (setting,))
