"""The finals of a run: its finalists are trained side by side, and the validation split chooses the winner."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from onepath.methods.finishing import network_seed, starts_of
from onepath.record.directory import TRIALS, weights_path
from onepath.record.stage_records import reading_records
from onepath.runs.opened import Run
from onepath.runs.standalone import PlannedNetwork, TrainedNetwork
from onepath.runs.trainings import train_networks
from onepath.runs.workspace import StageClock
from onepath.search.halving import kept, rounds


def play_finals(run: Run, clock: StageClock) -> None:
    """Train the finalists round by round, and make the best one the winner of the search; nothing without finalists.

    All finalists have the seed of the winner. The state of the best one's training becomes the winner's, which is then
    trained on like any other, so that it ends with the same weights as if it had been the only finalist.

    Args:
        run: the run, whose search has finished.
        clock: clock of the stage at work; what is known of each round is kept in its record.
    """
    stage = run.directory.store.stage("search")
    finalists: list[str] = stage.record.get("finalists", [])
    (start, *_), finish = starts_of(run.config.finish), run.config.finish or ""
    if len(finalists) < 2 or "networks" in clock.record:
        return
    with reading_records(run.path / TRIALS):
        known = {trial.architecture: trial.accuracy for trial in run.directory.store.trials()}
        finals: list[dict[str, Any]] = clock.record.setdefault("finals", [])
        left = list(range(len(finalists)))
        seed = network_seed(run.config.seed, 0)
        for number, played in enumerate(rounds(len(finalists), finish)):
            if number == len(finals):
                finals.append({"share": played.share, "scores": {}})
            scores = finals[number]["scores"]
            planned = [
                PlannedNetwork(
                    f"finalist-{place}",
                    start,
                    finalists[place],
                    seed,
                    known[finalists[place]],
                    played.share,
                    clock.record.get("training_seconds"),
                )
                for place in left
            ]
            new = [network for network in planned if network.architecture not in scores]
            run.progress.note(
                f"finals, round {number + 1}: {len(planned)} networks, {played.share:.0%} of their training"
            )
            train_networks(run, clock, new, len(planned), partial(_store, clock, scores))
            rest = rounds(len(finalists), finish)[number + 1 :]
            places = kept([scores[finalists[place]] for place in left], rest[0].num if rest else 1)
            for place in set(left) - {left[place] for place in places}:
                _forget(run, f"finalist-{place}-{start}")
            left = [left[place] for place in places]
    _crown(run, f"finalist-{left[0]}-{start}", f"winner-{start}", finalists[left[0]])


def _store(
    clock: StageClock, scores: dict[str, float], network: PlannedNetwork, trained: TrainedNetwork
) -> None:
    scores[network.architecture] = trained.validation
    clock.save()


def _crown(run: Run, finalist: str, winner: str, architecture: str) -> None:
    """Make a finalist the winner of the search, and give the state of its training to the winner's."""
    stage = run.directory.store.stage("search")
    active = run.blank.space.parse(architecture).options
    run.directory.store.put_stage(
        replace(stage, record={**stage.record, "winner": architecture, "active": active})
    )
    state = run.directory.checkpoint(finalist).load()
    if state is not None:
        run.directory.checkpoint(winner).save(state)
    _forget(run, finalist)


def _forget(run: Run, name: str) -> None:
    run.directory.checkpoint(name).remove()
    weights_path(run.path, name).unlink(missing_ok=True)
