"""The process that trains: what it answers, and that it leaves."""

from __future__ import annotations

import builtins
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onepath import errors
from onepath.runs import make_config
from onepath.workers.messages import decode, decode_error, encode, encode_error


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "onepath.runs.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_messages_keep_floats_to_the_bit() -> None:
    values = [0.1 + 0.2, 1e-300, 5, float("inf")]
    line = encode("point", values=values)
    assert line.count(b"\n") == 1
    assert decode(line) == {"kind": "point", "values": values}


@pytest.mark.parametrize(
    "error",
    [
        errors.ConfigurationError("loss must be finite.\nLower the learning rate."),
        errors.RunDirectoryError("x must be writable"),
        RuntimeError("ours"),
        MemoryError("much"),
        OSError("a disk"),
    ],
)
def test_errors_come_back_as_they_were(error: Exception) -> None:
    try:
        raise error
    except type(error) as caught:
        line = encode_error(caught)
    again = decode_error(decode(line))
    assert (type(again), str(again)) == (type(error), str(error))
    assert "test_errors_come_back_as_they_were" in again.__notes__[0]


def test_errors_of_other_classes_keep_their_name() -> None:
    class StrangeError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(one + two)

    again = decode_error(decode(encode_error(StrangeError(1, 2))))
    assert (type(again).__name__, str(again)) == ("StrangeError", "3")
    undecodable = UnicodeDecodeError("utf-8", b"x", 0, 1, "why")
    again = decode_error(decode(encode_error(undecodable)))
    assert (type(again).__name__, str(again)) == ("UnicodeDecodeError", str(undecodable))
    # What is no exception is not called.
    name = json.loads(encode_error(StrangeError(1, 2)))
    assert isinstance(decode_error({**name, "name": "print"}), RuntimeError)
    assert builtins.print is print


def test_it_leaves_when_its_run_has_ended() -> None:
    with start() as worker:
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(20) == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "own.py"),
        ("import sys\ndef build(num_classes): sys.exit(0)", "own.py, line 2, in build, called sys.exit(0)"),
        ("def build(num_classes): return {}['x']", "own.py, line 1, in build, raised KeyError: 'x'"),
    ],
)
def test_it_tells_what_went_wrong(tmp_path: Path, source: str | None, message: str) -> None:
    if source is not None:
        (tmp_path / "own.py").write_text(source)
    config = make_config({"space": f"{tmp_path / 'own.py'}:build"}).model_dump(mode="json")
    facts = {"classes": 10, "input_shape": [1, 8, 8]}
    network = {
        "role": "winner",
        "start": "scratch",
        "architecture": "0",
        "seed": 0,
        "inherited_validation": 0.5,
    }
    with start() as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(
            encode(
                "setup", path=str(tmp_path), config=config, facts=facts, threads=1, checkpoint_seconds=20.0
            )
        )
        worker.stdin.write(encode("train", network=network))
        worker.stdin.flush()
        answer = decode(worker.stdout.readline())
    assert worker.returncode == 0
    error = decode_error(answer)
    assert isinstance(error, errors.ConfigurationError)
    assert message in str(error)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel does it on Linux")
@pytest.mark.parametrize("seconds", [0.05, 1.5])
def test_it_dies_with_its_parent_even_if_a_pipe_stays_open(seconds: float) -> None:
    """Another process that holds the pipe's end would hide that the parent has gone, before or after the kernel is
    asked to tell.
    """
    code = (
        "import os, subprocess, sys, time; r = subprocess.Popen([sys.executable, '-m', 'onepath.runs.worker', "
        "str(os.getpid())], stdin=0); print(r.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        status = Path(f"/proc/{pid}/status")
        time.sleep(seconds)
        assert "\nState:\tZ" not in status.read_text()
        parent.send_signal(signal.SIGKILL)
        end = time.monotonic() + 60
        while status.exists() and "\nState:\tZ" not in status.read_text():
            assert time.monotonic() < end, "it lives on"
            time.sleep(0.05)
