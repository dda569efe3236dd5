"""Networks trained from scratch as the truth of a ranking: random ones of a run, each stored when it is trained."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from onepath.errors import ConfigurationError
from onepath.estimate import Networks
from onepath.most import TRAININGS, check_most
from onepath.randomness import generator
from onepath.record import EstimateStore
from onepath.record.estimates import ESTIMATES
from onepath.runs import PlannedNetwork, Run, StageClock, TrainedNetwork, network_score, train_networks
from onepath.runs.retraining import keep_plan
from onepath.studies.comparison import Rows

TRUTH = "stand-alone test accuracy"
_FEWEST = 3
_DRAWN_AT_ONCE = 64
_MOST_DRAWS = 100


class StandaloneTruth(NamedTuple):
    """Networks of a run that were trained from scratch.

    Attributes:
        rows: random networks with their test scores, and after them the winner, if it was trained from scratch.
        num_random: number of random networks.
        seconds: text of an architecture -> seconds of its training, for the networks that were trained for this.
    """

    rows: Rows
    num_random: int
    seconds: Mapping[str, float]


def standalone_truth(run: Run, clock: StageClock, num: int) -> StandaloneTruth:
    """Train random networks from scratch as the run trains its winner, unless they are stored.

    The networks of the run's random baseline are used first. After a kill, the same call continues, inside the networks
    that were being trained. A larger `num` uses the networks of a smaller one.

    Args:
        run: gives the space, the limits, the recipe and the seed.
        clock: clock of the stage at work.
        num: number of networks, the baseline included; fewer if there are not enough within the limits.
    """
    stored = [row for row in run.directory.store.networks() if row.start == "scratch"]
    rows = {row.architecture: row.retrained_test for row in stored if row.retrained_test is not None}
    winner = [row.architecture for row in run.directory.store.networks() if row.role == "winner"][:1]
    known = [name for name in rows if name not in winner]
    seconds = keep_plan(run)
    drawn = _draw(run, num, known, winner)
    trained, times = _train(run, clock, [name for name in drawn if name not in rows], seconds)
    test = {**rows, **trained}
    names = [*drawn, *(name for name in winner if name in rows)]
    truth = np.array([test[name] for name in names], dtype=np.float64)
    note = (
        f"{len(drawn)} random architectures within the limits, trained from scratch with the run's own recipe"
        f"{f'; {len(known)} of them are its baseline' if known else ''}. The truth is test accuracy; scores are of "
        "the validation split."
    )
    networks = Networks(tuple(map(run.blank.space.parse, names)), truth, len(names), 0)
    return StandaloneTruth(Rows(networks, TRUTH, [note]), len(drawn), times)


def check_standalone(num: int) -> None:
    """Raise ConfigurationError unless a ranking can be made of so many networks, at least 3 and at most 10,000."""
    check_most(TRAININGS, num=num)
    if num < _FEWEST:
        raise ConfigurationError(
            f"a ranking needs {_FEWEST} networks or more, but got --standalone {num}; train more"
        )


def _draw(run: Run, num: int, first: Sequence[str], without: Sequence[str]) -> list[str]:
    """Draw random architectures that meet the limits, in their stand-alone forms, all of them different networks.

    A larger number begins with the architectures of a smaller one. There are fewer than `num` if the draws do not find
    enough.

    Args:
        run: gives the space, the limits and the seed.
        num: number of architectures.
        first: architectures that come first, before the random ones.
        without: architectures that are not drawn.
    """
    space = run.blank.space
    parse = space.parse
    taken = {space.standalone_form(parse(name)): name for name in first[:num]}
    refused = {space.standalone_form(parse(name)) for name in without}
    rng = generator(run.config.seed, "ranked networks")
    for _ in range(_MOST_DRAWS):
        # The number drawn at once does not depend on `num`, so that more networks begin with the fewer ones.
        for architecture in space.architectures(run.legal(run.limits).sample(_DRAWN_AT_ONCE, rng)):
            form = space.standalone_form(architecture)
            if len(taken) < num and form not in refused:
                taken.setdefault(form, str(form))
        if len(taken) >= num:
            break
    return list(taken.values())


def _train(
    run: Run, clock: StageClock, names: Sequence[str], seconds: float | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Train networks from scratch, unless they are stored.

    Args:
        run: gives the recipe and the seed.
        clock: clock of the stage at work.
        names: the architectures.
        seconds: time of each training; None has no limit.

    Returns:
        Architecture -> test score, and architecture -> seconds of its training.
    """
    seed, recipe = run.config.seed, run.finishing_recipe("scratch")
    setting = f"standalone {hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]}, seed {seed}"
    seeds = [int(generator(seed, "ranked network", place).integers(2**31)) for place in range(len(names))]
    networks = [
        PlannedNetwork(f"ranked-{place}", "scratch", name, seeds[place], None, seconds=seconds)
        for place, name in enumerate(names)
    ]
    with EstimateStore(run.path / ESTIMATES) as store:

        def on_trained(network: PlannedNetwork, trained: TrainedNetwork) -> None:
            numbers = {"validation": trained.validation, "test": network_score(run, network, "test")}
            store.put(setting, network.architecture, numbers, trained.seconds)
            run.directory.checkpoint(network.name).remove()

        stored = store.read(setting)
        left = [network for network in networks if network.architecture not in stored]
        train_networks(run, clock, left, len(networks), on_trained)
        known, times = store.read(setting), store.seconds(setting)
    test = {name: known[name]["test"] for name in names}
    scores = {name: -math.inf if value is None else value for name, value in test.items()}
    return scores, {name: times[name] for name in names}
