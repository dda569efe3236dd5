"""Ctrl-C, SIGTERM and SIGHUP end a command with one line, at whatever moment."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from onepath.cli import main

# Sends a signal to itself when a module is looked for, or when it has been, as given by a place in `command`.
_AT_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{signal})
from onepath.cli import main
sys.meta_path.insert(0, Finder())
sys.argv[1:] = {arguments!r}
sys.exit(main())
"""
_IN_COMMAND = """
import os, signal, sys
from onepath.cli import main
import onepath.runs
def continued_config(options):
    {body}
onepath.runs.continued_config = continued_config
sys.argv[1:] = ["run"]
sys.exit(main())
"""


def outcome(script: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "number"),
    [("typer", "SIGINT"), ("pydantic", "SIGTERM"), ("onepath.cli.statuses", "SIGHUP"), ("numpy", "SIGINT")],
)
def test_while_modules_are_loaded(name: str, number: str) -> None:
    status = 128 + signal.Signals[number]
    by = "" if number == "SIGINT" else f" by {number}"
    script = _AT_IMPORT.format(
        name=name, signal=number, arguments=["run", "--out", "nowhere", "--epochs", "0"]
    )
    assert outcome(script) == (status, "", f"interrupted{by}: the same command continues where it stopped\n")


@pytest.mark.parametrize(
    ("number", "body"),
    [
        ("SIGHUP", "os.kill(os.getpid(), signal.{})"),
        # A second one, while the first is being dealt with.
        (
            "SIGTERM",
            "\n    try: os.kill(os.getpid(), signal.{0})\n    finally: os.kill(os.getpid(), signal.{0})",
        ),
        # What takes an interruption for an error of its own.
        (
            "SIGINT",
            "\n    try: os.kill(os.getpid(), signal.{})\n    except BaseException: raise ImportError('torn')",
        ),
        # Where Python can raise nothing.
        (
            "SIGTERM",
            "\n    class Final:\n        def __del__(self): os.kill(os.getpid(), signal.{})\n    Final(); sys.exit(9)",
        ),
    ],
)
def test_while_a_command_is_at_work(number: str, body: str) -> None:
    by = "" if number == "SIGINT" else f" by {number}"
    status, stdout, stderr = outcome(_IN_COMMAND.format(body=body.format(number)))
    assert (status, stdout) == (128 + signal.Signals[number], "")
    assert stderr == f"interrupted{by}: the same command continues where it stopped\n"


def test_handlers_are_those_of_before_afterwards() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert main(["--version"]) == 0
    assert [signal.getsignal(number) for number in numbers] == before


def test_what_is_ignored_stays_ignored() -> None:
    body = "os.kill(os.getpid(), signal.SIGHUP); sys.exit(0)"
    script = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + _IN_COMMAND.format(body=body)
    status, _, stderr = outcome(script)
    assert (status, stderr.count("\n")) == (2, 1)
    assert "called sys.exit(0)" in stderr
