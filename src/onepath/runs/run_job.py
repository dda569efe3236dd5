"""The job of a run directory: a method's training and search, stored as they proceed and resumed after a kill."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onepath.estimate import Estimate
from onepath.methods import Job, Method, Search, Trained
from onepath.methods.finishing import given_model
from onepath.methods.job import judged, standard_scorer
from onepath.methods.supernet_search import Found, searched
from onepath.randomness import generator
from onepath.record import EstimateStore
from onepath.record.directory import CHECKPOINTS
from onepath.record.estimates import ESTIMATES
from onepath.record.kept_weights import FolderWeights
from onepath.runs.definition import SUPERNET
from onepath.runs.replay import Replay
from onepath.runs.training_watch import watch
from onepath.train import CandidateCounts, train_phases
from onepath.train.phase import ends, stretches_of
from onepath.train.timing import update_seconds

if TYPE_CHECKING:
    from torch import nn

    from onepath.data import Task
    from onepath.estimate import AccuracyPredictor, Estimator
    from onepath.estimate.grown import WeightStore
    from onepath.estimate.proxy import Proxy
    from onepath.nn import Supernet
    from onepath.runs.opened import Run
    from onepath.runs.workspace import StageClock
    from onepath.search import FeasibleSet
    from onepath.search.feasible import Costs
    from onepath.space import Architecture
    from onepath.train import Phase


class RunJob(Job):
    """The job that a method works on in a run directory; see `Job`.

    Args:
        run: an open run; nothing is trained or searched before its stage is at work.
        clock: clock of the stage at work; None before there is one.
    """

    def __init__(self, run: Run, clock: StageClock | None = None) -> None:
        self._run, self._clock = run, clock
        self.settings, self.device = run.config, run.config.train_on
        self._step, self._screen_ms = 0, run.config.limit_ms
        self._replay: Replay | None = None
        self._supernet: Supernet | None = None

    @property
    def task(self) -> Task:  # type: ignore[override]
        """The run's data."""
        return self._run.task

    @property
    def supernet(self) -> Supernet:  # type: ignore[override]
        """The supernet that is being trained; outside of a training, one with the initial weights."""
        return self._run.blank if self._supernet is None else self._supernet

    @property
    def given_model(self) -> nn.Module | None:
        """See `Job.given_model`."""
        return given_model(self.settings.finish_teacher, self._run.blank)

    @property
    def space_name(self) -> str:
        """The name of the space in the configuration."""
        return self._run.config.space

    @property
    def search_seed(self) -> int:
        """Seed of the search: the run's seed in its first search, one derived from it in each further search."""
        return (
            self.seed if self._step == 0 else int(generator(self.seed, "search", self._step).integers(2**31))
        )

    @property
    def feasible(self) -> FeasibleSet:
        """The architectures that meet the limits of this run directory; a latency as predicted, under the screen."""
        limits = self._run.limits
        if self._screen_ms is not None:
            limits["max_latency_ms"] = self._screen_ms
        return self._run.legal(limits)

    @property
    def loosest(self) -> FeasibleSet:
        """The architectures that meet the loosest limits; before the run has begun, without limits on latency."""
        return self._run.legal(self._run.loosest_limits(with_latency=self._run.has_begun))

    def aims(self) -> dict[str, float]:
        """Return unit -> limit as `Job.aims` does; before the run has begun, the limit on latency counts as additive.

        A predictor of whole networks (`.safetensors`) is not additive, so that its limit is left out.
        """
        aims, config = super().aims(), self._run.config
        if (
            self._run.has_begun
            or config.limit_ms is None
            or (config.latency_table or "").endswith(".safetensors")
        ):
            return aims
        return {"ms": max(config.limits["max_latency_ms"]), **aims}

    def counter(self, name: str) -> Costs:
        """Return a cost by its name, see `Run.counters`."""
        return self._run.counters[name]

    def scorer(self, name: str, num_examples: int | None = None, *, total: int = 0) -> Estimator:
        """Return the estimator of `Job.scorer`; many networks are scored by several processes, with the same scores."""
        from onepath.runs.scoring import num_scoring, pooled_scores

        num_left = total - len(self._run.directory.store.trials())
        num_workers = num_scoring(self._run, name, num_left)
        if num_workers < 2:
            return standard_scorer(self, name, num_examples)
        return pooled_scores(self._run, name, num_examples, num_workers)

    def kept_weights(self, purpose: str) -> WeightStore:
        """Return the store of `Job.kept_weights`; before a stage is at work, it is in memory."""
        if self._clock is None:
            return super().kept_weights(purpose)
        return FolderWeights(self._run.root.path / CHECKPOINTS / purpose)

    def trained_alone(self, proxy: Proxy) -> Estimator:
        """Return the estimator of `Job.trained_alone`; with `--workers`, several networks train at the same time.

        The result is the same for every number of workers of one thread each. They begin when a stage is at work.
        """
        from onepath.runs.scoring import num_training, pooled_standalone
        from onepath.runs.standalone import standalone_of

        num_workers = num_training(self._run)
        if num_workers < 2 or self._clock is None:
            return standalone_of(self._run, proxy)
        return pooled_standalone(self._run, proxy, num_workers)

    def ranked(self, name: str) -> Callable[[Architecture], float]:
        """Return a score as a function, see `StoredScore`; each score is stored as soon as it is made."""
        return StoredScore(self, self._run, name)

    # Training.

    def evaluated(self, trained: Trained, architectures: Sequence[Architecture]) -> list[Estimate]:
        """Return estimates; each is stored as soon as it is made, and found by runs under further limits."""
        estimator, config = self.inherited(trained), self._run.config
        images = f"{config.calibration_images} and {config.validation_images} images, {config.precision}"
        setting, progress = f"inherited accuracy, seed {self.seed}, {images}", self._run.progress
        with EstimateStore(self._run.root.path / ESTIMATES) as store:
            known = {
                text: (row["accuracy"] or 0.0, math.inf if row["loss"] is None else row["loss"])
                for text, row in store.read(setting).items()
                if "loss" in row  # rows of an older onepath have none
            }
            new = [each for each in architectures if str(each) not in known]
            done_before = len(architectures) - len(new)
            progress.begin("evaluating architectures before the search", len(architectures), done_before)
            for done, architecture in enumerate(new, start=done_before + 1):
                found = estimator.estimate(architecture)
                numbers = {"accuracy": found.accuracy, "loss": found.loss}
                store.put(setting, str(architecture), numbers, found.seconds)
                known[str(architecture)] = found.accuracy, found.loss
                self._at_work.tick()
                progress.advance(done)
        num = self.task.num_examples("validation")
        return [Estimate(*known[str(architecture)], 0.0, num) for architecture in architectures]

    def accuracy_predictor(self, trained: Trained, num: int) -> AccuracyPredictor:
        """Return the accuracy predictor, which all searches of this process on the run's supernet share."""
        root = self._run.root
        if root.accuracy_predictor is None:
            root.accuracy_predictor = super().accuracy_predictor(trained, num)
            predictor = root.accuracy_predictor
            tau = "undefined" if predictor.tau is None else f"{predictor.tau:.2f}"
            self._run.progress.note(
                f"the accuracy predictor is off by {predictor.error:.4f} on average, with Kendall's tau {tau}, on "
                f"networks held out of the {len(predictor.accuracies):,} evaluated for it"
            )
        return root.accuracy_predictor

    def train(self, method: Method) -> Trained:
        """Train, and write the weights to `checkpoints/supernet.safetensors`, the rest to the stage's record.

        With several trainings, the record lists under "searches" what each finished training has found, until all have
        finished; then it holds what the best one found, with a line for each training under "seeds". A training that
        was killed continues from its last checkpoint.
        """
        run, clock = self._run, self._at_work
        num = method.num_trainings
        if num == 1:
            trained, record = self._trained(method, SUPERNET, "training the supernet")
            clock.record |= record
            return trained
        finished: list[dict[str, Any]] = clock.record.setdefault("searches", [])
        for number in range(len(finished), num):
            one = self._seeded(self.seed + number)
            title = f"training the supernet, seed {one.seed} ({number + 1} of {num})"
            trained, record = one._trained(method, _name(one.seed), title)
            architecture, estimate = judged(method, one, trained)
            line = self._line(architecture, estimate, record)
            finished.append({**record, "seed": one.seed, "derived": line})
            clock.save()
            run.directory.checkpoint(_name(one.seed)).remove()
            run.progress.note(
                f"seed {one.seed}: derived architecture {line['inherited_validation']:.4f} in validation"
            )
        best = max(finished, key=lambda search: _score(search["derived"]))
        run.save_weights(SUPERNET, run.weights(_name(best["seed"])))
        clock.record |= {name: value for name, value in best.items() if name not in ("seed", "derived")}
        clock.record["architecture"] = {
            **best["architecture"],
            "seed": best["seed"],
            "seeds": [{"seed": search["seed"], **search["derived"]} for search in finished],
        }
        del clock.record["searches"]
        return self.trained(method)

    def trained(self, method: Method) -> Trained:
        """Return what the finished stage `train` has made, read from the disk."""
        run = self._run
        if not method.trains_supernet:
            return Trained(run.blank)
        record = run.directory.store.stage("train").record
        return self._restored(method, run.trained, record)

    def forget(self, method: Method) -> None:
        """Delete the files that the finished stage has left: the checkpoints, and the weights of every seed."""
        directory = self._run.directory
        for number in range(method.num_trainings):
            directory.checkpoint(_name(self.seed + number)).remove()
            directory.weights_path(_name(self.seed + number)).unlink(missing_ok=True)
        directory.checkpoint(SUPERNET).remove()

    @property
    def _at_work(self) -> StageClock:
        assert self._clock is not None, "a stage is at work"
        return self._clock

    def _seeded(self, seed: int) -> RunJob:
        """Return the same job with another seed, which is also the seed of the initial weights."""
        job = RunJob(self._run, self._clock)
        job.settings = self.settings.model_copy(update={"seed": seed})
        return job

    def timed_training(self, method: Method, timed_seconds: float) -> float:
        """Return the seconds that the method's training takes, from a few updates of each phase.

        Args:
            method: the method, whose options are resolved. What it trains for the time is thrown away.
            timed_seconds: how long the updates of a phase are timed.
        """
        seconds = 0.0
        supernet = self._run.supernet_to_train(self.seed)
        phases = method.timed_phases(self._on(supernet))
        for stretch in stretches_of(phases):
            total = self.num_updates(stretch[0].recipe)
            begins = [0, *ends(stretch, total)]
            for phase, begin, end in zip(stretch, begins, begins[1:], strict=False):
                alone = dataclasses.replace(phase, until=1.0)
                times = update_seconds(
                    lambda on_update, alone=alone: train_phases(  # type: ignore[misc]
                        supernet,
                        self.task,
                        [alone],
                        seed=self.seed,
                        device=self.device,
                        on_update=on_update,
                        compile=self.settings.compile,
                    ),
                    timed_seconds,
                )
                seconds += (end - begin) * times.each
        return seconds * method.num_trainings

    def _on(self, supernet: Supernet) -> RunJob:
        """Return the same job over the supernet that is being trained."""
        job = RunJob(self._run, self._clock)
        job.settings, job._supernet = self.settings, supernet
        return job

    def _restored(self, method: Method, supernet: Supernet, record: Mapping[str, Any]) -> Trained:
        """Return the result of a finished training, with what its last phase trained beside the weights restored."""
        phases = tuple(method.phases(self._on(supernet)))
        if phases and phases[-1].before is not None:
            phases[-1].before.load_record(record["architecture"])
        return Trained(supernet, phases)

    def _trained(self, method: Method, name: str, title: str) -> tuple[Trained, dict[str, Any]]:
        """Do one training, from its last checkpoint on; return its result and the record of it."""
        run, clock = self._run, self._at_work
        supernet, counts = run.supernet_to_train(self.seed), CandidateCounts()
        phases = tuple(method.phases(self._on(supernet)))
        if not phases:
            run.save_weights(name, supernet.state_dict())
            return Trained(supernet.eval()), {"num_updates": 0, "counts": {}}
        before = phases[-1].before
        on_point, on_update = watch(run, clock, name, title)
        curve = train_phases(
            supernet,
            run.task,
            phases,
            seed=self.seed,
            device=self.device,
            checkpoint=run.directory.checkpoint(name, run.checkpoint_seconds),
            on_point=on_point,
            on_update=_keeping(clock, phases, counts, on_update),
            compile=self.settings.compile,
            counts=counts,
        )
        run.save_weights(name, supernet.state_dict())
        record: dict[str, Any] = {"num_updates": curve[-1].update, "counts": counts.state_dict()}
        if before is not None:
            record["architecture"] = before.record()
        return Trained(supernet.eval(), phases, tuple(curve)), record

    def _line(
        self, architecture: Architecture, estimate: Estimate, record: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a seed's line of the report: its architecture, scored with the weights of the seed's own search."""
        costs, last = self._run.costs(architecture), record["architecture"]["points"][-1]
        return {
            "architecture": self.space.format(architecture),
            "inherited_validation": estimate.accuracy,
            "loss": estimate.loss if math.isfinite(estimate.loss) else None,
            "macs": int(costs["macs"]),
            "params": int(costs["params"]),
            "entropy": last["entropy"],
            "num_skips": last["num_skips"],
            "stopped": record["architecture"]["stopped"],
        }

    # Search.

    def at(self, step: int, screen_ms: float | None, replay: Replay) -> RunJob:
        """Return the job of one of several searches.

        Args:
            step: number of the search, from 0; it changes the seed of the search.
            screen_ms: largest predicted latency of the search, in ms; None without a limit on latency.
            replay: answers from the stored trials and stores new ones.
        """
        job = RunJob(self._run, self._clock)
        job._step, job._screen_ms, job._replay = step, screen_ms, replay
        return job

    def search(self, search: Search) -> Found:
        """Drive a search to its end; each evaluated architecture is stored at once, and none is evaluated again."""
        assert self._replay is not None, "a search has begun"
        title = "searching" if self._step == 0 else f"searching under {self._screen_ms:.4g} ms"
        self._replay.begin(title, search)
        replayed = dataclasses.replace(search, estimator=self._replay)
        return searched(self.feasible, replayed, on_trial=self._replay.on_trial, counter=self.counter)


class StoredScore:
    """A score of architectures, higher is better; each is stored in the run's estimates as soon as it is made.

    The trials of a search hold only what the search evaluated, not what a prefilter left out. A search that was killed
    finds the scores of both here, and makes none of them again.

    Args:
        job: job whose space is scored.
        run: run that stores the scores.
        name: name of the score without training.

    Raises:
        ConfigurationError: there is no score of this name.
        RunDirectoryError: the stored scores cannot be read; in a call, a score cannot be stored.
    """

    def __init__(self, job: RunJob, run: Run, name: str) -> None:
        self._estimator = standard_scorer(job, name, None)
        self._path = run.path / ESTIMATES
        self._setting = f"score {name}, seed {run.config.seed}"
        with EstimateStore(self._path) as store:
            self._known = {text: row["score"] for text, row in store.read(self._setting).items()}

    def __call__(self, architecture: Architecture) -> float:
        """Return the score of an architecture; minus infinity for a degenerate network."""
        text = str(architecture)
        if text not in self._known:
            found = self._estimator.score(architecture)
            with EstimateStore(self._path) as store:
                store.put(self._setting, text, {"score": found.value}, found.seconds)
            self._known[text] = found.value
        value = self._known[text]
        return -math.inf if value is None else value


def _keeping(
    clock: StageClock,
    phases: tuple[Phase, ...],
    counts: CandidateCounts,
    on_update: Callable[[int, int], None],
) -> Callable[[int, int], None]:
    """Return `on_update` extended so that it also stores counts, and what is trained beside the weights.

    The counts are stored at the update at which a start from one path ends, because a later process may continue
    behind it. What is trained beside the weights is stored after every epoch, because the report of an unfinished run
    shows logits and signals. A run that was killed repeats the epochs after its last checkpoint, with the same signals.
    """
    before, noted = phases[-1].before, 0
    share = phases[0].until if phases[0].name == "one path" else None

    def keep(update: int, num_updates: int) -> None:
        nonlocal noted
        if share is not None and update == round(share * num_updates):
            clock.record["start"] = {"num_updates": update, "counts": counts.state_dict()}
            clock.save()
        if before is not None and (num := len(getattr(before, "points", ()))) > noted:
            noted = num
            clock.record["architecture"] = before.record()
            clock.save()
        on_update(update, num_updates)

    return keep


def _name(seed: int) -> str:
    """Return the name of the training of one seed, if there are several trainings."""
    return f"{SUPERNET}-seed{seed}"


def _score(derived: Mapping[str, Any]) -> tuple[float, float]:
    """Return the key that orders seeds, higher is better; of equal ones `max` takes the first."""
    loss = derived["loss"]
    return derived["inherited_validation"], -math.inf if loss is None else -loss
