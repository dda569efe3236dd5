"""Runs taken back to the end of their search; imported by the tests as a plain module."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import yaml


def without_digests(out: Path) -> None:
    """Make a run one that began before its store told of changes from outside."""
    connection = sqlite3.connect(out / "trials.sqlite")
    connection.execute("DROP TABLE digests")
    connection.commit()
    connection.close()


def rewound(finished: Path, out: Path, **changes: Any) -> Path:
    """A copy of a finished run in which nothing has been retrained, and with other options."""
    shutil.copytree(finished, out)
    for name in ("result.json", "report.html", "architecture.json"):
        (out / name).unlink()
    for file in (out / "checkpoints").iterdir():
        if file.name != "supernet.safetensors":
            file.unlink()
    connection = sqlite3.connect(out / "trials.sqlite")
    connection.execute("DELETE FROM stages WHERE stage IN ('retrain', 'export', 'report')")
    connection.execute("DELETE FROM curves WHERE curve != 'supernet'")
    connection.execute("DELETE FROM networks")
    connection.commit()
    connection.close()
    without_digests(out)
    config = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump({**config, **changes}))
    return out
