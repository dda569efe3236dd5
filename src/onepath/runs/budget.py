"""A budget of time: what a run does in it, planned from a few timed updates, and planned again before the finish."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from onepath.errors import ConfigurationError
from onepath.estimate import StandaloneEstimator
from onepath.methods.job import Trained, standard_scorer
from onepath.methods.random_networks import Unrated
from onepath.methods.sampled import NUM_VERIFIED, SampledMethod
from onepath.methods.scored import ScoredMethod
from onepath.most import EPOCHS, FINALISTS
from onepath.randomness import generator
from onepath.runs.finishing_time import Finishing, finishing, played, timed_seconds
from onepath.runs.latencies import PROFILE
from onepath.runs.scoring import num_scoring, num_training
from onepath.search.halving import HALVING, rounds

if TYPE_CHECKING:
    from onepath.methods import Method
    from onepath.runs.opened import Run
    from onepath.runs.run_job import RunJob
    from onepath.space import Architecture

SUPERNET_SHARE, MOST_SEARCH_SHARE, MOST_SCORING_SHARE = 0.45, 0.2, 0.1
"""Of the time for training and searching: what the supernet gets, and at most the evaluations of a search that has one,
and of one by a score without training. A search that trains each network by itself gets the first two together."""
_MOST_TIMING_SHARE = 0.03
_OTHER_SECONDS, _OTHER_SHARE = 14.0, 0.01
_NUM_TIMED, _NUM_EVALUATED = 3, 5


def planned(run: Run, job: RunJob) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options that fit a run to its budget, and the facts about the plan.

    Options that the user gave stay as they are. The number of epochs of the supernet follows from its share of the
    time, the epochs of the networks that are finished from what is left.

    Args:
        run: a new run with a budget, whose options are resolved.
        job: its job.

    Raises:
        ConfigurationError: the budget is too short for one epoch of what is trained.
    """
    config, method = run.config, run.config.options
    budget = config.budget
    assert budget is not None, "there is a budget"
    options: dict[str, Any] = {}
    evaluation, num = _evaluations(run, job, method)
    architectures = run.blank.space.architectures(
        job.loosest.sample(_NUM_TIMED, generator(config.seed, "budget"))
    )
    finish = finishing(run, architectures, config.finalists or 1)
    epochs = method.total_epochs
    epoch = (
        job.timed_training(method, timed_seconds(budget)) / epochs
        if method.trains_supernet and epochs is not None
        else 0.0
    )
    spent = time.perf_counter() - run.opened_at
    left = budget - _reserve(budget) - spent - run.latencies.expected_seconds
    share = MOST_SEARCH_SHARE + (0.0 if method.trains_supernet else SUPERNET_SHARE)
    most = (MOST_SCORING_SHARE if method.score is not None else share) * left
    if evaluation and evaluation * num > most and hasattr(method, "num_planned"):
        options |= _fewer(run, method, max(2, int(most / evaluation)))
        num = min(num, options.get("num", num), options.get("predictor", num))
    left -= evaluation * num
    if epoch and "epochs" not in config.given:
        epochs = min(EPOCHS, int((SUPERNET_SHARE if finish else 1.0) * left / epoch))
        options |= method.of_length(epochs, config.given)
    training = epoch * (epochs or 0)
    left -= training
    retrain_epochs = config.retrain_epochs
    if finish and method.num_finalists is not None and "finalists" not in config.given:
        options |= _as_many(run, left, finish)
        finish = played(run, finish, options.get("finalists", config.finalists or 1))
    if finish and retrain_epochs is None:
        retrain_epochs = min(EPOCHS, finish.epochs(left))
        options["retrain_epochs"] = max(1, round(retrain_epochs, 2))
    fewest = 1 + options.get("warmup_epochs", 0)
    if (epochs is not None and epochs < fewest) or (retrain_epochs or 1) < 1:
        networks = "" if finish is None else written_seconds(finish.epoch * finish.passes)
        raise ConfigurationError(
            f"budget must have time for an epoch of every training, but {written_seconds(budget)} are too short here, "
            f"where an epoch of the supernet takes {written_seconds(epoch)} and one of all networks that are finished "
            f"{networks}; raise it, or lower the width or the number of networks"
        )
    finishing_seconds = 0.0 if finish is None else finish.seconds(retrain_epochs or 0)
    parts = {"training": training, "search": evaluation * num, "finishing": finishing_seconds}
    said = []
    if training:
        said.append(f"{epochs} epochs of the supernet ({written_seconds(training)})")
    if parts["search"]:
        said.append(f"{num:,} evaluations ({written_seconds(parts['search'])})")
    if finish:
        said.append(
            f"about {retrain_epochs:.1f} epochs of {_networks(_num_finished(run, options))} "
            f"({written_seconds(parts['finishing'])})"
        )
    run.progress.note(f"budget of {written_seconds(budget)}: {', '.join(said)}")
    return options, {
        "seconds": spent,
        "planned": parts,
        "plans_finish": "retrain_epochs" in options,
    }


