"""`python -m onepath.runs.worker`: a process that trains or scores networks for a run.

See `onepath.workers.messages`. It writes the checkpoints and weights of the networks that it trains and nothing else:
curves, results and scores go to the run as messages.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from onepath.own_code import blaming_own_code
from onepath.runs.config import make_config
from onepath.runs.definition import RunDefinition
from onepath.runs.standalone import PlannedNetwork, train_network
from onepath.workers.messages import decode, encode, encode_error

if TYPE_CHECKING:
    from onepath.train import TrainingPoint

_PR_SET_PDEATHSIG = 1
_SECONDS_BETWEEN_UPDATES = 0.1

Send = Callable[[bytes], None]


def main() -> NoReturn:
    """Train or score what stdin asks for until it ends; then leave at once, without Python's own clearing up."""
    _die_with_parent(sys.argv[1] if len(sys.argv) > 1 else None)
    # A run in the background of a script ignores SIGINT, and so would this process: then no `stop` could reach it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    commands, send = _take_streams()
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands, inbox), daemon=True).start()
    try:
        with blaming_own_code():
            _work(inbox, send)
    except KeyboardInterrupt:
        send(encode("stopped"))
    except Exception as error:  # noqa: BLE001  the boundary: it is raised again in the run's process
        send(encode_error(error))
    os._exit(0)


def _work(inbox: queue.SimpleQueue[dict[str, Any]], send: Send) -> NoReturn:
    import torch

    setup = inbox.get()
    torch.set_num_threads(setup["threads"])
    materials = RunDefinition(
        Path(setup["path"]), make_config(setup["config"]), setup["facts"], digests=setup.get("digests")
    )
    if "score" in setup:
        _score(inbox, send, materials, setup["score"])
    while True:
        network = PlannedNetwork(**inbox.get()["network"])
        report = _Report(send)
        trained = train_network(
            materials,
            network,
            checkpoint_seconds=setup["checkpoint_seconds"],
            on_point=report.on_point,
            on_update=report.on_update,
        )
        curve = [astuple(point) for point in trained.curve]
        send(encode("trained", validation=trained.validation, curve=curve, weights=trained.weights))


def _score(
    inbox: queue.SimpleQueue[dict[str, Any]], send: Send, materials: RunDefinition, score: dict[str, Any]
) -> NoReturn:
    from onepath.estimate import ScoreEstimator

    supernet = materials.blank
    estimator = ScoreEstimator.without_data(
        score["name"], supernet, score["shape"], device=score["device"], num_threads=1, seed=score["seed"]
    )
    while True:
        text = inbox.get()["architecture"]
        found = estimator.estimate(supernet.space.parse(text))
        send(encode("score", architecture=text, value=found.accuracy, seconds=found.seconds))


class _Report:
    """What a training tells: every point, and the first, the last and now and then another update."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._next = 0.0

    def on_point(self, point: TrainingPoint) -> None:
        self._send(encode("point", values=astuple(point)))

    def on_update(self, update: int, num_updates: int) -> None:
        now = time.monotonic()
        if now >= self._next or update == num_updates:
            self._next = now + _SECONDS_BETWEEN_UPDATES
            self._send(encode("update", done=update, num_updates=num_updates))


def _listen(commands: int, inbox: queue.SimpleQueue[dict[str, Any]]) -> NoReturn:
    with open(commands, "rb") as lines:
        for line in lines:
            message = decode(line)
            if message["kind"] == "stop":
                # As Ctrl-C: a training finishes its update and saves.
                _thread.interrupt_main()
            else:
                inbox.put(message)
    # The directory may have a new owner soon, who waits for this process alone.
    os._exit(0)


def _take_streams() -> tuple[int, Send]:
    """Stdin for `_listen`, stdout for messages; other code reads nothing, and what it prints goes to stderr."""
    commands, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)

    def send(line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(answers, rest) :]
        except BrokenPipeError:
            os._exit(0)

    return commands, send


def _die_with_parent(parent: str | None) -> None:
    """Let the kernel end this process with its parent, where it can; the end of stdin does it everywhere.

    Args:
        parent: the parent's number as it told it; another one now means that it was gone before the kernel was asked.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if parent is not None and parent != str(os.getppid()):
            os._exit(0)


if __name__ == "__main__":
    main()
