"""The differentiable methods in the stage `train`: a search for each seed, of which the best one goes on.

The rule: each seed's architecture is derived within the limits and evaluated with the weights of its own search. The
seed of the highest validation accuracy is taken, of equal ones that of less loss, of equal ones the first. DARTS's
paper retrains each from scratch for that, which takes longer by the retrainings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onepath.runs.opened import Run, StageClock
from onepath.runs.definition import SUPERNET
from onepath.runs.methods import METHODS
from onepath.runs.relaxed import architecture_record
from onepath.runs.resolving import build_supernet
from onepath.runs.searching import algorithm_seed, inherited_estimator
from onepath.randomness import generator

if TYPE_CHECKING:
    from onepath.nn import Supernet
    from onepath.train import ArchitecturePoint, ArchitectureTraining, TrainingPoint

Follow = Callable[[str, str], tuple["Callable[[TrainingPoint], None]", Callable[[int, int], None]]]
"""Takes a curve's name and a title; what a training calls with each point, and after each update."""


def train_searches(run: Run, clock: StageClock, follow: Follow) -> None:
    """Train weights and logits for every seed, and keep the best search as that of the run.

    The stage's record holds, under "searches" until all are done, what each finished seed has found; at the end under
    "architecture" that of the seed taken, with "seeds" for a line about each. The weights of the seed taken are in
    `checkpoints/supernet.safetensors`.
    """
    num = run.config.num_seeds or 1
    if num == 1:
        clock.record |= _train(run, clock, follow, run.config.seed, SUPERNET, "training the supernet")
        return
    finished: list[dict[str, Any]] = clock.record.setdefault("searches", [])
    for number in range(len(finished), num):
        seed = run.config.seed + number
        title = f"training the supernet, seed {seed} ({number + 1} of {num})"
        found = _train(run, clock, follow, seed, _name(seed), title)
        finished.append({**found, "seed": seed, "derived": _derived(run, found["architecture"], seed)})
        clock.save()
        run.directory.checkpoint(_name(seed), run.checkpoint_seconds).remove()
        run.progress.note(
            f"seed {seed}: derived architecture {finished[-1]['derived']['inherited_validation']:.4f} in validation"
        )
    best = max(finished, key=lambda search: _score(search["derived"]))
    run.save_weights(SUPERNET, run.weights(_name(best["seed"])))
    clock.record["architecture"] = {
        **best["architecture"],
        "seed": best["seed"],
        "seeds": [{"seed": search["seed"], **search["derived"]} for search in finished],
    }
    clock.record["counts"] = best["counts"]
    del clock.record["searches"]


def forget_searches(run: Run) -> None:
    """Delete what the trainings of the stage have left: checkpoints, and the weights of every seed."""
    for number in range(run.config.num_seeds or 1):
        name = _name(run.config.seed + number)
        run.directory.checkpoint(name, run.checkpoint_seconds).remove()
        run.directory.weights_path(name).unlink(missing_ok=True)
    run.directory.checkpoint(SUPERNET, run.checkpoint_seconds).remove()


def _name(seed: int) -> str:
    """Of a seed's training, where there are several."""
    return f"{SUPERNET}-seed{seed}"


def _train(
    run: Run, clock: StageClock, follow: Follow, seed: int, name: str, title: str
) -> dict[str, dict[str, Any]]:
    """One search, from its last checkpoint on; its logits and signals, and the counts of its candidates."""
    from onepath.train import CandidateCounts, train_relaxed

    relaxed = METHODS[run.config.method].relaxed
    assert relaxed is not None, "the method trains logits"
    supernet, counts = _blank(run, seed), CandidateCounts()
    architecture = relaxed(run, supernet, seed)
    architecture.on_epoch = _keeping_history(clock, architecture)
    on_point, on_update = follow(name, title)
    train_relaxed(
        supernet,
        run.task,
        architecture,
        seed=int(generator(seed, "train").integers(2**31)),
        recipe=run.recipe(retrain=False),
        device=run.config.train_on,
        checkpoint=run.directory.checkpoint(name, run.checkpoint_seconds),
        on_point=on_point,
        on_update=on_update,
        counts=counts,
    )
    run.save_weights(name, supernet.state_dict())
    return {"architecture": architecture_record(architecture), "counts": counts.state_dict()}


def _blank(run: Run, seed: int) -> Supernet:
    """The supernet with the initial weights of a seed."""
    return build_supernet(run.config.model_copy(update={"seed": seed}), run.facts)


def _keeping_history(
    clock: StageClock, architecture: ArchitectureTraining
) -> Callable[[ArchitecturePoint], None]:
    """Keep logits and signals after every epoch, so that a report of an unfinished run shows them.

    A run that was killed makes the epochs behind its last checkpoint again, with the same signals.
    """

    def keep(_: ArchitecturePoint) -> None:
        clock.record["architecture"] = architecture_record(architecture)
        clock.save()

    return keep


def _derived(run: Run, record: dict[str, Any], seed: int) -> dict[str, Any]:
    """A seed's line of the report: its architecture within the limits, with the weights of its own search."""
    from onepath.methods import derive_within
    from onepath.runs.relaxed import rule_of, trained_relaxation

    supernet = _blank(run, seed)
    relaxation = trained_relaxation(run.config, supernet, record["logits"])
    architecture = derive_within(
        relaxation, run.feasible.limits, seed=algorithm_seed(run, 0), rule=rule_of(run.config)
    )
    supernet.load_state_dict(run.weights(_name(seed)))
    estimate = inherited_estimator(run, supernet.eval()).estimate(architecture)
    macs, params = run.cost(architecture)
    last = record["points"][-1]
    return {
        "architecture": run.blank.space.format(architecture),
        "inherited_validation": estimate.accuracy,
        "loss": estimate.loss if math.isfinite(estimate.loss) else None,
        "macs": macs,
        "params": params,
        "entropy": last["entropy"],
        "num_skips": last["num_skips"],
        "stopped": record["stopped"],
    }


def _score(derived: dict[str, Any]) -> tuple[float, float]:
    """Higher is better; of equal ones `max` takes the first."""
    loss = derived["loss"]
    return derived["inherited_validation"], -math.inf if loss is None else -loss
