"""The trial store: one SQLite file with every evaluated architecture, and with the progress of the stages.

SQLite's default rollback journal with synchronous=FULL is used, not a write-ahead log. So what a call has written is on
the disk when it returns, and the store is one file that can be copied at any time between two calls. A sum over the
rows of each table, and digests of the files beside the store, reveal changes that onepath did not make.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields, replace
from typing import Any

from onepath.errors import RunDirectoryError, UserError
from onepath.record.atomic import damaged_error
from onepath.record.rows import CurvePoint, NetworkRow, Row, StageRow, TrialRow, checked
from onepath.record.sqlite_file import SqliteFile
from onepath.record.stage_records import Recorded, is_record

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE trials (
    number INTEGER PRIMARY KEY, architecture TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL,
    origin TEXT NOT NULL, accuracy REAL, loss REAL, costs TEXT NOT NULL, seconds REAL NOT NULL);
CREATE TABLE networks (
    role TEXT NOT NULL, start TEXT NOT NULL, architecture TEXT NOT NULL, seed INTEGER NOT NULL, costs TEXT NOT NULL,
    inherited_validation REAL, retrained_validation REAL, retrained_test REAL,
    seconds REAL NOT NULL,     PRIMARY KEY (role, start));
CREATE TABLE curves (
    curve TEXT NOT NULL, point INTEGER NOT NULL, update_number INTEGER NOT NULL, epoch REAL NOT NULL,
    loss REAL, metric REAL, learning_rate REAL, seconds REAL NOT NULL, PRIMARY KEY (curve, update_number));
CREATE TABLE stages (
    stage TEXT PRIMARY KEY, seconds REAL NOT NULL, done INTEGER NOT NULL, record TEXT NOT NULL);
"""
_DIGESTS = "CREATE TABLE digests (part TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;"
# Table -> the columns that identify a row, and their positions.
_KEYS: Mapping[str, Mapping[str, int]] = {
    "trials": {"number": 0},
    "networks": {"role": 0, "start": 1},
    "curves": {"curve": 0, "update_number": 2},
    "stages": {"stage": 0},
}
_SUM_BITS = 256


