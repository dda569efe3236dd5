"""`onepath rank --proxy-task`: how well cheaper trainings rank a run's networks, and how much time each saves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from onepath.errors import ConfigurationError
from onepath.estimate import Networks
from onepath.estimate.proxy import Proxy
from onepath.most import TRAININGS, check_most
from onepath.report.study_pages import WHOLE, Study
from onepath.runs import Run, StageClock
from onepath.runs.retraining import keep_plan
from onepath.runs.scoring import num_training
from onepath.studies.comparison import BASELINES, RankOptions, Rows, Table, make_study, write_study
from onepath.studies.proxy_tasks import TOGETHER, proxy_tasks, whole_training
from onepath.studies.proxy_trainings import TrainedAtProxy, Training, train_at_proxies
from onepath.studies.standalone_truth import check_standalone, standalone_truth


class _Reference(NamedTuple):
    """What the proxies are compared with.

    Attributes:
        rows: the networks with their truth.
        seconds: text of an architecture -> seconds of its whole training, where that is not a score itself.
        num_whole: number of networks, from the first, whose whole training is a score.
    """

    rows: Rows
    seconds: Mapping[str, float]
    num_whole: int


def rank_proxies(
    run: Run,
    reductions: Proxy,
    options: RankOptions,
    *,
    table: Table | None = None,
    num_whole: int | None = None,
) -> dict[str, Any]:
    """Train networks of a run at each reduction alone and at all together, and compare their order with the truth.

    With a table, its rows are the truth, and the whole training of the first `num_whole` of them is one more score.
    Without one, the truth is the test score of `num_whole` random networks, trained as in `rank_on_standalone`. A proxy
    is scored on the validation split. Every result is stored in the run directory as soon as it is made, so that after
    a kill the same call continues. The run needs no trained supernet.

    Args:
        run: gives the space, the data, the whole recipe, the seed and the number of workers.
        reductions: what differs from `Proxy()` is a reduction; see `proxy_tasks`.
        options: number of rows of the table and of resamples, and the seed.
        table: the known accuracies.
        num_whole: number of networks that are also trained in full; only with a table it may be None, for none.

    Returns:
        The study's JSON values, and "files": kind of a file -> its path.

    Raises:
        ConfigurationError: neither a table nor a number came, a number is out of its range, no row is left, or the run
            cannot be reduced in this way.
        DataError: the table cannot be read, or a row does not fit the space.
    """
    if num_whole is not None:
        check_most(TRAININGS, num_whole=num_whole)
    if table is None:
        check_standalone(num_whole or 0)
    elif num_whole is not None and num_whole < 1:
        raise ConfigurationError(
            f"whole trainings beside a table must be 1 or more, but got --standalone {num_whole}; train more"
        )
    keep_plan(run)
    proxies, whole = proxy_tasks(run, reductions), whole_training(run)
    feasible = run.legal(run.counted_limits()) if options.within_limits else None
    rows = None if table is None else table.rows(run.blank.space, options, feasible)
    with run.stage("rank") as clock:
        reference = _reference(run, clock, rows, num_whole or 0)
        names = [str(architecture) for architecture in reference.rows.networks.architectures]
        found = train_at_proxies(run, clock, _order(names, proxies, whole, reference.num_whole))
        against = "networks trained in full" if table is None else table.path.name
        study = _study(run, f"Proxy tasks against {against}", reference, proxies, found, options)
        return write_study(run, "proxy-task-standalone" if table is None else "proxy-task-truth", study)


def _reference(run: Run, clock: StageClock, rows: Rows | None, num_whole: int) -> _Reference:
    if rows is not None:
        return _Reference(rows, {}, min(num_whole, len(rows.networks)))
    truth = standalone_truth(run, clock, num_whole)
    random = truth.rows.networks.where(
        [place < truth.num_random for place in range(len(truth.rows.networks))]
    )
    return _Reference(truth.rows._replace(networks=random), truth.seconds, 0)


def _order(
    names: Sequence[str], proxies: Mapping[str, Proxy], whole: Proxy, num_whole: int
) -> list[Training]:
    """Return the trainings, network by network, so that all proxies meet the same drift of the machine's speed."""
    return [
        (proxy, name)
        for place, name in enumerate(names)
        for proxy in (*proxies.values(), *([whole] if place < num_whole else []))
    ]


