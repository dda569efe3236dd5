"""`python -m onepath.workers.worker PARENT MODULE:CLASS`: a process that does the jobs of a pool; see `messages`."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import importlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from onepath.own_code import blaming_own_code
from onepath.workers.messages import decode, encode, encode_error
from onepath.workers.workplace import Workplace

_PR_SET_PDEATHSIG = 1

Send = Callable[[bytes], None]


def main(parent: str, workplace: str) -> NoReturn:
    """Do the jobs that come on stdin until it ends; then leave at once, without Python's own clean-up.

    Args:
        parent: number of the process that started this one; this one ends with it.
        workplace: module:Class of the workplace, named by the program that starts the process and never by a message.
    """
    _die_with_parent(parent)
    # A run in the background of a script ignores SIGINT, and so would this process: then no `stop` could reach it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    commands, send = _take_streams()
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands, inbox), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        _work(workplace, inbox, send)
    os._exit(0)


def _work(name: str, inbox: queue.SimpleQueue[dict[str, Any]], send: Send) -> NoReturn:
    setup, workplace = inbox.get()["values"], None
    while True:
        job = inbox.get()
        number = job["number"]

        def tell(content: Any, number: int = number) -> None:
            send(encode("event", number=number, content=content))

        try:
            with blaming_own_code():
                workplace = workplace or _found(name)(setup)
                value = workplace.kinds()[job["kind"]](tell, **job["arguments"])
            send(encode("result", number=number, value=value))
        except Exception as error:  # noqa: BLE001  the boundary: it is raised again in the pool's process
            send(encode_error(number, error))


def _found(name: str) -> type[Workplace]:
    module, _, member = name.partition(":")
    found = getattr(importlib.import_module(module), member)
    if not (isinstance(found, type) and issubclass(found, Workplace)):
        raise TypeError(f"a worker needs a Workplace, but got {name}")
    return found


def _listen(commands: int, inbox: queue.SimpleQueue[dict[str, Any]]) -> NoReturn:
    with open(commands, "rb") as lines:
        for line in lines:
            message = decode(line)
            if message["message"] == "stop":
                # As Ctrl-C: a training finishes its update and saves.
                _thread.interrupt_main()
            else:
                inbox.put(message)
    # Another process may be waiting for the run directory, and only this process still holds it.
    os._exit(0)


def _take_streams() -> tuple[int, Send]:
    """Return a descriptor of stdin, and a function that sends messages to stdout; other code can use neither.

    Other code that reads stdin gets nothing, and what it prints goes to stderr.
    """
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


def _die_with_parent(parent: str) -> None:
    """Let the kernel end this process with its parent, if the kernel can; the end of stdin does so on every system.

    Args:
        parent: number of the parent, as the parent gave it; if this process has another parent now, the parent ended
            before the kernel was asked.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if parent != str(os.getppid()):
            os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
