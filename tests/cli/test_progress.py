"""Progress: a line now and then, or a bar on a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

from onepath.cli.progress import LineProgress


def test_lines_are_rate_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.note("hello")
    progress.begin("training", 1000)
    for step in range(1, 1001):
        now = step * 0.1
        progress.advance(step, f"loss {step}")
    progress.finish()
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["hello", "training"]
    assert lines[2] == "training: 150 of 1000, loss 150, 1:25 left"
    assert lines[-1] == "training: 1000 of 1000, loss 1000, took 1:40"
    assert len(lines) == 2 + 6 + 1


def test_time_left_counts_this_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.begin("training", 1000, 900)
    now = 20.0
    progress.advance(920)
    lines = stream.getvalue().splitlines()
    assert lines == ["training: 900 of 1000 done already", "training: 920 of 1000, 1:20 left"]


BAR = """
from onepath.cli.progress import make_progress
progress = make_progress()
progress.begin("training", 10, 2)
for step in range(3, 11):
    progress.advance(step, "loss [0.5]")
progress.note("note [x]")
progress.finish()
progress.finish()
print(type(progress).__name__)
"""


def test_a_bar_on_a_terminal_goes_to_stderr() -> None:
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", BAR], stdout=subprocess.PIPE, stderr=terminal, env=environment, check=True
    )
    os.close(terminal)
    shown = os.read(controller, 100_000).decode()
    os.close(controller)
    assert done.stdout == b"BarProgress\n"
    assert "10/10" in shown
    assert "note [x]" in shown
    assert "loss [0.5]" in shown
