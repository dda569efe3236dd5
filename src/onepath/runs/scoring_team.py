"""Scores without training, computed by several processes: small networks leave one process's threads idle."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onepath.estimate import architecture_of
from onepath.workers.messages import decode_error, encode
from onepath.workers.processes import MOST_STOPPED_SECONDS, WorkerProcess

if TYPE_CHECKING:
    from onepath.estimate import Estimate
    from onepath.runs.definition import RunDefinition
    from onepath.search import Proposal
    from onepath.space import Architecture

_LOOK_SECONDS = 0.5
_MOST_SENT = 2  # to each at a time, so that none waits for this process


class ScoringTeam:
    """An estimator that scores by processes of its own; what each network gets does not depend on their number.

    The processes start with the first architecture that is asked for, and end with `close` or with this one. One that
    is ended from outside, or stopped for a minute, is done without.

    Args:
        materials: their configuration and facts say what space it is; no data are loaded.
        name: of a score that reads no data.
        shape: (B, C, H, W) of the batch.
        seed: of the score.
        num_workers: processes, each of one thread.
    """

    def __init__(
        self, materials: RunDefinition, name: str, shape: Sequence[int], seed: int, num_workers: int
    ) -> None:
        self._num_workers, self._num_examples = num_workers, shape[0]
        self._setup = encode(
            "setup",
            path=str(materials.path.absolute()),
            config=materials.config.as_dict(),
            facts=materials.facts,
            threads=1,
            score={"name": name, "shape": list(shape), "seed": seed, "device": materials.config.train_on},
        )
        self._workers: list[WorkerProcess] = []
        self._sent: dict[int, list[str]] = {}  # descriptor -> architectures that it has not answered
        self._waiting: deque[str] = deque()
        self._known: set[str] = set()
        self._found: dict[str, Estimate] = {}
        self._selector = selectors.DefaultSelector()
        self._looked = time.monotonic()

    def anticipate(self, asked: Sequence[Proposal | Architecture]) -> None:
        """Begin to score what will be asked for."""
        texts = [str(architecture_of(each)) for each in asked]
        new = [text for text in texts if text not in self._known]
        self._known.update(new)
        self._waiting.extend(new)
        if new and not self._workers:
            self._start()
        self._feed()

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """The score as `ScoreEstimator.estimate` gives it, as soon as it is there.

        Raises:
            UserError: all processes were ended from outside; or what one raised, as if it had been raised here.
        """
        self.anticipate([asked])
        text = str(architecture_of(asked))
        while text not in self._found:
            for key, _ in self._selector.select(_LOOK_SECONDS):
                self._hear(key.data)
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                self._end_stopped()
        return self._found[text]

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._selector.close()

    def _end_stopped(self) -> None:
        self._looked = time.monotonic()
        for worker in self._workers:
            seconds = worker.seconds_stopped()
            if seconds is not None and seconds > MOST_STOPPED_SECONDS:
                worker.end_stopped()  # heard of as its death

    def _start(self) -> None:
        for _ in range(self._num_workers):
            worker = WorkerProcess()
            self._workers.append(worker)
            self._sent[worker.answers] = []
            self._selector.register(worker.answers, selectors.EVENT_READ, worker)
            worker.send(self._setup)

    def _feed(self) -> None:
        """Give out what waits, one to each before a second to any."""
        for most in range(1, _MOST_SENT + 1):
            for worker in self._workers:
                if self._waiting and len(self._sent[worker.answers]) < most:
                    self._sent[worker.answers].append(self._waiting.popleft())
                    worker.send(encode("score", architecture=self._sent[worker.answers][-1]))

    def _hear(self, worker: WorkerProcess) -> None:
        from onepath.estimate import Estimate

        messages = worker.receive()
        if messages is None:
            self._lose(worker)
            return
        for message in messages:
            if message["kind"] == "error":
                raise decode_error(message)
            self._sent[worker.answers].remove(message["architecture"])
            self._found[message["architecture"]] = Estimate(
                message["value"], 0.0, message["seconds"], self._num_examples
            )
        self._feed()

    def _lose(self, worker: WorkerProcess) -> None:
        """The others take over what a process had that has ended; it is an error if there are none."""
        worker.wait()
        self._selector.unregister(worker.answers)
        self._workers.remove(worker)
        self._waiting.extendleft(reversed(self._sent.pop(worker.answers)))
        worker.kill()
        if not self._workers:
            raise worker.death("scores")
        self._feed()
