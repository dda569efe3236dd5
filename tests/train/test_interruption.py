"""A signal that ends the process waits until what is at work is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from onepath.train.interruption import SIGNALS, DeferredInterrupt


class Ending:
    """A handler as the command line's."""

    ends_process = True

    def __init__(self) -> None:
        self.received: list[int] = []

    def __call__(self, number: int, _frame: object) -> None:
        self.received.append(number)
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_waits_and_then_acts(number: signal.Signals) -> None:
    ending = Ending()
    signal.signal(number, ending)
    with DeferredInterrupt() as interrupt:
        signal.raise_signal(number)
        assert interrupt.requested
    assert ending.received == []
    assert signal.getsignal(number) is ending
    with pytest.raises(KeyboardInterrupt):
        interrupt.act()
    assert ending.received == [number]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_second_acts_at_once(number: signal.Signals) -> None:
    ending = Ending()
    signal.signal(number, ending)
    signal.signal(signal.SIGINT, ending)
    with DeferredInterrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert ending.received == [number]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_handler_of_the_users_own_and_what_is_ignored_stay(number: signal.Signals) -> None:
    received: list[int] = []

    def own(number: int, _frame: object) -> None:
        received.append(number)

    signal.signal(number, own)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DeferredInterrupt() as interrupt:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)
    assert received == [number]
    assert not interrupt.requested
    interrupt.act()
    assert signal.getsignal(number) is own


def test_where_a_signal_ends_the_process_it_does_so_when_all_is_saved() -> None:
    script = (
        "import os, signal\nfrom onepath.train.interruption import DeferredInterrupt\n"
        "with DeferredInterrupt() as interrupt:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    print('saved', flush=True)\n"
        "interrupt.act()\nprint('lives')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "saved\n", "")
