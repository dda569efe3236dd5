"""`onepath score`: random architectures of a space under limits, scored without training and ranked."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from onepath.cost import Constraint
from onepath.errors import ConfigurationError
from onepath.estimate import mean_ranks, score_definition
from onepath.randomness import generator
from onepath.record import atomic_write_json, atomic_write_text
from onepath.report.scores import scores_page
from onepath.runs import Progress, SilentProgress
from onepath.search import FeasibleSet, RandomSearch
from onepath.space import Architecture
from onepath.studies.untrained import UntrainedSpace


def score_space(
    space: UntrainedSpace,
    names: Sequence[str],
    num: int,
    page: Path,
    *,
    title: str,
    constraints: Sequence[Constraint] = (),
    weights: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Draw architectures, score their stand-alone networks with fresh weights, and rank them.

    Under one limit the architectures are drawn exactly uniformly from those that meet it. Scores are stored beside the
    page as soon as they are computed, so that after a kill the same call continues. A call for more architectures
    begins with the architectures of a call for fewer. Degenerate networks are scored again, because their reasons are
    not stored.

    Args:
        space: space whose networks are scored, with the batch; its seed also draws the architectures.
        names: names of the scores, see `onepath.estimate.SCORES`.
        num: number of distinct architectures; fewer if the space has fewer within the limits.
        page: path of the .html to write; a .json and a .sqlite of the scores are written beside it.
        title: title of the page.
        constraints: hard limits that all architectures meet.
        weights: name of a score -> its weight in the mean rank, above 0; 1 for a score that is not given.
        progress: shows the progress; None shows nothing.

    Returns:
        "networks", the best mean rank first, each with "architecture", "macs", "params", "scores" (None where the
        network is degenerate), "reasons" and "mean_rank"; "num_degenerate": name of a score -> number of degenerate
        networks; "weights", "limits", "num", "seconds", "batch", "seed", "files".

    Raises:
        ConfigurationError: a score does not exist or reads data and there are none, or a weight does not fit.
        InfeasibleError: no architecture meets the limits.
    """
    names = [score_definition(name).name for name in dict.fromkeys(names)]
    chosen_weights = _weights(names, weights)
    space.check_names(names)
    shown = SilentProgress() if progress is None else progress
    architectures = _draw(space.feasible(constraints), num, space.seed)
    began = time.perf_counter()
    found = space.scores(names, architectures, page.with_suffix(".sqlite"), shown, gives_reasons=True)
    seconds = time.perf_counter() - began
    ranks = mean_ranks({name: [row[name].value for row in found] for name in names}, chosen_weights)
    costs = space.costs(architectures, shown.note)
    rows: list[dict[str, Any]] = [
        {
            "architecture": str(architecture),
            **{name: int(values[i]) for name, values in costs.items()},
            "scores": {name: _finite(score.value) for name, score in found[i].items()},
            "reasons": {name: score.reason for name, score in found[i].items() if score.is_degenerate},
            "mean_rank": ranks[i],
        }
        for i, architecture in enumerate(architectures)
    ]
    rows.sort(key=lambda row: -row["mean_rank"])
    result = {
        "num": len(rows),
        "networks": rows,
        "num_degenerate": {name: sum(name in row["reasons"] for row in rows) for name in names},
        "weights": chosen_weights,
        "limits": {limit.name: limit.maximum for limit in constraints},
        "batch": space.source,
        "seed": space.seed,
    }
    atomic_write_text(page, scores_page(title, result))
    atomic_write_json(page.with_suffix(".json"), result)
    files = {"page": str(page), "json": str(page.with_suffix(".json"))}
    return {**result, "seconds": seconds, "files": files}


def check_device(device: str) -> None:
    """Raise ConfigurationError unless the device is "cpu", or "cuda" (with or without a number) and torch finds one."""
    if device == "cpu" or (re.fullmatch(r"cuda(:\d+)?", device) and torch.cuda.is_available()):
        return
    there = "cpu or cuda" if torch.cuda.is_available() else "cpu, as torch finds no CUDA device"
    raise ConfigurationError(f"a device must be {there}, but got {device!r}; change it")


def _draw(feasible: FeasibleSet, num: int, seed: int) -> list[Architecture]:
    """Draw distinct random architectures within the limits; a larger number begins with those of a smaller one."""
    search = RandomSearch(feasible.space, int(generator(seed, "scored").integers(2**31)), num, batch=50)
    found: list[Architecture] = []
    while proposals := search.ask(feasible):
        found += [proposal.architecture for proposal in proposals]
        search.tell(found[-len(proposals) :], [0.0] * len(proposals))
    return found


def _weights(names: Sequence[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    given = dict(weights or {})
    unknown = [name for name in given if name not in names]
    if unknown or any(not 0 < weight < math.inf for weight in given.values()):
        raise ConfigurationError(
            f"a weight must be above 0 and of one of the scores {', '.join(names)}, but got "
            f"{', '.join(f'{name}={weight:g}' for name, weight in given.items())}; change it"
        )
    return {name: float(given.get(name, 1.0)) for name in names}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
