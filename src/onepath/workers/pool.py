"""The pool for all work that is done in processes, shaped like `concurrent.futures.Executor`."""

from __future__ import annotations

import itertools
import math
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self

from onepath.errors import UserError
from onepath.workers.messages import decode_error, encode
from onepath.workers.processes import WorkerProcess
from onepath.workers.workplace import Tell, Workplace

MOST_STOPPED_SECONDS = 60.0
"""Seconds for which a worker may be stopped by a signal before the pool goes on without it."""
_LOOK_SECONDS = 0.5


class Future:
    """A job of a `Pool`, shaped like `concurrent.futures.Future`; `Pool.submit` makes it.

    A pool has no thread of its own: whoever waits for one of its futures makes all of its jobs proceed.

    Attributes:
        name: name of the job in messages.
    """

    def __init__(self, pool: Pool, number: int, line: bytes, name: str, on_event: Tell | None) -> None:
        self.name = name
        self._pool, self._number, self._line, self._on_event = pool, number, line, on_event
        self._is_done = False
        self._value: Any = None
        self._error: Exception | None = None

    def done(self) -> bool:
        """Whether the job has a result or an error, or is cancelled."""
        return self._is_done

    def cancelled(self) -> bool:
        """Whether the job was cancelled before it had ended."""
        return isinstance(self._error, CancelledError)

    def cancel(self) -> bool:
        """Cancel the job, unless a worker has it already; return whether it is cancelled."""
        if self in self._pool._waiting:
            self._pool._waiting.remove(self)
            self._end(error=CancelledError())
        return self.cancelled()

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Return what the job raised, or None if it has a result; wait as `result` does.

        Args:
            timeout: largest number of seconds to wait; None waits without end.

        Raises:
            CancelledError: the job was cancelled.
            TimeoutError: the job is not done in time.
        """
        self._pool.wait([self], timeout)
        if not self._is_done:
            raise TimeoutError(f"{self.name} is not done after {timeout} s")
        if self.cancelled():
            raise CancelledError
        return self._error

    def result(self, timeout: float | None = None) -> Any:
        """Return what the job returned: plain JSON values.

        Args:
            timeout: largest number of seconds to wait; None waits without end.

        Raises:
            CancelledError: the job was cancelled.
            TimeoutError: the job is not done in time.
            Exception: what the job raised in its worker, or what the callback of its events raised here; a `UserError`
                if its worker was ended or stopped from outside.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._value

    def _end(self, value: Any = None, error: Exception | None = None) -> None:
        """End the job with a result or an error; only the first end counts."""
        if not self._is_done:
            self._is_done, self._value, self._error = True, value, error

    def _hear(self, content: Any) -> None:
        if self._on_event is not None and not self._is_done:
            try:
                self._on_event(content)
            except Exception as error:  # noqa: BLE001  raised where the result is asked for
                self._end(error=error)


