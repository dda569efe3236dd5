"""One pool for everything that is done in processes, shaped like `concurrent.futures.Executor`."""

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
"""How long a worker may be stopped by a signal before the pool goes on without it."""
_LOOK_SECONDS = 0.5


class Future:
    """A job of a `Pool`, shaped like `concurrent.futures.Future`; `Pool.submit` makes it.

    A pool has no thread: whoever waits for one of its futures moves all of them on.

    Attributes:
        name: what messages call the job.
    """

    def __init__(self, pool: Pool, number: int, line: bytes, name: str, on_event: Tell | None) -> None:
        self.name = name
        self._pool, self._number, self._line, self._on_event = pool, number, line, on_event
        self._is_done = False
        self._value: Any = None
        self._error: Exception | None = None

    def done(self) -> bool:
        """Whether it has a result or an error, or is cancelled."""
        return self._is_done

    def cancelled(self) -> bool:
        """Whether it was given up before it had ended."""
        return isinstance(self._error, CancelledError)

    def cancel(self) -> bool:
        """Give it up, unless a worker has it already; whether it is cancelled."""
        if self in self._pool._waiting:
            self._pool._waiting.remove(self)
            self._end(error=CancelledError())
        return self.cancelled()

    def exception(self, timeout: float | None = None) -> Exception | None:
        """What the job raised, or None for a result; waits as `result` does and raises the same."""
        self._pool.wait([self], timeout)
        if not self._is_done:
            raise TimeoutError(f"{self.name} is not done after {timeout} s")
        if self.cancelled():
            raise CancelledError
        return self._error

    def result(self, timeout: float | None = None) -> Any:
        """What the job returned: plain JSON values.

        Args:
            timeout: seconds to wait at most; None for no end.

        Raises:
            CancelledError: it was given up.
            TimeoutError: it is not done by then.
            Exception: what the job raised in its worker, or the callback of its events here; a `UserError` where its
                worker was ended or stopped from outside.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._value

    def _end(self, value: Any = None, error: Exception | None = None) -> None:
        """The first end counts."""
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

    They start with the first job. What leaves the `with` with an error lets them save what they have in hand, as
    `shutdown(cancel_futures=True)` does; a KeyboardInterrupt ends them as they are. Should this process be killed, they
    leave at once. What a job gives depends neither on the others nor on who works on it.

    A worker that dies, or is stopped (SIGSTOP) for more than a minute, is done without: what it had ends with a line
    that says so, or is taken over by the others.

    Args:
        workplace: what the workers can do; a class at the top of a module that can be imported.
        setup: its argument: plain JSON values.
        num_workers: processes.
        num_ahead: jobs that a worker is given at a time; with 2, none waits for this process.
        hands_over: whether the others take over what a lost worker had.
        kept_open: descriptors that the workers inherit.
        note: called with a line about a worker that is stopped.

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
        self._workers: dict[WorkerProcess, dict[int, Future]] = {}  # with what each has in hand, by number
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
        """Give the pool a job.

        Args:
            kind: one of the workplace's kinds.
            arguments: of that kind, by name: plain JSON values.
            name: what messages call the job; None takes its kind.
            on_event: called with what the job tells on its way, in order, by whoever waits for a future of the pool.
                What it raises is the job's error.

        Raises:
            RuntimeError: the pool takes no more jobs.
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
        """Move all jobs on until one of these is done: those that are, and those that are not.

        Args:
            futures: of this pool.
            timeout: seconds after which there may be none; None for no end.
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
        """These futures, each as soon as it is done."""
        left = list(dict.fromkeys(futures))
        while left:
            done, left = self.wait(left)
            yield from done

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """Take no more jobs; a worker leaves as soon as there is nothing more for it to do.

        Args:
            wait: until all jobs are done and all workers have left; a KeyboardInterrupt meanwhile ends them as they
                are.
            cancel_futures: whether jobs that no worker has are given up, and workers asked to save and leave. A job
                that still ends has its result, and one that fails as a user's mistake its error; others are cancelled.
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
        """End the processes as they are; what is not done is cancelled."""
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
        """Give out what waits, one to each before a second to any; when no more will come, let the idle ones leave."""
        for most in range(1, self._num_ahead + 1):
            for worker, has in self._workers.items():
                if self._waiting and len(has) < most:
                    future = self._waiting.popleft()
                    has[future._number] = future
                    worker.send(future._line)
        # One that is idle may still have to take over.
        is_needed = self._hands_over and not self._is_stopping and any(self._workers.values())
        if self._is_closed and not is_needed:
            for worker, has in self._workers.items():
                if not has:
                    worker.send_away()

    def _move(self, seconds: float) -> None:
        """Hear what comes within this time, which ends with the first messages."""
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
        """Tell of a worker that is stopped, and end one that stays so; where all are to leave, let it save."""
        seconds = worker.seconds_stopped()
        if seconds is None:
            return
        if self._is_stopping:
            worker.go_on()
        elif seconds > MOST_STOPPED_SECONDS:
            worker.end_stopped(MOST_STOPPED_SECONDS)  # heard of as its death
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
                # An interruption while modules are being loaded can look like an error of theirs.
                is_real = isinstance(error, UserError) or not self._is_stopping
                has.pop(number)._end(error=error if is_real else CancelledError())
        self._feed()

    def _lose(self, worker: WorkerProcess) -> None:
        """A worker has left, or died; without any, nothing that waits would ever be done."""
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
