"""An SQLite file: every call has committed when it returns, and errors of SQLite become RunDirectoryErrors."""

from __future__ import annotations

import contextlib
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from onepath.errors import RunDirectoryError


class SqliteFile(ABC):
    """An open SQLite file; use it in a `with`, or call `close`.

    Args:
        path: path of the file; created with its tables if it does not exist.
        read_only: True for a reader, which may read while another process writes; the file must exist.

    Raises:
        RunDirectoryError: here and in every method: the file cannot be read or written. What was written before stays.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        with self._errors():
            self._connection = self._connect()
        try:
            with self._errors():
                self._connection.execute("PRAGMA synchronous = FULL")
                self._prepare()
        except RunDirectoryError:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing is lost, because every call has committed."""
        self._connection.close()

    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            return sqlite3.connect(self.path, timeout=10.0)
        address = f"{self.path.absolute().as_uri()}?mode="
        connection = sqlite3.connect(f"{address}ro", timeout=10.0, uri=True)
        try:
            connection.execute("SELECT name FROM sqlite_master").fetchall()
        except sqlite3.OperationalError:
            # A writer was killed inside a transaction: a reader must first undo it, which needs write access.
            connection.close()
            return sqlite3.connect(f"{address}rw", timeout=10.0, uri=True)
        return connection

    @abstractmethod
    def _prepare(self) -> None:
        """Create the tables of a new file, and check the tables of an existing file."""

    def _write(self, statement: str, row: tuple[Any, ...]) -> None:
        with self._errors(), self._connection:
            self._connection.execute(statement, row)

    def _read(self, statement: str, row: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._connection.execute(statement, row).fetchall()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"{self.path} must be a readable and writable store, but SQLite said: {error}; nothing already written "
                "is lost: fix that, then run the same command again"
            ) from error
