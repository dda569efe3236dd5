"""The contract of the pool: order, errors, cancellation, workers that die or are stopped, and that nothing stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from tiny_workplace import TinyWorkplace

from onepath.errors import ConfigurationError, UserError
from onepath.workers import Pool, processes
from onepath.workers import pool as pools


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that pools start; none may outlive its pool."""
    found: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        found.append(subprocess.Popen(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(processes, "_start_process", start)
    return found


@pytest.fixture
def pool(started: list[subprocess.Popen[bytes]]) -> Iterator[Pool]:
    """Two workers; afterwards they have ended."""
    with Pool(TinyWorkplace, {"start": 1}, num_workers=2) as pool:
        yield pool
    assert all(process.returncode == 0 for process in started)


def test_results_do_not_depend_on_who_ends_when(pool: Pool, started: list[Any]) -> None:
    assert started == [], "they start with the first job"
    slow = pool.submit("add", {"numbers": [0], "seconds": 0.5})
    quick = [pool.submit("add", {"numbers": [number, 0.1]}) for number in range(1, 6)]
    assert not slow.done()
    assert not slow.cancelled()
    order = list(pool.as_completed([slow, *quick, slow]))
    assert len(order) == 6, "each once"
    assert order[-1] is slow
    assert [future.result() for future in [slow, *quick]] == [1.0, *(1 + (n + 0.1) for n in range(1, 6))]
    assert all(future.done() and future.exception() is None for future in order)
    assert len(started) == 2
    assert list(pool.as_completed([])) == []


def test_a_worker_imports_no_more_than_its_workplace_and_hears_no_interrupt(pool: Pool) -> None:
    first, second = (pool.submit("about", {}) for _ in range(2))
    about = first.result()
    assert about["process"] != second.result()["process"]
    assert not about["has_torch"]
    assert about["reads"] == ""
    assert about["blocks_interrupts"]


def test_events_come_in_order_and_before_the_result(pool: Pool) -> None:
    told: list[int] = []
    future = pool.submit("count", {"num": 50}, on_event=lambda content: told.append(content["number"]))
    silent = pool.submit("count", {"num": 2})
    assert (future.result(), silent.result()) == (50, 2)
    assert told == [*range(50)]


def test_errors_are_raised_where_the_result_is_asked_for(pool: Pool) -> None:
    failed, left, unknown = (
        pool.submit("fail", {"text": "it must do"}), pool.submit("leave", {}), pool.submit("fly", {})
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="it must do") as caught:
        failed.result()
    assert "In a worker process" in caught.value.__notes__[0]
    assert failed.exception() is caught.value
    with pytest.raises(ConfigurationError, match=r"called sys.exit\(0\)"):
        left.result()
    with pytest.raises(KeyError, match="fly"):
        unknown.result()
    assert pool.submit("add", {"numbers": []}).result() == 1.0, "its workers live"


def test_an_error_of_the_callback_is_the_jobs(pool: Pool) -> None:
    def refuse(content: Any) -> None:
        raise OSError(f"no room for {content['number']}")

    future, other = pool.submit("count", {"num": 3}, on_event=refuse), pool.submit("add", {"numbers": [1]})
    with pytest.raises(OSError, match="no room for 0"):
        future.result()
    assert other.result() == 2.0


def test_a_setup_that_is_refused_is_every_jobs_error() -> None:
    with Pool(TinyWorkplace, {"refuses": True}, num_workers=1) as pool:
        futures = [pool.submit("add", {"numbers": [1]}) for _ in range(2)]
        for future in futures:
            with pytest.raises(ConfigurationError, match="a setup must do"):
                future.result()


def test_waiting_has_an_end(pool: Pool) -> None:
    future = pool.submit("add", {"numbers": [1], "seconds": 1.0})
    assert pool.wait([future], timeout=0.01) == ([], [future])
    with pytest.raises(TimeoutError, match="add is not done"):
        future.result(timeout=0)
    assert future.result(timeout=20) == 2.0
    assert pool.wait([future], timeout=0) == ([future], [])


def test_what_no_worker_has_can_be_cancelled(pool: Pool) -> None:
    futures = [pool.submit("add", {"numbers": [number], "seconds": 0.2}) for number in range(4)]
    assert [future.cancel() for future in futures] == [False, False, True, True]
    assert futures[3].cancel(), "still"
    assert [future.cancelled() for future in futures] == [False, False, True, True]
    for future in futures[2:]:
        assert future.done()
        with pytest.raises(CancelledError):
            future.result()
    assert [future.result() for future in futures[:2]] == [1.0, 2.0]


def test_no_more_jobs_after_the_shutdown(started: list[Any]) -> None:
    pool = Pool(TinyWorkplace, {}, num_workers=2)
    futures = [pool.submit("add", {"numbers": [number]}) for number in range(5)]
    pool.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="no jobs after its shutdown"):
        pool.submit("add", {"numbers": []})
    assert [future.result() for future in futures] == [0.0, 1.0, 2.0, 3.0, 4.0]
    pool.shutdown()
    assert [process.returncode for process in started] == [0, 0]
    pool.shutdown()
    Pool(TinyWorkplace, {}, num_workers=2).shutdown()  # never started
    assert len(started) == 2


def test_a_shutdown_that_cancels_lets_the_workers_save(tmp_path: Path, started: list[Any]) -> None:
    paths = [tmp_path / name for name in "abc"]
    told: list[str] = []
    with Pool(TinyWorkplace, {}, num_workers=2) as pool:
        futures = [pool.submit("save", {"path": str(path)}, on_event=told.append) for path in paths]
        while len(told) < 2:
            pool.wait(futures, timeout=0.1)
        pool.shutdown(cancel_futures=True)
        assert all(future.cancelled() for future in futures)
    assert [path.exists() for path in paths] == [True, True, False]
    assert [process.returncode for process in started] == [0, 0]


def test_workers_of_a_process_that_ignores_ctrl_c_are_stopped_all_the_same(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what is in the background
    try:
        with Pool(TinyWorkplace, {}, num_workers=1) as pool:
            told: list[str] = []
            future = pool.submit("save", {"path": str(tmp_path / "saved")}, on_event=told.append)
            while not told:
                pool.wait([future], timeout=0.1)
            pool.shutdown(wait=False, cancel_futures=True)
            assert pool.wait([future], timeout=20)[0], "it goes on"
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(("error", "is_saved"), [(OSError, True), (KeyboardInterrupt, False)])
def test_leaving_with_an_error_saves_and_an_interrupt_does_not_wait(
    tmp_path: Path, started: list[Any], error: type[BaseException], is_saved: bool
) -> None:
    told: list[str] = []
    with pytest.raises(error), Pool(TinyWorkplace, {}, num_workers=1) as pool:  # noqa: PT012
        future = pool.submit("save", {"path": str(tmp_path / "saved")}, on_event=told.append)
        while not told:
            pool.wait([future], timeout=0.1)
        raise error
    assert future.cancelled()
    assert (tmp_path / "saved").exists() is is_saved
    assert started[0].returncode == (0 if is_saved else -signal.SIGKILL)


def test_what_a_killed_worker_had_is_an_error_in_one_line(started: list[Any]) -> None:
    with Pool(TinyWorkplace, {}, num_workers=2) as pool:
        lost = pool.submit("die", {"number": signal.SIGKILL}, name="network-7")
        others = [pool.submit("add", {"numbers": [number]}) for number in range(4)]
        with pytest.raises(
            UserError, match=r"that of network-7 was ended by SIGKILL .*same command"
        ) as caught:
            lost.result()
        assert "\n" not in str(caught.value)
        assert [future.result() for future in others] == [0.0, 1.0, 2.0, 3.0]
    assert sorted(process.returncode for process in started) == [-9, 0]


def test_the_others_take_over_what_a_killed_worker_had(tmp_path: Path, started: list[Any]) -> None:
    with Pool(TinyWorkplace, {}, num_workers=2, num_ahead=2, hands_over=True) as pool:
        dies = pool.submit("die", {"number": signal.SIGKILL, "unless": str(tmp_path / "once")})
        others = [pool.submit("add", {"numbers": [number]}) for number in range(6)]
        pool.shutdown(wait=False)
        assert [future.result() for future in others] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        assert dies.result() == "alive"
    assert sorted(process.returncode for process in started) == [-9, 0]


def test_one_that_is_idle_stays_to_take_over(tmp_path: Path) -> None:
    with Pool(TinyWorkplace, {}, num_workers=2, hands_over=True) as pool:
        job = {"number": signal.SIGKILL, "unless": str(tmp_path / "once"), "seconds": 0.5}
        dies, idle = pool.submit("die", job), pool.submit("add", {"numbers": [1]})
        pool.shutdown(wait=False)
        assert idle.result() == 1.0
        assert dies.result() == "alive"


def test_without_any_worker_nothing_is_waited_for_in_vain() -> None:
    with Pool(TinyWorkplace, {}, num_workers=2, hands_over=True) as pool:
        futures = [pool.submit("die", {"number": signal.SIGKILL}, name="scores") for _ in range(3)]
        for future in futures:
            with pytest.raises(UserError, match="that of scores was ended by SIGKILL"):
                future.result()
        assert pool.submit("add", {"numbers": [1]}).result() == 1.0, "new ones start with the next job"


@pytest.mark.parametrize("hands_over", [False, True])
def test_a_stopped_worker_is_told_of_and_done_without(
    started: list[Any], monkeypatch: pytest.MonkeyPatch, hands_over: bool
) -> None:
    monkeypatch.setattr(pools, "MOST_STOPPED_SECONDS", 0.6)
    notes: list[str] = []
    with Pool(TinyWorkplace, {}, 2, hands_over=hands_over, note=notes.append) as pool:
        futures = [pool.submit("add", {"numbers": [number]}, name=f"job-{number}") for number in range(3)]
        started[0].send_signal(signal.SIGSTOP)
        assert [future.result() for future in futures[1:]] == [1.0, 2.0]
        if hands_over:
            assert futures[0].result() == 0.0
        else:
            with pytest.raises(UserError, match=r"that of job-0 \(process \d+\) was stopped for 1 s"):
                futures[0].result()
    assert len(notes) == 1
    assert f"the worker of job-0 (process {started[0].pid}) is stopped" in notes[0]
    assert f"kill -CONT {started[0].pid}" in notes[0]
    assert [process.returncode for process in started] == [-9, 0]


def test_a_stopped_worker_that_goes_on_has_lost_nothing(pool: Pool, started: list[Any]) -> None:
    futures = [pool.submit("add", {"numbers": [number]}) for number in range(2)]
    started[0].send_signal(signal.SIGSTOP)
    assert futures[1].result() == 2.0
    assert pool.wait([futures[0]], timeout=0.7)[0] == []
    started[0].send_signal(signal.SIGCONT)
    assert futures[0].result() == 1.0


def test_a_shutdown_that_cancels_wakes_a_stopped_worker(tmp_path: Path, started: list[Any]) -> None:
    told: list[str] = []
    with Pool(TinyWorkplace, {}, num_workers=1) as pool:
        future = pool.submit("save", {"path": str(tmp_path / "saved")}, on_event=told.append)
        while not told:
            pool.wait([future], timeout=0.1)
        started[0].send_signal(signal.SIGSTOP)
        pool.shutdown(cancel_futures=True)
    assert (tmp_path / "saved").exists()
    assert started[0].returncode == 0


def test_a_second_interrupt_ends_them_as_they_are(tmp_path: Path, started: list[Any]) -> None:
    pool = Pool(TinyWorkplace, {}, num_workers=1)
    future = pool.submit("add", {"numbers": [1], "seconds": 30.0})
    with contextlib.suppress(TimeoutError):
        future.result(timeout=0.3)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    pool._move = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        pool.shutdown(cancel_futures=True)
    assert future.cancelled()
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_end_with_their_parent() -> None:
    code = (
        "from tiny_workplace import TinyWorkplace as T; from onepath.workers import Pool; import time\n"
        "pool = Pool(T, {}, 2); print([pool.submit('about', {}).result()['process'] for _ in range(2)], flush=True)\n"
        "pool.submit('add', {'numbers': [], 'seconds': 60}).result()"
    )
    path = os.pathsep.join(folder for folder in sys.path if folder)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    ) as parent:
        assert parent.stdout is not None
        numbers = {int(number) for number in parent.stdout.readline().strip(b"[]\n").split(b",")}
        parent.kill()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{number}").exists() for number in numbers):
        if all("\nState:\tZ" in _status(number) for number in numbers):
            break
        assert time.monotonic() < end, "they live on"
        time.sleep(0.05)


def _status(number: int) -> str:
    try:
        return Path(f"/proc/{number}/status").read_text()
    except FileNotFoundError:
        return "\nState:\tZ"
