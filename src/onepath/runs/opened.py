"""An open run: its directory, its configuration, and what the stages share, which is made at first use."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from onepath.errors import ConfigurationError, RunDirectoryError, UserError, shown
from onepath.methods import find_method
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.own_code import blaming_own_code
from onepath.randomness import generator
from onepath.record import RunDirectory
from onepath.record.directory import LATENCY_PAGE, LATENCY_PREDICTOR, LATENCY_TABLE
from onepath.runs.code import check_sources, confirmed, sources
from onepath.runs.config import RunConfig
from onepath.runs.continuing import (
    changes,
    empty_note,
    first_given,
    given_options,
    other_options,
    restarted_config,
    rewritten,
)
from onepath.runs.definition import INITIAL, SUPERNET, Given, describe
from onepath.runs.latencies import Latencies
from onepath.runs.making import method_name, read_stored
from onepath.runs.progress import Progress, SilentProgress
from onepath.runs.resolving import check_early, resolve_percentages, resolve_shape
from onepath.runs.workspace import STAGES, Workspace
from onepath.search.halving import HALVING

if TYPE_CHECKING:
    from onepath.cost import Constraint
    from onepath.estimate import AccuracyPredictor
    from onepath.latency import LatencyPredictor
    from onepath.methods import Method
    from onepath.search import FeasibleSet
    from onepath.search.feasible import Costs
    from onepath.space import Architecture

FORMAT = 2
"""Version of the content of a run directory; an unfinished run of another version is not continued."""


class Run(Workspace):
    """A run directory with everything needed to work on it; use it in a `with`.

    Args:
        config: the options asked for; None takes those of the directory, which must be a run directory.
        path: path of the run directory; None takes the one of the configuration.
        given: objects that were given in Python instead of the names of the data and of the space.
        fresh: whether an old run in the directory is deleted first.
        progress: where to tell how far the run is; None tells nothing.
        checkpoint_seconds: seconds between two saves of an unfinished training.
        space: only without `config`: the user's own space, which the directory's configuration may confirm, but not
            choose; see `confirmed`.
        device: only without `config`: the user's own device, which the directory's configuration may confirm.
        method: only without `config`: the user's own method, path/to/file.py:Class, which the directory's
            configuration may confirm; or the class, if the run began with one given in Python.
        reads_only: only without `config`: whether the run is only read, so that no code of the user's own is run.

    Attributes:
        others: the runs under further limits; None before they are opened.
        root: the run whose supernet this run uses: itself, or the run around its folder.
        accuracy_predictor: the fitted accuracy predictor, kept in the root run; None before it is fitted.

    Raises:
        RunDirectoryError: the directory is in use, cannot be written, or holds a run of another configuration or of
            other data.
        UserError: the data, the space or the limits are wrong; a new directory is then removed again.
    """

    def __init__(
        self,
        config: RunConfig | None,
        path: Path | None = None,
        *,
        given: Given | None = None,
        fresh: bool = False,
        progress: Progress | None = None,
        checkpoint_seconds: float = 20.0,
        space: str | None = None,
        device: str | None = None,
        method: type[Method] | str | None = None,
        reads_only: bool = False,
    ) -> None:
        self.progress = SilentProgress() if progress is None else progress
        self.checkpoint_seconds = checkpoint_seconds
        self.is_announced = False
        self.others: list[Run] | None = None
        self.root, self.opened_at = self, time.perf_counter()
        self.accuracy_predictor: AccuracyPredictor | None = None
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
            clears, refused, note = fresh, None, ""
            if stored is not None:
                kind = find_method(method) if method is not None else None
                began = read_stored(stored, path, kind if config is None else type(config.options))
                began._given = frozenset(facts.get("given", began.given))
                if config is not None:
                    asked, (config, changed) = config, changes(config, began, facts)
                    if changed:
                        config, refused = self._restarted(asked, began, path, facts, changed)
                        note = empty_note(path, given_options(asked), given_options(config), changed)
                        clears, stored, facts = True, None, {}
                    else:
                        note = empty_note(path, given_options(asked), first_given(began, facts), ())
                        note = note if note and self._is_empty(began) else ""
                elif reads_only:
                    config = began
                else:
                    named = method_name(method) if isinstance(method, type) else method
                    _check_object(given, began, path)
                    config = confirmed(began, path, space, device, facts, named)
            assert config is not None, "RunDirectory has checked that there is a configuration"
            digests = self.directory.store.digests() if stored is not None else {}
            super().__init__(path, config, facts, given, digests, reads_only=reads_only)
            self.has_begun = stored is not None
            with blaming_own_code():
                if not reads_only:
                    self._settle(clears, refused)
            self.progress.finish()
            if note:
                self.progress.note(note)
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
        """Release the directory, and the directories of the runs under further limits."""
        for other in self.others or ():
            other.close()
        self.directory.close()

    def _restarted(
        self, asked: RunConfig, began: RunConfig, path: Path, facts: Mapping[str, Any], changed: Sequence[str]
    ) -> tuple[RunConfig, RunDirectoryError | None]:
        """Return the configuration with which the run in the directory starts over, because it is empty.

        Args:
            asked: the options asked for.
            began: the options of the directory.
            path: path of the directory, for the message.
            facts: facts about the run in the directory.
            changed: the differences, see `changes`.

        Returns:
            The configuration, and the error to raise if the latency table in the directory would be lost; None if it
            was not profiled there.

        Raises:
            RunDirectoryError: something has been computed in the directory, so that its run can only be continued.
        """
        refused = other_options(path, changed)
        again = restarted_config(asked, began, facts) if self._is_empty(began) else None
        if again is None:
            raise refused
        table, given = path / LATENCY_TABLE, began.latency_table
        is_own = table.is_file() and (given is None or Path(given).resolve() == table.resolve())
        return again, refused if is_own else None

    def _is_empty(self, began: RunConfig) -> bool:
        """Whether the run in the directory has computed nothing, except perhaps a latency table."""
        inputs = {f"{INITIAL}.safetensors", LATENCY_TABLE, LATENCY_PAGE}
        if began.latency_table is not None:
            inputs.add(LATENCY_PREDICTOR)  # a copy of the one that was given
        if self.directory.store.stage("train").record.get("num_updates") == 0:
            inputs.add(f"{SUPERNET}.safetensors")
        return not self.directory.has_results(inputs)

    def _settle(self, clears: bool, refused: RunDirectoryError | None) -> None:
        """Fix the configuration and the facts of a new run; of a run that has begun, check that it can be continued.

        Args:
            clears: whether a new run takes the place of one in the directory.
            refused: error to raise if the latency table of that run does not fit the new one; None deletes it then.
        """
        asked = self.config
        check_early(asked, is_new=not self.has_begun)
        if self.has_begun:
            check_sources(self.config, self.facts)
            if self.facts.get("format") != FORMAT and not self.is_done(STAGES[-1]):
                raise RunDirectoryError(
                    f"a run is continued by the onepath that began it, but {self.path} was begun by an older one and "
                    "has not finished; finish it with that one, give another --out, or start over with --fresh"
                )
            if self.objects.data is not None:
                _ = self.task  # compared with what the run began with
            return
        from onepath.runs.run_job import RunJob
        from onepath.train.checks import check_fresh

        self.config = resolve_shape(self)
        self.config, shares = resolve_percentages(self, self.config)
        job = RunJob(self)
        # Find out now what would otherwise end the run after hours of training.
        job.prepare(self.config.options)
        if self.config.finish in ("scratch", "both", HALVING):
            check_fresh(self.blank)
        self.check_limits(self.latencies.check_given())
        self.config = self.config.with_method(self.config.options.resolved(job))
        if self.config.budget is not None:
            from onepath.runs.budget import planned

            options, shares["budget"] = planned(self, job)
            self.config = self.config.changed(**options)
        facts = {
            **describe(self.task),
            "space_fingerprint": self.blank.space.fingerprint,
            "sources": sources(self.config),
            "format": FORMAT,
            **shares,
            "given": sorted({*self.config.given, *shares.get("percentages", ())} - {"out"}),
            "rewritten": rewritten(asked, self.config),
        }
        if clears:
            # Not earlier: a mistake in the new options must not cost the old run.
            kept = self._kept_table()
            if refused is not None and not kept:
                raise refused
            self.directory.clear(keep=kept)
        if self.objects.space is not None or self.config.model is not None:
            self.save_weights(INITIAL, self.blank.state_dict())
        self.directory.begin(self.config.as_dict(), facts)
        self.has_begun, self.facts = True, facts

    def _kept_table(self) -> tuple[str, ...]:
        """Return the file name of the old run's latency table, in a tuple, if it fits the new run; else ()."""
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
        """The predicted and measured latencies of the run."""
        return Latencies(self, self.check_limits)

    def constraints(
        self, limits: Mapping[str, float], predictor: LatencyPredictor | None = None
    ) -> list[Constraint]:
        """Return limits as constraints.

        Args:
            limits: option name -> limit.
            predictor: what predicts the latency; None takes the run's own predictor.
        """
        from onepath.cost import COSTS, CostLimit

        found: list[Constraint] = [
            CostLimit(COSTS[name.removeprefix("max_")], maximum)
            for name, maximum in limits.items()
            if name != "max_latency_ms"
        ]
        if "max_latency_ms" in limits:
            found.append(self.latencies.limit(limits["max_latency_ms"], predictor))
        return found

    def legal(self, limits: Mapping[str, float], predictor: LatencyPredictor | None = None) -> FeasibleSet:
        """Return the set of the architectures that meet limits.

        Args:
            limits: option name -> limit; a limit on latency applies to the predicted latency.
            predictor: what predicts the latency; None takes the run's own predictor.
        """
        from onepath.methods import feasible_set
        from onepath.search import FeasibleSet

        counted = {name: value for name, value in limits.items() if name != "max_latency_ms"}
        key = tuple(sorted(counted.items()))
        if key not in self._counted:
            self._counted[key] = feasible_set(self.blank, self.input_shape, self.constraints(counted))
        if len(counted) == len(limits):
            return self._counted[key]
        latency = {"max_latency_ms": limits["max_latency_ms"]}
        bound = feasible_set(self.blank, self.input_shape, self.constraints(latency, predictor))
        return FeasibleSet(self.blank.space, [*self._counted[key].limits, *bound.limits])

    @cached_property
    def _counted(self) -> dict[tuple[tuple[str, float], ...], FeasibleSet]:
        return {}

    @property
    def limits(self) -> dict[str, float]:
        """The limits of this run directory itself: option name -> limit."""
        return self.config.at_limits()[0]

    def counted_limits(self) -> dict[str, float]:
        """Return the limits of this run directory on costs that are counted: all but a limit on latency."""
        return {name: value for name, value in self.limits.items() if name != "max_latency_ms"}

    def loosest_limits(self, *, with_latency: bool = True) -> dict[str, float]:
        """Return option name -> the largest of its limits; the one supernet is trained for these.

        Args:
            with_latency: whether a limit on latency is included.
        """
        found = {name: max(values) for name, values in self.config.limits.items()}
        if not with_latency:
            found.pop("max_latency_ms", None)
        return found

    def check_limits(self, predictor: LatencyPredictor | None) -> None:
        """Raise unless some architecture meets the limits of every winner.

        Args:
            predictor: what predicts the latency; None leaves limits on latency out.

        Raises:
            InfeasibleError: no architecture meets the limits of a winner; the message names the limit, and the smallest
                and the median cost.
        """
        for limits in self.config.at_limits():
            if predictor is None:
                limits.pop("max_latency_ms", None)
            self.legal(limits, predictor).sample(1, generator(self.config.seed, "feasible"))

    def costs(self, architecture: Architecture) -> dict[str, float]:
        """Return every cost of an architecture's stand-alone network: name -> cost; see `counters`."""
        matrix = self.blank.space.matrix([architecture])
        return {name: float(counter(matrix)[0]) for name, counter in self.counters.items()}

    @cached_property
    def counters(self) -> dict[str, Costs]:
        """Name -> function from a matrix of architectures to their costs, for MACs, parameters and every limited cost.

        A space with a table is counted by it, which is a thousand times faster than counting networks one by one.
        """
        from onepath.cost import counter
        from onepath.cost.architecture import name_uncounted

        def say(uncounted: Mapping[str, str]) -> None:
            self.progress.note(f"MACs leave out what has no counter: {name_uncounted(uncounted)}")

        limited = self.loosest_limits(with_latency=False)
        found: dict[str, Costs] = {
            limit.name.removeprefix("max_"): limit.costs for limit in self.legal(limited).limits
        }
        for name in ("macs", "params"):
            if name not in found:
                found[name] = counter(self.blank, self.input_shape, name, on_uncounted=say)[0]
        return found


def _check_object(given: Given | None, began: RunConfig, path: Path) -> None:
    """Raise ConfigurationError if a space is given in Python, and the run in the directory has one by name."""
    space = None if given is None else given.space
    if space is not None and not began.space.startswith(GIVEN_IN_PYTHON):
        kind = "model" if began.model is not None else "space"
        raise ConfigurationError(
            f"{kind} must be the one that the run began with, but got a {type(space).__name__} and {path} has "
            f"{shown(began.space)}; give that one"
        )