def _study(
    run: Run,
    title: str,
    reference: _Reference,
    proxies: Mapping[str, Proxy],
    found: Mapping[Training, TrainedAtProxy],
    options: RankOptions,
) -> Study:
    networks, whole = reference.rows.networks, whole_training(run)
    names = [str(architecture) for architecture in networks.architectures]
    counted = [run.costs(architecture) for architecture in networks.architectures]
    costs = {name: [each[name] for each in counted] for name in BASELINES}
    scores = {each: [found[proxy, name].score for name in names] for each, proxy in proxies.items()}
    study = make_study(title, reference.rows.truth, [], networks, scores, costs, options)
    fully = names[: reference.num_whole]
    if fully:
        of_whole = {WHOLE: [found[whole, name].score for name in fully]}
        first = {name: values[: len(fully)] for name, values in costs.items()}
        study = _joined(
            study, make_study(title, "", [], _first(networks, len(fully)), of_whole, first, options)
        )
    seconds = {name: found[whole, name].seconds for name in fully} or dict(reference.seconds)
    times = {each: {name: found[proxy, name].seconds for name in names} for each, proxy in proxies.items()}
    timings = {name: _timing(each, seconds) for name, each in {WHOLE: seconds, **times}.items() if each}
    timings |= {name: {"num": len(names), "seconds": None, "times_faster": None} for name in BASELINES}
    notes = [*reference.rows.notes, *_notes(run, proxies, len(seconds), is_scored=bool(fully))]
    return replace(study, notes=notes, timings=timings)


def _first(networks: Networks, num: int) -> Networks:
    return networks.where([place < num for place in range(len(networks))])


def _joined(study: Study, whole: Study) -> Study:
    """Return a study with one more score, which only the first of its networks have."""
    evidence = {
        **study.evidence,
        **{
            part: {WHOLE: whole.evidence[part][WHOLE], **study.evidence[part]}
            for part in ("scores", "differences")
        },
    }
    first = [{**row, WHOLE: one[WHOLE]} for row, one in zip(study.networks, whole.networks, strict=False)]
    return replace(study, evidence=evidence, networks=[*first, *study.networks[len(first) :]])


def _timing(seconds: Mapping[str, float], whole: Mapping[str, float]) -> dict[str, float | None]:
    """Return how long trainings took, and how many times faster they were than whole trainings of the same networks.

    Args:
        seconds: text of an architecture -> seconds of its training.
        whole: text of an architecture -> seconds of its whole training, for the networks that have one.

    Returns:
        "num", the number of trainings; "seconds", their mean; "times_faster", None if no network has a whole training.
    """
    common = [name for name in seconds if whole.get(name)]
    own = math.fsum(seconds[name] for name in common)
    faster = math.fsum(whole[name] for name in common) / own if own else None
    mean = math.fsum(seconds.values()) / len(seconds)
    return {"num": len(seconds), "seconds": mean, "times_faster": faster}


def _notes(run: Run, proxies: Mapping[str, Proxy], num_timed: int, *, is_scored: bool) -> list[str]:
    """Return sentences on the whole training, the proxies and the times."""
    shape, epochs = run.input_shape, whole_training(run).epochs
    size = f" of {'x'.join(map(str, shape[1:]))} pixels" if len(shape) == 3 else ""
    together = f"; {TOGETHER} combines them" if TOGETHER in proxies else ""
    found = [
        f"A whole training has {epochs:g} epochs on {run.facts['train']:,} training examples{size}. Each proxy reduces "
        f"one thing and leaves the rest whole{together}; it is scored on the validation split. Fewer training examples "
        "have the recipe of their number.",
        f"Seconds are measured, {num_training(run)} trainings at a time.",
    ]
    if not num_timed:
        text = "No whole training was timed, so that the saved time is not known; a larger --standalone N times some."
        return [*found, text]
    scope = "with recalibration and validation" if is_scored else "without recalibration and validation"
    text = f"The factor is over the {num_timed} networks whose whole training was timed, {scope}."
    return [*found, text]