def _as_many(run: Run, left: float, finish: Finishing) -> dict[str, Any]:
    """Return the options of a method whose networks are all finalists: as many as the time trains.

    With halving they are trained for longer than usual, if the first round is left an epoch for each; otherwise each is
    trained for the usual number of epochs.

    Args:
        run: the run.
        left: seconds for finishing.
        finish: what it takes.
    """
    if {"num", "population", "generations"} & run.config.given:
        return {}
    given = run.config.retrain_epochs if "retrain_epochs" in run.config.given else None
    usual = given or run.usual_epochs
    way, most = run.config.finish or "", min(FINALISTS, run.blank.space.size)

    def has_time(num: int) -> bool:
        own = played(run, finish, num).epochs(left)
        if way != HALVING:
            return own >= usual
        return own >= (given or 0) and (given or own) * rounds(num, way)[0].share >= 1

    finalists = 1
    while finalists < most and has_time(finalists + 1):
        finalists += 1
    return {"num": finalists, "finalists": finalists}


def _num_finished(run: Run, options: dict[str, Any]) -> int:
    finalists: int = options.get("finalists", run.config.finalists or 1)
    return finalists + (run.config.finish == "both") + run.config.num_baselines


class Replanned(NamedTuple):
    """What is left of a budget for finishing.

    Attributes:
        num: number of networks among which the finals choose. It is smaller than that of the search's finalists only
            where a method has as many networks as there is time for, and they take longer than those timed before.
        epochs: epochs of each network.
        seconds: seconds of the training of each network, to which its schedule is fitted while it is trained.
    """

    num: int
    epochs: float
    seconds: float


def planned_again(run: Run, architectures: Sequence[Architecture]) -> Replanned | None:
    """Return how many of the networks are finished, and how long, from the time that is left; None without a plan.

    Args:
        run: a run with a budget whose search has finished.
        architectures: the networks among which the finals would choose.
    """
    facts, config = run.facts.get("budget"), run.config
    if facts is None or not facts["plans_finish"] or config.budget is None:
        return None
    spent = facts["seconds"] + sum(row.seconds for row in run.directory.store.stages().values())
    if run.root is not run:  # the supernet and the latencies of all limits
        stages = run.root.directory.store.stages()
        spent += sum(stages[name].seconds for name in (PROFILE, "train") if name in stages)
    began, num = time.perf_counter(), len(architectures)
    finish = finishing(run, _spread(run, architectures), num)
    if finish is None:
        return None
    left = config.budget - _reserve(config.budget) - spent - (time.perf_counter() - began)
    if config.options.num_finalists is not None and "finalists" not in config.given:
        num = min(num, _as_many(run, left, finish).get("finalists", num))
        finish = played(run, finish, num)
    epochs = min(float(EPOCHS), max(1.0, round(finish.epochs(left), 2)))
    run.progress.note(
        f"{written_seconds(max(left, 0))} of the budget are left for finishing: {epochs:g} epochs of "
        f"{_networks(num)}"
    )
    return Replanned(num, epochs, max(1.0, epochs * finish.epoch))


def _networks(num: int) -> str:
    return "the network" if num == 1 else f"each of {num} networks"


def _spread(run: Run, architectures: Sequence[Architecture]) -> list[Architecture]:
    """Return a few architectures, spread evenly over all of them in the order of their cost."""
    ordered = sorted(architectures, key=lambda each: run.costs(each)["macs"])
    num = min(len(ordered), _NUM_TIMED)
    return [ordered[int((place + 0.5) * len(ordered) / num)] for place in range(num)]


def _evaluations(run: Run, job: RunJob, method: Method) -> tuple[float, int]:
    """Return the seconds of an evaluation of the search, and the number of evaluations."""
    architectures = run.blank.space.architectures(
        job.loosest.sample(_NUM_EVALUATED, generator(run.config.seed, "budget"))
    )
    estimator: Any
    if method.score is not None:
        size = method.score_batch_size if isinstance(method, ScoredMethod) else None
        estimator = standard_scorer(job, method.score, size)
    else:
        supernet = run.supernet_to_train() if method.trains_supernet else run.blank
        estimator = method.estimator(job, Trained(supernet))
    if isinstance(estimator, Unrated):
        return 0.0, 0
    times: list[float] = []
    for architecture in architectures:
        if sum(times) > _MOST_TIMING_SHARE * (run.config.budget or 0.0):
            break
        began = time.perf_counter()
        estimator.estimate(architecture)
        times.append(time.perf_counter() - began)
    num = getattr(method, "num_planned", method.population or 0)
    if isinstance(method, SampledMethod) and method.predictor:
        num = method.predictor + (method.num or NUM_VERIFIED)
    num = min(num, run.blank.space.size)
    at_once = 1
    if method.score is not None:
        at_once = max(1, num_scoring(run, method.score, num))
    elif isinstance(estimator, StandaloneEstimator):
        at_once = num_training(run)
    # The first evaluation prepares what all of them use.
    return statistics.fmean(times[1:] or times) / at_once, num


def _fewer(run: Run, method: Method, num: int) -> dict[str, Any]:
    """Return the options that lower the number of evaluations to `num`, unless the user gave them."""
    if isinstance(method, SampledMethod) and method.predictor:
        return {} if "predictor" in run.config.given else {"predictor": max(10, num - NUM_VERIFIED)}
    if {"num", "population", "generations"} & run.config.given:
        return {}
    population = min(method.population or num, num)
    return {"num": num, "population": max(2, population)}


def _reserve(budget: float) -> float:
    """Return the seconds that are left for the start, the tests of the networks, the export and the report."""
    return _OTHER_SECONDS + _OTHER_SHARE * budget


def written_seconds(seconds: float) -> str:
    """Return a time as text: "45 s", "12 min" or "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
