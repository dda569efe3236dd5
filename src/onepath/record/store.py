"""The trial store: one SQLite file that holds every evaluated architecture once, and how far the stages are.

The default rollback journal with synchronous=FULL is kept (no write-ahead log): what a call has written is on
the disk when it returns, and the store is one file that can be copied at any time between two calls. A sum over the
rows of each table, and digests of the files beside the store, tell when something else has changed them.
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
# Table -> the columns that tell its rows apart, and their places.
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
        self._put("trials", _plain(trial), "INSERT")

    def trials(self) -> list[TrialRow]:
        """Every evaluated architecture, in the order of evaluation."""
        return self._rows(TrialRow, "trials", "number")

    def put_network(self, network: NetworkRow) -> None:
        """Store a stand-alone network, replacing the row of the same role and start."""
        self._put("networks", _plain(network))

    def networks(self) -> list[NetworkRow]:
        """Every stand-alone network, in the order in which they were first trained."""
        return sorted(self._rows(NetworkRow, "networks", "role, start DESC"), key=_role_order)

    def add_point(self, point: CurvePoint) -> None:
        """Store a point of a training curve, replacing the one of the same update.

        `point.point` is not used: points are counted along the curve, so that a resumed training, which
        reports its last points again, leaves the same curve as an uninterrupted one.
        """
        before = "SELECT COUNT(*) FROM curves WHERE curve = ? AND update_number < ?"
        ((number,),) = self._read(before, (point.curve, point.update_number))
        self._put("curves", astuple(replace(point, point=number)))

    def curves(self) -> dict[str, list[CurvePoint]]:
        """Curve name -> its points by update."""
        found: dict[str, list[CurvePoint]] = {}
        for point in self._rows(CurvePoint, "curves", "curve, update_number"):
            found.setdefault(point.curve, []).append(point)
        return found

    def put_stage(self, stage: StageRow) -> None:
        """Store how far a stage has come."""
        record = json.dumps(stage.record, allow_nan=False)
        self._put("stages", (stage.stage, stage.seconds, int(stage.done), record))

    def stage(self, stage: str) -> StageRow:
        """How far a stage has come; a stage that has not begun has 0 seconds and an empty record."""
        return self.stages().get(stage, StageRow(stage))

    def stages(self) -> dict[str, StageRow]:
        """Stage name -> how far it has come, for the stages that have begun."""
        return {row.stage: row for row in self._rows(StageRow, "stages", "rowid")}

    def put_digest(self, part: str, digest: str) -> None:
        """Keep the digest of a file, by its path in the run directory."""
        self._write("INSERT OR REPLACE INTO digests VALUES (?, ?)", (part, digest))

    def digests(self) -> dict[str, str]:
        """Path in the run directory -> digest of the file that was written there, as far as they are known."""
        if self._has_digests:
            found = self._read("SELECT part, digest FROM digests")
            return {str(part): str(digest) for part, digest in found if part not in _KEYS}
        return {}

    def _put(self, table: str, row: tuple[Any, ...], verb: str = "INSERT OR REPLACE") -> None:
        """Write a row, and bring the table's sum up to date in the same transaction."""
        where = " AND ".join(f"{column} = ?" for column in _KEYS[table])
        key = tuple(row[place] for place in _KEYS[table].values())
        select = f"SELECT * FROM {table} WHERE {where}"
        with self._errors(), self._connection:
            old = self._connection.execute(select, key).fetchall()
            statement = f"{verb} INTO {table} VALUES ({', '.join('?' * len(row))})"
            self._connection.execute(statement, _finite(row))
            # As the file has them: a whole number in a column of reals comes back as a real.
            new = self._connection.execute(select, key).fetchall()
            total = self._sum(table) + _row_sum(new) - _row_sum(old)
            digest = f"{total % (1 << _SUM_BITS):x}"
            self._connection.execute("INSERT OR REPLACE INTO digests VALUES (?, ?)", (table, digest))

    def _rows(self, kind: type[Row], table: str, order: str) -> list[Row]:
        """The rows of a table.

        Raises:
            RunDirectoryError: rows were changed, added or deleted by something else, or are none of ours.
        """
        with self._errors(), self._connection:
            # Both of one moment, for another process may be writing.
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
        """The values of a row as its fields have them."""
        if kind is StageRow:
            return self._with_record(row)
        names = [each.name for each in fields(kind)]
        read = [
            json.loads(value) if name == "costs" else value for name, value in zip(names, row, strict=True)
        ]
        return tuple(read)

    def _with_record(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The row of a stage with its record read, and with `done` as a truth value."""
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
        """Begin the sums of a store that has none, with the rows as they are."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(_DIGESTS)
            for table in _KEYS:
                rows = self._connection.execute(f"SELECT * FROM {table}").fetchall()
                self._connection.execute("INSERT INTO digests VALUES (?, ?)", (table, f"{_row_sum(rows):x}"))


def _plain(row: TrialRow | NetworkRow) -> tuple[Any, ...]:
    """The values of a row as SQLite takes them: costs as JSON."""
    return tuple(
        json.dumps(value, sort_keys=True, allow_nan=False) if isinstance(value, dict) else value
        for value in (getattr(row, each.name) for each in fields(row))
    )


def _row_sum(rows: Sequence[tuple[Any, ...]]) -> int:
    """A sum over rows that tells any change of them, and to which a row is added without reading the others."""
    sums = (int.from_bytes(hashlib.sha256(repr(row).encode()).digest(), "big") for row in rows)
    return sum(sums) % (1 << _SUM_BITS)


def _finite(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if isinstance(value, float) and not math.isfinite(value) else value for value in row)


def _role_order(row: NetworkRow) -> tuple[bool, int, str]:
    _, _, number = row.role.partition("-")
    return (row.role != "winner", int(number) if number.isdigit() else 0, row.role)
