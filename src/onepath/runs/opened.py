"""An open run: its directory and configuration, and what the stages share, made at first use."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from onepath.errors import ConfigurationError, RunDirectoryError, UserError
from onepath.own_code import blaming_own_code
from onepath.runs.config import RunConfig, differences, make_config
from onepath.runs.latencies import Latencies
from onepath.runs.definition import RunDefinition
from onepath.runs.methods import METHODS
from onepath.runs.progress import Progress, SilentProgress
from onepath.runs.resolving import (
    CODE,
    check_early,
    check_sources,
    confirmed,
    describe,
    resolve,
    same_code,
    sources,
)
from onepath.randomness import generator
from onepath.record import RunDirectory, StageRow, save_tensors
from onepath.record.directory import LATENCY_TABLE

if TYPE_CHECKING:
    from torch import Tensor

    from onepath.cost import Constraint
    from onepath.cost.table import Kind
    from onepath.latency import LatencyPredictor
    from onepath.search import FeasibleSet
    from onepath.search.feasible import Costs
    from onepath.space import Architecture

STAGES = ("train", "search", "retrain", "export", "report")
_CLOCK_SECONDS = 1.0
# How runs went on that began before there was a choice; the rule, where it is an option of the method.
_ONE_BY_ONE = {"workers": 1}
_OLD_RULE = {"rule": "weights"}


class Run(RunDefinition):
    """A run directory with everything needed to work on it; use inside a `with`.

    Args:
        config: the options asked for; None takes those of the directory, which must be a run directory.
        path: the run directory; None takes the configuration's.
        data: a task or arrays given in Python, in place of `config.data`.
        fresh: delete an old run in the directory first.
        progress: where to tell.
        checkpoint_seconds: time between two saves of an unfinished training.
        space: without `config`: the own space that the directory's configuration may confirm, see `confirmed`.
        device: likewise.
        reads_only: without `config`: the run is read alone, for which none of the user's own code is run.

    Attributes:
        is_announced: whether the data have been described.
        has_begun: whether the directory holds this run's configuration.
        others: the runs of further limits on latency; None before they are opened.

    Raises:
        RunDirectoryError: the directory is in use, cannot be written, or holds a run of another configuration or of
            other data.
        UserError: the data, the space or the limits are wrong; then a new directory is not left behind.
    """

    def __init__(
        self,
        config: RunConfig | None,
        path: Path | None = None,
        *,
        data: object = None,
        fresh: bool = False,
        progress: Progress | None = None,
        checkpoint_seconds: float = 20.0,
        space: str | None = None,
        device: str | None = None,
        reads_only: bool = False,
    ) -> None:
        self.progress: Progress = SilentProgress() if progress is None else progress
        self.checkpoint_seconds = checkpoint_seconds
        self.is_announced = False
        self.others: list[Run] | None = None
        if path is None:
            assert config is not None, "a run without a path needs a configuration"
            path = config.directory()
        path = path.expanduser()
        self.directory = RunDirectory(path, create=config is not None)
        try:
            # What takes long here is loading the data, and fitting a width.
            self.progress.begin("preparing", 1)
            stored = None if fresh else self.directory.read_config()
            facts = self.directory.facts() if stored is not None else {}
            if config is None:
                assert stored is not None, "RunDirectory has checked that there is a configuration"
                config = _stored_config(path, stored)
                config = config if reads_only else confirmed(config, path, space, device, facts)
            digests = self.directory.store.digests() if stored is not None else {}
            super().__init__(path, _asked(config, stored), facts, data, digests, reads_only=reads_only)
            self.has_begun = stored is not None
            with blaming_own_code():
                self._settle(stored, fresh)
            self.progress.finish()
        except BaseException:
            self.progress.finish()
            self.directory.discard_if_unused()
            self.directory.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the directory, and those of further limits."""
        for other in self.others or ():
            other.close()
        self.directory.close()

    def _settle(self, stored: Mapping[str, Any] | None, fresh: bool) -> None:
        """Fix the configuration and the facts about the data, or compare them with those of the directory."""
        if self.reads_only:
            return
        check_early(self.config, is_new=stored is None)
        facts = self.facts or describe(self.task)
        self.config, facts = resolve(self.config, facts)
        if stored is not None:
            self._compare(stored)
        else:
            # Find out now what would otherwise end the run after hours of training.
            if METHODS[self.config.method].sampler is not None and not self.blank.shares_weights:
                raise ConfigurationError(
                    f"method {self.config.method} needs a space with a supernet, but {self.config.space} has none; use "
                    "method zen, or another space"
                )
            if (check := METHODS[self.config.method].check) is not None:
                check(self.blank.space)
            self._check_network()
            self.check_limits(self.latencies.check_given())
            facts["space_fingerprint"] = self.blank.space.fingerprint
            facts["sources"] = sources(self.config)
            if fresh:
                # Not earlier: a mistake in the new options must not cost the old run.
                self.directory.clear(keep=self._kept_table())
            self.directory.begin(self.config.model_dump(mode="json"), facts)
            self.has_begun = True
        if not self.facts:
            self.facts = facts

    def _check_network(self) -> None:
        """Run the supernet dry, and draw the fresh weights that the winner and random networks are trained from."""
        from onepath.train.checks import check_fresh, check_supernet

        config = self.config
        parts = config.num_ghost_batches or 1
        size = min(config.batch_size or 2, self.task.num_examples("train")) // parts
        adds = METHODS[config.method].relaxed is not None or config.method == "one-shot"
        check_supernet(self.blank, self.task, adds=adds, batch=max(1, min(size, 2)))
        if config.retrain_from != "inherited":
            check_fresh(self.blank)

    def _compare(self, stored: Mapping[str, Any]) -> None:
        defaults = RunConfig().model_dump(mode="json")
        old = _ONE_BY_ONE | (_OLD_RULE if "rule" in METHODS[self.config.method].options else {})
        asked = self.config.model_dump(mode="json")
        moved = {
            name: asked[name]
            for name in CODE
            if stored.get(name) and asked[name] and same_code(name, stored[name], asked[name], self.facts)
        }
        changed = differences({**defaults, **old, **stored, **moved}, asked)
        if changed:
            raise RunDirectoryError(
                f"a run continues with the configuration it began with, but {self.directory.path} has another "
                f"({'; '.join(changed)}); give another --out, or start over with --fresh"
            )
        check_sources(self.config, self.facts)

    def _kept_table(self) -> tuple[str, ...]:
        """The table of the old run, if it took minutes to measure and fits the new one."""
        from onepath.latency import LatencyTable
        from onepath.latency.limit import check_predictor

        file = self.path / LATENCY_TABLE
        given = self.config.latency_table
        if given is not None and Path(given).resolve() == file.resolve():
            return (LATENCY_TABLE,)
        if given is not None or self.config.max_latency_ms is None or not file.is_file():
            return ()
        try:
            check_predictor(LatencyTable.load(file), self.blank, self.latencies.device, self.input_shape)
        except UserError:
            return ()
        return (LATENCY_TABLE,)

    @cached_property
    def latencies(self) -> Latencies:
        """Predicted and measured latencies."""
        return Latencies(self)

    def constraints(self, ms: float | None) -> list[Constraint]:
        """The limits on what is counted, and at most `ms` of predicted latency; None is no limit on latency."""
        from onepath.cost import MaxLayers, MaxMacs, MaxParams

        config = self.config
        found: list[Constraint] = []
        if config.max_macs is not None:
            found.append(MaxMacs(config.max_macs))
        if config.max_params is not None:
            found.append(MaxParams(config.max_params))
        if config.max_layers is not None:
            found.append(MaxLayers(config.max_layers))
        if ms is not None:
            found.append(self.latencies.limit(ms))
        return found

    @cached_property
    def counted(self) -> FeasibleSet:
        """The architectures that meet the limits on what is counted: MACs and parameters."""
        from onepath.methods import feasible_set

        return feasible_set(self.blank, self.input_shape, self.constraints(None))

    def legal_within(self, ms: float | None, predictor: LatencyPredictor | None = None) -> FeasibleSet:
        """The architectures that meet the limits on what is counted and are predicted to take at most `ms`.

        Args:
            ms: None is no limit on latency.
            predictor: None takes the run's own.
        """
        from onepath.methods import feasible_set
        from onepath.search import FeasibleSet

        if ms is None:
            return self.counted
        limit = self.latencies.limit(ms, predictor)
        latency = feasible_set(self.blank, self.input_shape, [limit])
        return FeasibleSet(self.blank.space, [*self.counted.limits, *latency.limits])

    def check_limits(self, predictor: LatencyPredictor | None) -> None:
        """That some architecture meets every limit, those on latency only as far as there is a predictor.

        Raises:
            InfeasibleError: none does; names the limit, the smallest and the median cost.
        """
        latencies = self.config.max_latency_ms if predictor is not None else None
        for ms in latencies or (None,):
            self.legal_within(ms, predictor).sample(1, generator(self.config.seed, "feasible"))

    @cached_property
    def feasible(self) -> FeasibleSet:
        """The architectures that meet every limit; a latency as predicted."""
        return self.legal_within(self.config.limit_ms)

    def cost(self, architecture: Architecture) -> tuple[int, int]:
        """MACs and parameters of the stand-alone network."""
        matrix = self.blank.space.matrix([architecture])
        return int(self.counters["macs"](matrix)[0]), int(self.counters["params"](matrix)[0])

    @cached_property
    def counters(self) -> dict[str, Costs]:
        """Of a matrix of architectures the "macs" and the "params".

        By table where the space has one, which is a thousand times faster than counting one by one.
        """
        from onepath.cost import counter
        from onepath.cost.architecture import name_uncounted

        def say(uncounted: Mapping[str, str]) -> None:
            self.progress.note(f"MACs leave out what has no counter: {name_uncounted(uncounted)}")

        found: dict[str, Costs] = {limit.unit: limit.costs for limit in self.counted.limits}
        kinds: tuple[Kind, ...] = ("macs", "params")
        for kind in kinds:
            if kind not in found:
                found[kind] = counter(self.blank, self.input_shape, kind, on_uncounted=say)[0]
        return found

    def _announce(self) -> None:
        """Say what the data are, once; not before there is work, so that a mistake ends with its one line alone."""
        if not self.is_announced:
            self.is_announced = True
            facts = self.facts
            sizes = ", ".join(f"{facts[split]:,} {split}" for split in ("train", "validation", "test"))
            self.progress.note(f"{facts['name']}: {sizes} examples of {facts['classes']} classes")
            for note in facts["notes"]:
                self.progress.note(note)

    def save_weights(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep the weights of a finished training, and their digest."""
        self.keep_digest(name, save_tensors(self.directory.weights_path(name), tensors))

    def keep_digest(self, name: str, digest: str) -> None:
        """Keep the digest of the weights of a finished training."""
        self.digests[name] = digest
        self.directory.store.put_digest(name, digest)

    def is_done(self, stage: str) -> bool:
        """Whether a stage has finished."""
        return self.directory.store.stage(stage).done

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[StageClock]:
        """Work on a stage: its time is counted, and at the end it is marked as done."""
        self._announce()
        clock = StageClock(self.directory, name)
        clock.save()
        try:
            with blaming_own_code():
                yield clock
        except BaseException:
            # The error that ended the stage matters more than one in noting its time.
            with contextlib.suppress(UserError):
                clock.save()
            raise
        finally:
            self.progress.finish()
        clock.save(done=True)


class StageClock:
    """The time and the record of the stage at work; the time adds up over processes.

    Attributes:
        record: what later stages need; kept by `save`.
    """

    def __init__(self, directory: RunDirectory, name: str) -> None:
        self._directory = directory
        row = directory.store.stage(name)
        self._name = name
        self._before = row.seconds
        self._began = time.monotonic()
        self._saved = self._began
        self.record = dict(row.record)

    @property
    def seconds(self) -> float:
        """Time spent in the stage so far."""
        return self._before + time.monotonic() - self._began

    def tick(self) -> None:
        """Keep the time, if it has not been kept for a while."""
        if time.monotonic() - self._saved >= _CLOCK_SECONDS:
            self.save()

    def save(self, *, done: bool = False) -> None:
        """Keep the time and the record."""
        self._directory.store.put_stage(StageRow(self._name, self.seconds, done, self.record))
        self._saved = time.monotonic()


def _asked(config: RunConfig, stored: Mapping[str, Any] | None) -> RunConfig:
    """The options asked for; what they leave to the machine is as the run began."""
    if stored is None:
        return config
    taken: dict[str, Any] = {}
    if config.workers is None:
        # Not one per core of the machine on which it goes on.
        taken["workers"] = {**_ONE_BY_ONE, **stored}["workers"]
    if config.device is not None or config.latency_table is not None:
        # Not the threads of that machine; and what a table said, even if its file has gone.
        names = ("device", "device_threads")
        taken |= {name: stored.get(name) for name in names if getattr(config, name) is None}
    return config.model_copy(update=taken)


def _stored_config(path: Path, stored: Mapping[str, Any]) -> RunConfig:
    try:
        return make_config(stored)
    except ConfigurationError as error:
        raise RunDirectoryError(f"{path} must hold a configuration of this onepath, but {error}") from error
