"""`onepath score`: random architectures of a space under limits, scored without training and ranked."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError
from onepath.randomness import generator
from onepath.record import EstimateStore, atomic_write_json, atomic_write_text
from onepath.runs.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from torch import Tensor

    from onepath.cost import Constraint
    from onepath.data import Task
    from onepath.estimate import Score
    from onepath.nn import Supernet
    from onepath.space import Architecture


def score_space(
    supernet: Supernet,
    names: Sequence[str],
    num: int,
    page: Path,
    *,
    input_shape: Sequence[int],
    title: str,
    data: Task | None = None,
    batch_size: int = 64,
    constraints: Sequence[Constraint] = (),
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Draw architectures, score their stand-alone networks with fresh weights, and rank them.

    Under one limit the architectures are drawn exactly uniformly from those that meet it. Scores are kept beside the
    page as they come, so that the same call continues, and one of more architectures begins with those of fewer; what
    is degenerate is scored again, for its reason.

    Args:
        supernet: says what network an architecture is; its weights are not used.
        names: of the scores.
        num: architectures, distinct; fewer where the space has fewer within the limits.
        page: the .html to write; a .json and a .sqlite of the scores are written beside it.
        input_shape: of one example.
        title: of the page.
        data: gives the batch; None is enough for scores that read no real data.
        batch_size: examples in the batch.
        constraints: hard limits.
        weights: score -> its weight in the mean rank; equal where not given.
        seed: of the architectures, the fresh weights, the batch and the scores.
        device: where to run.
        progress: where to tell.

    Returns:
        "networks", the best mean rank first: "architecture", "macs", "params", "scores" (None for a degenerate one),
        "reasons" and "mean_rank"; "num_degenerate": score -> how many; "weights", "num", "seconds", "batch", "files".

    Raises:
        ConfigurationError: a score, a weight or a device that does not fit, or data are missing.
        InfeasibleError: no architecture meets the limits.
    """
    from onepath.cost import counter
    from onepath.cost.architecture import name_uncounted
    from onepath.estimate import mean_ranks, score_definition
    from onepath.report.scores import scores_page

    names = [score_definition(name).name for name in dict.fromkeys(names)]
    shape = tuple(int(size) for size in input_shape)
    chosen_weights = _weights(names, weights)
    check_device(device)
    batch = _batch(names, shape, data, batch_size, seed)
    architectures = _draw(supernet, shape, constraints, num, seed)
    source = (
        f"{len(batch[0])} training images of {data.name}"
        if data is not None
        else f"{len(batch[0])} random inputs"
    )
    setting = (
        f"{supernet.space.fingerprint} {sum(p.numel() for p in supernet.parameters())} {'x'.join(map(str, shape))}, "
        f"batch {batch_size} of {data.fingerprint if data else 'noise'}, seed {seed}"
    )
    began = time.perf_counter()
    with EstimateStore(page.with_suffix(".sqlite")) as store:
        found = _score(
            supernet,
            names,
            architectures,
            (batch[0].to(device), None if batch[1] is None else batch[1].to(device)),
            (store, setting),
            (seed, None if data is None else data.loss),
            SilentProgress() if progress is None else progress,
        )
    seconds = time.perf_counter() - began
    values = {name: [row[name].value for row in found] for name in names}
    matrix = supernet.space.matrix(architectures)
    shown = SilentProgress() if progress is None else progress

    def say(uncounted: Mapping[str, str]) -> None:
        shown.note(f"MACs leave out what has no counter: {name_uncounted(uncounted)}")

    macs, params = (
        counter(supernet, shape, kind, on_uncounted=say)[0](matrix).tolist() for kind in ("macs", "params")
    )
    rows: list[dict[str, Any]] = [
        {
            "architecture": str(architecture),
            "macs": int(macs[i]),
            "params": int(params[i]),
            "scores": {name: _finite(found[i][name].value) for name in names},
            "reasons": {name: score.reason for name, score in found[i].items() if score.is_degenerate},
            "mean_rank": rank,
        }
        for i, (architecture, rank) in enumerate(
            zip(architectures, mean_ranks(values, chosen_weights), strict=True)
        )
    ]
    rows.sort(key=lambda row: -row["mean_rank"])
    result = {
        "num": len(rows),
        "networks": rows,
        "num_degenerate": {name: sum(name in row["reasons"] for row in rows) for name in names},
        "weights": chosen_weights,
        "limits": {limit.name: limit.maximum for limit in constraints},
        "batch": source,
        "seed": seed,
    }
    atomic_write_text(page, scores_page(title, result))
    atomic_write_json(page.with_suffix(".json"), result)
    files = {"page": str(page), "json": str(page.with_suffix(".json"))}
    return {**result, "seconds": seconds, "files": files}