class Pool:
    """Processes that work on jobs, shaped like `concurrent.futures.Executor`; for a `with`, and for one thread.

    The processes start with the first job. If an error leaves the `with`, the workers first save what they are working
    on, as in `shutdown(cancel_futures=True)`; a KeyboardInterrupt ends them without saving. If this process is killed,
    they leave at once. The result of a job depends neither on the other jobs nor on the worker that does it.

    If a worker dies, or is stopped (SIGSTOP) for more than a minute, the pool goes on without it: its jobs end with an
    error that says so, or other workers take them over.

    Args:
        workplace: class of what the workers can do, at the top of a module that can be imported.
        setup: argument of the workplace: plain JSON values.
        num_workers: number of processes.
        num_ahead: number of jobs that a worker is given at a time; with 2, no worker waits for this process.
        hands_over: whether the other workers take over the jobs of a lost worker.
        kept_open: file descriptors that the workers inherit.
        note: called with a line of text about a worker that is stopped.

    Example:
        >>> with Pool(Adding, {"start": 1}, num_workers=2) as pool:
        ...     futures = [pool.submit("add", {"numbers": [n, n]}) for n in range(4)]
        ...     print([future.result() for future in futures])
        [1, 3, 5, 7]
    """

    def __init__(
        self,
        workplace: type[Workplace],
        setup: Mapping[str, Any],
        num_workers: int,
        *,
        num_ahead: int = 1,
        hands_over: bool = False,
        kept_open: Sequence[int] = (),
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._workplace, self._setup = workplace, encode("setup", values=setup)
        self._num_workers, self._num_ahead, self._hands_over = num_workers, num_ahead, hands_over
        self._kept_open, self._note = kept_open, note
        self._workers: dict[WorkerProcess, dict[int, Future]] = {}  # the jobs that each has, by number
        self._waiting: deque[Future] = deque()
        self._numbers = itertools.count()
        self._is_closed = self._is_stopping = False
        self._looked = time.monotonic()
        self._noted: set[WorkerProcess] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            self.shutdown(cancel_futures=error is not None)
        else:
            self.kill_workers()

    def submit(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        *,
        name: str | None = None,
        on_event: Tell | None = None,
    ) -> Future:
        """Give the pool a job, and return its future.

        Args:
            kind: one of the workplace's kinds.
            arguments: arguments of that kind, by name: plain JSON values.
            name: name of the job in messages; None takes its kind.
            on_event: called with everything that the job tells before its end, in order, while this process waits for a
                future of the pool. An exception that it raises becomes the job's error.

        Raises:
            RuntimeError: the pool has been shut down.
        """
        if self._is_closed:
            raise RuntimeError("a pool takes no jobs after its shutdown")
        number = next(self._numbers)
        line = encode("job", number=number, kind=kind, arguments=arguments)
        future = Future(self, number, line, name or kind, on_event)
        if not self._workers:
            self._start()
        self._waiting.append(future)
        self._feed()
        return future

    def wait(
        self, futures: Iterable[Future], timeout: float | None = None
    ) -> tuple[list[Future], list[Future]]:
        """Let all jobs proceed until one of these futures is done; return those that are done, and the others.

        Args:
            futures: futures of this pool.
            timeout: largest number of seconds to wait, after which none may be done; None waits without end.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        futures = list(futures)
        while True:
            done = [future for future in futures if future.done()]
            left = end - time.monotonic()
            if done or not futures or left <= 0:
                return done, [future for future in futures if not future.done()]
            self._move(min(left, _LOOK_SECONDS))

    def as_completed(self, futures: Iterable[Future]) -> Iterator[Future]:
        """Yield these futures, each as soon as it is done."""
        left = list(dict.fromkeys(futures))
        while left:
            done, left = self.wait(left)
            yield from done

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """Take no more jobs; every worker leaves as soon as there is nothing left for it to do.

        Args:
            wait: whether to wait until all jobs are done and all workers have left; a KeyboardInterrupt meanwhile ends
                the workers without saving.
            cancel_futures: whether to cancel the jobs that no worker has, and ask the workers to save and leave. A job
                that still ends has its result, a job that fails with a `UserError` has that error, and the others are
                cancelled.
        """
        self._is_closed = True
        if cancel_futures and not self._is_stopping:
            self._is_stopping = True
            self._give_up(self._waiting)
            self._waiting.clear()
            for worker, has in self._workers.items():
                if has:
                    worker.send(encode("stop"))
        self._feed()
        try:
            while wait and self._workers:
                self._move(_LOOK_SECONDS)
        except BaseException:
            self.kill_workers()
            raise

    def kill_workers(self) -> None:
        """End the processes at once, without saving; jobs that are not done are cancelled."""
        self._is_closed = self._is_stopping = True
        for worker, has in self._workers.items():
            worker.end()
            self._give_up(has.values())
        self._give_up(self._waiting)
        self._workers.clear()
        self._waiting.clear()

    def _start(self) -> None:
        for _ in range(self._num_workers):
            worker = WorkerProcess(self._workplace, self._kept_open)
            self._workers[worker] = {}
            worker.send(self._setup)

    def _give_up(self, futures: Iterable[Future]) -> None:
        for future in futures:
            future._end(error=CancelledError())

    def _feed(self) -> None:
        """Give out waiting jobs, one to each worker before a second to any; let idle workers leave if none follow."""
        for most in range(1, self._num_ahead + 1):
            for worker, has in self._workers.items():
                if self._waiting and len(has) < most:
                    future = self._waiting.popleft()
                    has[future._number] = future
                    worker.send(future._line)
        # An idle worker may still have to take over the jobs of a lost one.
        is_needed = self._hands_over and not self._is_stopping and any(self._workers.values())
        if self._is_closed and not is_needed:
            for worker, has in self._workers.items():
                if not has:
                    worker.send_away()

    def _move(self, seconds: float) -> None:
        """Wait for messages for at most this many seconds, and handle the first ones that come."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            for key, _ in selector.select(seconds):
                self._hear(key.data)
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            for worker, has in self._workers.items():
                self._look(worker, has)

    def _look(self, worker: WorkerProcess, has: Mapping[int, Future]) -> None:
        """Note that a worker is stopped, and end it if it stays so; if all must leave, continue it so that it saves."""
        seconds = worker.seconds_stopped()
        if seconds is None:
            return
        if self._is_stopping:
            worker.go_on()
        elif seconds > MOST_STOPPED_SECONDS:
            worker.end_stopped(MOST_STOPPED_SECONDS)  # the end of its messages then tells of its death
        elif self._note is not None and has and worker not in self._noted:
            self._noted.add(worker)
            name, or_else = (
                next(iter(has.values())).name,
                "the others go on" if self._hands_over else "the run ends",
            )
            self._note(
                f"the worker of {name} (process {worker.number}) is stopped: continue it within "
                f"{MOST_STOPPED_SECONDS:.0f} s (kill -CONT {worker.number}), or {or_else}"
            )

    def _hear(self, worker: WorkerProcess) -> None:
        messages = worker.receive()
        if messages is None:
            self._lose(worker)
            return
        for message in messages:
            has, number = self._workers[worker], message["number"]
            if message["message"] == "event":
                has[number]._hear(message["content"])
            elif message["message"] == "result":
                has.pop(number)._end(message["value"])
            else:
                error = decode_error(message)
                # An interruption during an import can look like an error of the imported module.
                is_real = isinstance(error, UserError) or not self._is_stopping
                has.pop(number)._end(error=error if is_real else CancelledError())
        self._feed()

    def _lose(self, worker: WorkerProcess) -> None:
        """Handle a worker that has left or died; without any worker left, waiting jobs end too."""
        worker.end(is_leaving=True)
        left = [future for future in self._workers.pop(worker).values() if not future.done()]
        if self._hands_over and self._workers and not self._is_stopping:
            self._waiting.extendleft(reversed(left))
        elif not self._workers:
            left += self._waiting
            self._waiting.clear()
        if self._is_stopping:
            self._give_up(left)
        elif not self._hands_over or not self._workers:
            for future in left:
                future._end(error=worker.death(left[0].name))
        self._feed()
