"""A finished run whose store tells of no changes from outside, with every record of a stage changed: right or one line.

As the store of an older onepath is, and as one that somebody made.
"""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rewinding import without_digests
from run_processes import TINY

import onepath
from onepath import runs
from onepath.errors import UserError
from onepath.record import atomic
from onepath.report import template
from onepath.runs import reporting

STAGES = ("data", "train", "search", "retrain", "export")
WRONG = (None, True, 10**30, "no", [], {"no": [1]})


@pytest.fixture(scope="module")
def old(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which may be changed."""
    out = tmp_path_factory.mktemp("forged") / "run"
    shutil.copytree(finished, out)
    without_digests(out)
    return out


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without five megabytes of plotly.js, and without waiting for the disk."""
    monkeypatch.setattr(template, "plotly_script", lambda: "")
    monkeypatch.setattr(atomic.os, "fsync", lambda _: None)
    monkeypatch.setattr(reporting, "write_events", lambda _: None)


def changed(record: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Where and what, and the record without each key and with each value of other types, in its parts as well."""
    yield from ((("the whole", wrong), wrong) for wrong in WRONG)
    for path in places(record):
        for wrong in ("absent", *WRONG):
            other = copy.deepcopy(record)
            inner = other
            for key in path[:-1]:
                inner = inner[key]
            if wrong == "absent":
                del inner[path[-1]]
            else:
                inner[path[-1]] = wrong
            yield (path, wrong), other


def places(value: Any, depth: int = 1) -> Iterator[tuple[Any, ...]]:
    """Paths to what a record holds; of the entries of a list, and of a mapping with many, the first."""
    keys = list(value) if isinstance(value, dict) else [0] if isinstance(value, list) and value else []
    for key in keys if len(keys) < 20 and depth > 0 else keys[:2]:
        yield (key,)
        if depth:
            yield from ((key, *inner) for inner in places(value[key], depth - 1))


def read_all(out: Path) -> None:
    """What the readers of a run ask for, each on its own."""
    run = onepath.load_run(out, space=TINY)
    (out / "result.json").unlink(missing_ok=True)  # so that the report makes it again
    for read in (
        lambda: run.trials,
        lambda: run.preprocessing,
        lambda: run.architecture,
        run.model,
        run.supernet,
        lambda: runs.report(out),
    ):
        with contextlib.suppress(UserError):
            read()


@pytest.mark.parametrize("stage", STAGES)
def test_every_reader_answers_or_says_one_line(old: Path, stage: str) -> None:
    with contextlib.closing(sqlite3.connect(old / "trials.sqlite")) as connection:
        (text,) = connection.execute("SELECT record FROM stages WHERE stage = ?", [stage]).fetchone()
    num_read = 0
    for what, record in changed(json.loads(text)):
        store(old, stage, json.dumps(record))
        try:
            read_all(old)
            num_read += 1
        except UserError:
            pass
        except Exception as error:
            raise AssertionError(f"{stage}: {what}") from error
    store(old, stage, text)
    read_all(old)
    assert num_read > 0


def store(out: Path, stage: str, text: str) -> None:
    connection = sqlite3.connect(out / "trials.sqlite")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("DROP TABLE IF EXISTS digests")
    connection.execute("UPDATE stages SET record = ? WHERE stage = ?", [text, stage])
    connection.commit()
    connection.close()