class Store(SqliteFile):
    """The tables of one run; open it inside a `with` or call `close`.

    Args:
        path: path of the SQLite file; created with its tables if it does not exist.
        read_only: True for a reader, which may read while another process writes; the file must exist.

    Raises:
        RunDirectoryError: here and in every method: the file cannot be read or written, is damaged, or is not a trial
            store. What was written before stays.
    """

    def add_trial(self, trial: TrialRow) -> None:
        """Store an evaluated architecture.

        Raises:
            RunDirectoryError: the number or the architecture of the trial is in the store already.
        """
        self._put("trials", _plain(trial), "INSERT")

    def trials(self) -> list[TrialRow]:
        """Return every evaluated architecture, in the order of evaluation."""
        return self._rows(TrialRow, "trials", "number")

    def put_network(self, network: NetworkRow) -> None:
        """Store a stand-alone network, replacing the row of the same role and start."""
        self._put("networks", _plain(network))

    def networks(self) -> list[NetworkRow]:
        """Return every stand-alone network: the winner's first, then the baseline by number.

        Of one role, a network trained from scratch comes first.
        """
        return sorted(self._rows(NetworkRow, "networks", "role, start DESC"), key=_role_order)

    def add_point(self, point: CurvePoint) -> None:
        """Store a point of a training curve, replacing the point of the same update.

        `point.point` is ignored: the store counts the points along the curve. A resumed training, which reports its
        last points again, so leaves the same curve as an uninterrupted one.
        """
        before = "SELECT COUNT(*) FROM curves WHERE curve = ? AND update_number < ?"
        ((number,),) = self._read(before, (point.curve, point.update_number))
        self._put("curves", astuple(replace(point, point=number)))

    def curves(self) -> dict[str, list[CurvePoint]]:
        """Return name of a curve -> its points, in the order of the updates."""
        found: dict[str, list[CurvePoint]] = {}
        for point in self._rows(CurvePoint, "curves", "curve, update_number"):
            found.setdefault(point.curve, []).append(point)
        return found

    def put_stage(self, stage: StageRow) -> None:
        """Store the progress of a stage, replacing what was stored for it.

        Raises:
            ValueError: the record holds a number that is NaN or infinite.
        """
        record = json.dumps(stage.record, allow_nan=False)
        self._put("stages", (stage.stage, stage.seconds, int(stage.done), record))

    def stage(self, stage: str) -> StageRow:
        """Return the progress of a stage; a stage that has not begun has 0 seconds and an empty record."""
        return self.stages().get(stage, StageRow(stage))

    def stages(self) -> dict[str, StageRow]:
        """Return name of a stage -> its progress, for the stages that have begun."""
        return {row.stage: row for row in self._rows(StageRow, "stages", "rowid")}

    def put_digest(self, part: str, digest: str) -> None:
        """Store the digest of a file.

        Args:
            part: path of the file in the run directory.
            digest: `content_digest` of the file.
        """
        self._write("INSERT OR REPLACE INTO digests VALUES (?, ?)", (part, digest))

    def digests(self) -> dict[str, str]:
        """Return path in the run directory -> digest of the file that was written there, for all stored digests."""
        if self._has_digests:
            found = self._read("SELECT part, digest FROM digests")
            return {str(part): str(digest) for part, digest in found if part not in _KEYS}
        return {}

    def _put(self, table: str, row: tuple[Any, ...], verb: str = "INSERT OR REPLACE") -> None:
        """Write a row, and update the table's sum in the same transaction."""
        where = " AND ".join(f"{column} = ?" for column in _KEYS[table])
        key = tuple(row[place] for place in _KEYS[table].values())
        select = f"SELECT * FROM {table} WHERE {where}"
        with self._errors(), self._connection:
            old = self._connection.execute(select, key).fetchall()
            statement = f"{verb} INTO {table} VALUES ({', '.join('?' * len(row))})"
            self._connection.execute(statement, _finite(row))
            # Read back from the file: a whole number in a column of reals becomes a real.
            new = self._connection.execute(select, key).fetchall()
            total = self._sum(table) + _row_sum(new) - _row_sum(old)
            digest = f"{total % (1 << _SUM_BITS):x}"
            self._connection.execute("INSERT OR REPLACE INTO digests VALUES (?, ?)", (table, digest))

    def _rows(self, kind: type[Row], table: str, order: str) -> list[Row]:
        """Read the rows of a table, and check them.

        Raises:
            RunDirectoryError: something other than onepath changed, added or deleted rows, or a value is invalid.
        """
        with self._errors(), self._connection:
            # One transaction for rows and sum, because another process may be writing.
            self._connection.execute("BEGIN")
            rows = self._connection.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()
            total = self._sum(table) if self._has_digests else None
        try:
            if total is not None and total != _row_sum(rows):
                raise damaged_error(self.path)
            return [checked(kind, self._read_row(kind, row)) for row in rows]
        except UserError:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            raise damaged_error(self.path) from error

    def _read_row(self, kind: type[Row], row: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the values of a row, converted to the types of its fields."""
        if kind is StageRow:
            return self._with_record(row)
        names = [each.name for each in fields(kind)]
        read = [
            json.loads(value) if name == "costs" else value for name, value in zip(names, row, strict=True)
        ]
        return tuple(read)

    def _with_record(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the row of a stage with its record parsed and checked, and with `done` as a bool."""
        stage, seconds, done, text = row
        record = json.loads(text)
        if done not in (0, 1) or not is_record(stage, record):
            raise ValueError("a StageRow")
        return stage, seconds, bool(done), Recorded(record, self.path)

    def _sum(self, table: str) -> int:
        found = self._read("SELECT digest FROM digests WHERE part = ?", (table,))
        try:
            return int(found[0][0], 16) if found else 0
        except (ValueError, TypeError) as error:
            raise damaged_error(self.path) from error

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master").fetchall()}
        if version == 0 and not tables and not self.read_only:
            schema = f"BEGIN IMMEDIATE; {_SCHEMA} {_DIGESTS} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            self._connection.executescript(schema)
        elif version == 0 and not tables:
            raise damaged_error(self.path)
        elif version != SCHEMA_VERSION:
            raise RunDirectoryError(
                f"{self.path} must be a store of version {SCHEMA_VERSION}, but it has version {version}; "
                "use the onepath that wrote it, or start over with --fresh"
            )
        elif not tables.issuperset(_KEYS):
            raise damaged_error(self.path)
        elif "digests" not in tables and not self.read_only:
            self._sum_rows()
        self._has_digests = "digests" in tables or not self.read_only

    def _sum_rows(self) -> None:
        """Add the sums to a store that has none, taking its rows as they are."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(_DIGESTS)
            for table in _KEYS:
                rows = self._connection.execute(f"SELECT * FROM {table}").fetchall()
                self._connection.execute("INSERT INTO digests VALUES (?, ?)", (table, f"{_row_sum(rows):x}"))


def _plain(row: TrialRow | NetworkRow) -> tuple[Any, ...]:
    """Return the values of a row for SQLite, with costs as JSON."""
    return tuple(
        json.dumps(value, sort_keys=True, allow_nan=False) if isinstance(value, dict) else value
        for value in (getattr(row, each.name) for each in fields(row))
    )


def _row_sum(rows: Sequence[tuple[Any, ...]]) -> int:
    """Return a sum over rows that changes with every row; a row can be added to it without reading the others."""
    sums = (int.from_bytes(hashlib.sha256(repr(row).encode()).digest(), "big") for row in rows)
    return sum(sums) % (1 << _SUM_BITS)


def _finite(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if isinstance(value, float) and not math.isfinite(value) else value for value in row)


def _role_order(row: NetworkRow) -> tuple[bool, int, str]:
    _, _, number = row.role.partition("-")
    return (row.role != "winner", int(number) if number.isdigit() else 0, row.role)
