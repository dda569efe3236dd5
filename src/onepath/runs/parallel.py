"""Several networks trained at the same time, each in a process of its own; this one alone writes the store."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from onepath.errors import UserError
from onepath.runs.opened import Run
from onepath.runs.progress import Progress
from onepath.runs.standalone import PlannedNetwork, TrainedNetwork
from onepath.runs.training_watch import point_detail, store_point
from onepath.runs.workspace import StageClock
from onepath.workers.messages import decode_error, encode
from onepath.workers.processes import MOST_STOPPED_SECONDS, WorkerProcess

OnTrained = Callable[[PlannedNetwork, TrainedNetwork], None]
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 0.5


def train_at_once(
    run: Run,
    clock: StageClock,
    networks: Sequence[PlannedNetwork],
    *,
    num_planned: int,
    num_workers: int,
    on_trained: OnTrained,
) -> None:
    """Train networks in worker processes; what each becomes depends neither on the others nor on who ends first.

    After Ctrl-C, SIGTERM, SIGHUP or an error every worker saves its checkpoint and leaves, and only then is the
    exception raised; a second signal ends them as they are. Should this process be killed, its workers leave at once,
    and whoever opens the run directory next waits until they have. A worker that is stopped (SIGSTOP) is told of; if
    nobody continues it within a minute, it is ended, and the others save.

    Args:
        run: with data that a worker can load by its configuration.
        clock: of the stage.
        networks: to train.
        num_planned: how many networks the stage trains in all, for the progress.
        num_workers: at most this many at a time; each gets this share of the cores, however few networks are left.
        on_trained: stores a result.

    Raises:
        UserError: a worker was ended or stopped from outside; or what a worker raised, as if it had been raised here.
        KeyboardInterrupt: after the first Ctrl-C, when everything is saved.
    """
    from onepath.train.interruption import DeferredInterrupt
    from onepath.train.threads import shared_threads

    setup = encode(
        "setup",
        path=str(run.path.absolute()),
        config=run.config.as_dict(),
        facts=run.facts,
        digests=run.digests,
        threads=shared_threads(num_workers),
        checkpoint_seconds=run.checkpoint_seconds,
    )
    first = min(num_workers, len(networks))
    title = f"retraining {num_planned} networks ({num_workers} at a time)"
    bar = _JointBar(run.progress, title, num_planned, num_planned - len(networks), first)
    with DeferredInterrupt() as interrupt, run.directory.lock_for_workers() as lock:
        team = _Team(run, clock, bar, networks, on_trained)
        try:
            # A bar without steps: the processes load their modules and the data first.
            run.progress.begin(f"starting {first} processes", 1)
            team.start(first, setup, lock.descriptor)
            team.work(lambda: interrupt.requested)
        finally:
            team.kill()
    if team.error is not None:
        raise team.error
    interrupt.act()


class _Team:
    """The workers of one stage and what is left to do."""

    def __init__(
        self,
        run: Run,
        clock: StageClock,
        bar: _JointBar,
        networks: Sequence[PlannedNetwork],
        on_trained: OnTrained,
    ) -> None:
        self.error: BaseException | None = None
        self._run = run
        self._clock = clock
        self._bar = bar
        self._waiting = deque(networks)
        self._on_trained = on_trained
        self._workers: list[_Worker] = []
        self._is_stopping = False
        self._looked = time.monotonic()

    def start(self, num: int, setup: bytes, lock: int) -> None:
        for _ in range(num):
            self._workers.append(_Worker(lock))
            self._workers[-1].send(setup)
            self._workers[-1].train(self._waiting.popleft())

    def work(self, is_interrupted: Callable[[], bool]) -> None:
        """Until every worker has left: all is trained, or after an error or an interruption all is saved."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            while selector.get_map():
                try:
                    if is_interrupted():
                        self._stop()
                    for key, _ in selector.select(_POLL_SECONDS):
                        self._hear(key.data, selector)
                    self._look_for_stopped()
                    self._clock.tick()
                except BaseException as error:
                    if self._is_stopping and not isinstance(error, Exception):
                        raise
                    self._fail(error)

    def kill(self) -> None:
        """End the workers that are left, as they are."""
        for worker in self._workers:
            worker.kill()

    def _look_for_stopped(self) -> None:
        """Tell of workers that are stopped, and end those that stay so; when all are to leave, let them save."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for worker in self._workers:
            seconds = worker.seconds_stopped()
            if seconds is None or worker.network is None:
                continue
            if self._is_stopping:
                worker.go_on()
            elif seconds > MOST_STOPPED_SECONDS:
                worker.end_stopped()  # heard of as its death
            elif not worker.is_told:
                worker.is_told = True
                self._run.progress.note(
                    f"the worker of {worker.network.name} (process {worker.number}) is stopped: continue it within "
                    f"{MOST_STOPPED_SECONDS:.0f} s (kill -CONT {worker.number}), or the run ends"
                )

    def _stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._waiting.clear()
            for worker in self._workers:
                worker.send(encode("stop"))

    def _fail(self, error: BaseException) -> None:
        """The first error counts: those that follow are often of the same cause."""
        if self.error is None:
            self.error = error
        self._stop()

    def _hear(self, worker: _Worker, selector: selectors.BaseSelector) -> None:
        messages = worker.receive()
        if messages is None:
            selector.unregister(worker.answers)
            worker.wait()
            if worker.network is not None and not self._is_stopping:
                self._fail(worker.death(worker.network.name))
            return
        for message in messages:
            try:
                self._take(worker, message)
            except Exception as error:  # noqa: BLE001  kept until the others have saved
                self._fail(error)

    def _take(self, worker: _Worker, message: dict[str, Any]) -> None:
        from onepath.train import TrainingPoint

        network, kind = worker.network, message["kind"]
        if network is None:
            # Asked to stop, it had just trained its last network, or failed.
            return
        if kind == "update":
            self._bar.advance(network.name, message["done"], message["num_updates"])
        elif kind == "point":
            point = TrainingPoint(*message["values"])
            self._bar.detail = f"{network.name}: {point_detail(self._run, point)}"
            store_point(self._run, network.name, point)
        elif kind == "trained":
            worker.train(self._waiting.popleft() if self._waiting else None)
            self._bar.trained(network.name)
            curve = [TrainingPoint(*values) for values in message["curve"]]
            self._on_trained(network, TrainedNetwork(message["validation"], curve, message["weights"]))
        else:
            worker.train(None)
            error = decode_error(message) if kind == "error" else None
            # An interruption while modules are being loaded can look like an error of theirs.
            if error is not None and (isinstance(error, UserError) or not self._is_stopping):
                self._fail(error)


class _Worker(WorkerProcess):
    """A process that trains.

    Attributes:
        network: what it trains; None when it has been sent away.
        is_told: whether it has been said that it is stopped.
    """

    def __init__(self, lock: int) -> None:
        super().__init__([lock])
        self.network: PlannedNetwork | None = None
        self.is_told = False

    def train(self, network: PlannedNetwork | None) -> None:
        """Give it a network, or send it away."""
        self.network = network
        if network is not None:
            self.send(encode("train", network=asdict(network)))
        else:
            self.send_away()


class _JointBar:
    """One bar for all trainings: their updates together.

    It begins when every worker of the first ones has been heard of, so that what earlier processes did is not taken
    for speed.

    Attributes:
        detail: what to show beside it.
    """

    def __init__(
        self, progress: Progress, title: str, num_planned: int, num_trained: int, num_first: int
    ) -> None:
        self.detail = ""
        self._progress = progress
        self._title = title
        self._num_planned = num_planned
        self._num_trained = num_trained
        self._num_awaited = num_trained + num_first
        self._done: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._has_begun = False

    def advance(self, name: str, done: int, num_updates: int) -> None:
        """A training has made `done` of `num_updates` updates, which are as many for each."""
        self._before.setdefault(name, done - 1)
        self._done[name] = done
        if not self._has_begun and self._num_trained + len(self._done) >= self._num_awaited:
            self._has_begun = True
            before = self._num_trained * num_updates + sum(self._before[name] for name in self._done)
            self._progress.finish()
            self._progress.begin(self._title, self._num_planned * num_updates, before)
        if self._has_begun:
            self._progress.advance(self._num_trained * num_updates + sum(self._done.values()), self.detail)

    def trained(self, name: str) -> None:
        """A training has ended."""
        self._done.pop(name, None)
        self._num_trained += 1
