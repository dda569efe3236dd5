"""The trial store: one SQLite file that holds every evaluated architecture once, and how far the stages are.

The default rollback journal with synchronous=FULL is kept (no write-ahead log): what a call has written is on
the disk when it returns, and the store is one file that can be copied at any time between two calls.
"""

from __future__ import annotations

import json
import math
from dataclasses import astuple
from typing import Any

from onepath.errors import RunDirectoryError
from onepath.record.rows import CurvePoint, NetworkRow, StageRow, TrialRow
from onepath.record.sqlite_file import SqliteFile

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE trials (
    number INTEGER PRIMARY KEY, architecture TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL,
    origin TEXT NOT NULL, accuracy REAL, loss REAL, macs INTEGER, params INTEGER, seconds REAL NOT NULL);
CREATE TABLE networks (
    role TEXT NOT NULL, start TEXT NOT NULL, architecture TEXT NOT NULL, seed INTEGER NOT NULL, macs INTEGER,
    params INTEGER, inherited_validation REAL, retrained_validation REAL, retrained_test REAL,
    seconds REAL NOT NULL,     PRIMARY KEY (role, start));
CREATE TABLE curves (
    curve TEXT NOT NULL, point INTEGER NOT NULL, update_number INTEGER NOT NULL, epoch REAL NOT NULL,
    loss REAL, metric REAL, learning_rate REAL, seconds REAL NOT NULL, PRIMARY KEY (curve, update_number));
CREATE TABLE stages (
    stage TEXT PRIMARY KEY, seconds REAL NOT NULL, done INTEGER NOT NULL, record TEXT NOT NULL);
"""


class Store(SqliteFile):
    """The tables of one run; open it inside a `with` or call `close`.

    Args:
        path: the SQLite file; created with its tables if it does not exist.

    Raises:
        RunDirectoryError: here and in every method: the file cannot be read or written, or is not ours. What
            was written before stays.
    """

    def add_trial(self, trial: TrialRow) -> None:
        """Store an evaluated architecture.

        Raises:
            RunDirectoryError: its number or its architecture is in the store already.
        """
        row = _finite(astuple(trial))
        self._write("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def trials(self) -> list[TrialRow]:
        """Every evaluated architecture, in the order of evaluation."""
        return [TrialRow(*row) for row in self._read("SELECT * FROM trials ORDER BY number")]

    def put_network(self, network: NetworkRow) -> None:
        """Store a stand-alone network, replacing the row of the same role and start."""
        row = _finite(astuple(network))
        self._write("INSERT OR REPLACE INTO networks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def networks(self) -> list[NetworkRow]:
        """Every stand-alone network, in the order in which they were first trained."""
        rows = [NetworkRow(*row) for row in self._read("SELECT * FROM networks ORDER BY role, start DESC")]
        return sorted(rows, key=_role_order)

    def add_point(self, point: CurvePoint) -> None:
        """Store a point of a training curve, replacing the one of the same update.

        `point.point` is not used: points are counted along the curve, so that a resumed training, which
        reports its last points again, leaves the same curve as an uninterrupted one.
        """
        curve, _, *values = _finite(astuple(point))
        count = "(SELECT COUNT(*) FROM curves WHERE curve = ? AND update_number < ?)"
        statement = f"INSERT OR REPLACE INTO curves VALUES (?, {count}, ?, ?, ?, ?, ?, ?)"
        self._write(statement, (curve, curve, values[0], *values))

    def curves(self) -> dict[str, list[CurvePoint]]:
        """Curve name -> its points by update."""
        found: dict[str, list[CurvePoint]] = {}
        for row in self._read("SELECT * FROM curves ORDER BY curve, update_number"):
            found.setdefault(row[0], []).append(CurvePoint(*row))
        return found

    def put_stage(self, stage: StageRow) -> None:
        """Store how far a stage has come."""
        record = json.dumps(stage.record, allow_nan=False)
        row = (stage.stage, stage.seconds, int(stage.done), record)
        self._write("INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?)", row)

    def stage(self, stage: str) -> StageRow:
        """How far a stage has come; a stage that has not begun has 0 seconds and an empty record."""
        return self.stages().get(stage, StageRow(stage))

    def stages(self) -> dict[str, StageRow]:
        """Stage name -> how far it has come, for the stages that have begun."""
        rows = self._read("SELECT stage, seconds, done, record FROM stages")
        return {row[0]: StageRow(row[0], row[1], bool(row[2]), json.loads(row[3])) for row in rows}

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not self._connection.execute("SELECT name FROM sqlite_master").fetchall():
            schema = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            self._connection.executescript(schema)
        elif version != SCHEMA_VERSION:
            raise RunDirectoryError(
                f"{self.path} must be a store of version {SCHEMA_VERSION}, but it has version {version}; "
                "use the onepath that wrote it, or start over with --fresh"
            )


def _finite(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if isinstance(value, float) and not math.isfinite(value) else value for value in row)


def _role_order(row: NetworkRow) -> tuple[bool, int, str]:
    _, _, number = row.role.partition("-")
    return (row.role != "winner", int(number) if number.isdigit() else 0, row.role)