def _draw(
    supernet: Supernet, shape: tuple[int, ...], constraints: Sequence[Constraint], num: int, seed: int
) -> list[Architecture]:
    """Distinct random architectures within the limits; more of them begin with fewer."""
    from onepath.methods import feasible_set
    from onepath.search import RandomSearch

    feasible = feasible_set(supernet, shape, constraints)
    search = RandomSearch(supernet.space, int(generator(seed, "scored").integers(2**31)), num, batch=50)
    found: list[Architecture] = []
    while proposals := search.ask(feasible):
        found += [proposal.architecture for proposal in proposals]
        search.tell(found[-len(proposals) :], [0.0] * len(proposals))
    return found


def _score(
    supernet: Supernet,
    names: Sequence[str],
    architectures: Sequence[Architecture],
    batch: tuple[Tensor, Tensor | None],
    kept: tuple[EstimateStore, str],
    how: tuple[int, Any],
    progress: Progress,
) -> list[dict[str, Score]]:
    """The scores of each architecture, stored ones first; those of one network are computed together."""
    from onepath.estimate import Score, scores

    (store, setting), (seed, loss) = kept, how
    known = {name: store.read(f"{setting}, {name}") for name in names}
    rows: list[dict[str, Score]] = []
    progress.begin("scoring", len(architectures))
    num_degenerate = 0
    try:
        for architecture in architectures:
            text, row = str(architecture), {}
            for name in names:
                value = known[name].get(text, {}).get("score")
                if value is not None:
                    row[name] = Score(value, None, 0.0)
            missing = [name for name in names if name not in row]
            if missing:
                model = supernet.extract(architecture, inherit=False, seed=seed).to(batch[0].device)
                new = scores(missing, model, batch[0], batch[1], seed=seed, loss=loss)
                for name, score in new.items():
                    store.put(f"{setting}, {name}", text, {"score": score.value}, score.seconds)
                row |= new
            num_degenerate += any(score.is_degenerate for score in row.values())
            rows.append({name: row[name] for name in names})
            progress.advance(len(rows), f"{num_degenerate} degenerate" if num_degenerate else "")
    finally:
        progress.finish()
    return rows


def check_device(device: str) -> None:
    """Raise ConfigurationError unless torch has the device: cpu, or cuda where there is one."""
    import torch

    if device == "cpu" or (re.fullmatch(r"cuda(:\d+)?", device) and torch.cuda.is_available()):
        return
    there = "cpu or cuda" if torch.cuda.is_available() else "cpu, as torch finds no CUDA device"
    raise ConfigurationError(f"a device must be {there}, but got {device!r}; change it")


def _weights(names: Sequence[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    given = dict(weights or {})
    unknown = [name for name in given if name not in names]
    if unknown or any(not 0 < weight < math.inf for weight in given.values()):
        raise ConfigurationError(
            f"a weight must be above 0 and of one of the scores {', '.join(names)}, but got "
            f"{', '.join(f'{name}={weight:g}' for name, weight in given.items())}; change it"
        )
    return {name: float(given.get(name, 1.0)) for name in names}


def _batch(
    names: Sequence[str], shape: tuple[int, ...], data: Task | None, batch_size: int, seed: int
) -> tuple[Tensor, Tensor | None]:
    """Real examples and their labels, or noise where no score reads more than the shape."""
    import torch

    from onepath.estimate import score_definition

    if data is not None:
        inputs, targets = next(iter(data.batches("train", batch_size, num_examples=batch_size, seed=seed)))
        return inputs, targets
    reading = [name for name in names if {"inputs", "labels"} & set(score_definition(name).needs)]
    if reading:
        raise ConfigurationError(f"{reading[0]} reads real examples, but none came; give --data")
    return torch.randn(batch_size, *shape, generator=torch.Generator().manual_seed(seed)), None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
