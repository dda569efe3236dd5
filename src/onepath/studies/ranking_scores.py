"""`onepath rank --proxy`: how well scores of untrained networks rank those whose accuracy is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onepath.errors import ConfigurationError
from onepath.randomness import generator
from onepath.record import EstimateStore, atomic_write_json, atomic_write_text
from onepath.runs.progress import Progress, SilentProgress
from onepath.studies.ranking_study import RankOptions, make_study, row_notes

if TYPE_CHECKING:
    from torch import Tensor

    from onepath.cost import Constraint
    from onepath.data import Task
    from onepath.estimate import Networks
    from onepath.nn import Supernet


def rank_scores(
    supernet: Supernet,
    names: Sequence[str],
    table: Path,
    page: Path,
    options: RankOptions,
    *,
    input_shape: Sequence[int],
    data: Task | None = None,
    batch_size: int = 64,
    constraints: Sequence[Constraint] = (),
    accuracy_column: str | None = None,
    architecture_column: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score random rows of a table and compare; each row's scores are kept beside the page as they come.

    Args:
        supernet: says what network a row is; its weights are not used.
        names: of the scores, see `onepath.estimate.SCORES`.
        table: the truth, see `TableEstimator`.
        page: the .html to write; a .json and a .sqlite of the scores are written beside it.
        options: the number of rows, resamples and the seed, also of the fresh weights.
        input_shape: of one example.
        data: gives the batch; None is enough for scores that need no real data.
        batch_size: examples in the batch.
        constraints: only rows that meet them.
        accuracy_column: of the table.
        architecture_column: of the table.
        device: where to run.
        progress: where to tell.

    Returns:
        The study's JSON values, and "files".

    Raises:
        ConfigurationError: a score that does not exist or needs data where there are none, or no row is left.
        DataError: the table does not fit the space.
    """
    from onepath.cost import counter
    from onepath.cost.architecture import name_uncounted
    from onepath.estimate import TableEstimator, one_row_per_network
    from onepath.report.study_pages import ranking_page

    shape = tuple(int(size) for size in input_shape)
    inputs, targets = _batch(names, shape, data, batch_size, options.seed)
    found = TableEstimator(
        supernet.space, table, accuracy_column=accuracy_column, architecture_column=architecture_column
    )
    networks = one_row_per_network(found.architectures, found.accuracies)
    if constraints:
        matrix = supernet.space.matrix(networks.architectures)
        bound = [constraint.bind(supernet, shape) for constraint in constraints]
        kept = [np.asarray(limit.costs(matrix), dtype=np.float64) <= limit.maximum for limit in bound]
        networks = networks.where([all(row) for row in zip(*kept, strict=True)])
    networks = networks.draw(options.num, generator(options.seed, "ranked rows"))
    setting = (
        f"{supernet.space.fingerprint} {sum(p.numel() for p in supernet.parameters())} {'x'.join(map(str, shape))}, "
        f"batch {batch_size} of {data.fingerprint if data else 'noise'}, seed {options.seed}"
    )
    shown = SilentProgress() if progress is None else progress
    with EstimateStore(page.with_suffix(".sqlite")) as store:
        seconds = _score(
            supernet,
            names,
            networks,
            (inputs.to(device), None if targets is None else targets.to(device)),
            store,
            setting,
            options.seed,
            shown,
        )
        values = {name: _column(store, setting, name, networks) for name in names}
    matrix = supernet.space.matrix(networks.architectures)
    uncounted: dict[str, str] = {}
    costs = {
        kind: counter(supernet, shape, kind, on_uncounted=uncounted.update)[0](matrix).astype(float).tolist()
        for kind in ("macs", "params")
    }
    source = (
        f"{len(inputs)} training images of {data.name}"
        if data is not None
        else f"{len(inputs)} random inputs"
    )
    notes = [*row_notes(networks, table.name), f"Each score is of fresh weights and one batch: {source}."]
    if uncounted:
        notes.append(f"MACs leave out what has no counter: {name_uncounted(uncounted)}.")
    title = f"Scores without training against {table.name}"
    study = make_study(
        title, f"{found.accuracy_column} of {table.name}", notes, networks, values, costs, options
    )
    atomic_write_text(page, ranking_page([study]))
    files = {"page": str(page), "json": str(page.with_suffix(".json"))}
    atomic_write_json(page.with_suffix(".json"), asdict(study))
    return {**asdict(study), "seconds": seconds, "files": files}


def _score(
    supernet: Supernet,
    names: Sequence[str],
    networks: Networks,
    batch: tuple[Tensor, Tensor | None],
    store: EstimateStore,
    setting: str,
    seed: int,
    progress: Progress,
) -> dict[str, float]:
    """Score what is not stored, the scores of a network together; mean seconds of each score, as far as made now."""
    from onepath.estimate import scores

    known = {name: store.read(f"{setting}, {name}") for name in names}
    total: dict[str, list[float]] = {name: [] for name in names}
    progress.begin("scoring", len(networks))
    try:
        for place, architecture in enumerate(networks.architectures, 1):
            text = str(architecture)
            missing = [name for name in names if text not in known[name]]
            if missing:
                model = supernet.extract(architecture, inherit=False, seed=seed).to(batch[0].device)
                found = scores(missing, model, batch[0], batch[1], seed=seed)
                for name, score in found.items():
                    store.put(f"{setting}, {name}", text, {"score": score.value}, score.seconds)
                    total[name].append(score.seconds)
            progress.advance(place)
    finally:
        progress.finish()
    return {name: sum(seconds) / len(seconds) for name, seconds in total.items() if seconds}


def _column(store: EstimateStore, setting: str, name: str, networks: Networks) -> list[float]:
    known: Mapping[str, Mapping[str, float | None]] = store.read(f"{setting}, {name}")
    values = [known[str(architecture)]["score"] for architecture in networks.architectures]
    return [float("-inf") if value is None else value for value in values]


def _batch(
    names: Sequence[str], shape: tuple[int, ...], data: Task | None, batch_size: int, seed: int
) -> tuple[Tensor, Tensor | None]:
    """Real examples and their labels, or noise where no score reads more than the shape."""
    import torch

    from onepath.estimate import score_definition

    reading = [name for name in names if {"inputs", "labels"} & set(score_definition(name).needs)]
    if data is not None:
        inputs, targets = next(iter(data.batches("train", batch_size, num_examples=batch_size, seed=seed)))
        return inputs, targets
    if reading:
        raise ConfigurationError(f"{reading[0]} reads real examples, but none came; give --data")
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch_size, *shape, generator=rng), None
