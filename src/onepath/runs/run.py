"""`run`: from labelled images to a deployable model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from onepath.runs.config import make_config
from onepath.runs.opened import Run
from onepath.runs.continuing import continued_config
from onepath.runs.definition import READING
from onepath.runs.progress import Progress
from onepath.runs.resolving import GIVEN_IN_PYTHON
from onepath.runs.result import Result
from onepath.runs.stages import run_all
from onepath.record.directory import RESULT


class RunOptions(TypedDict, total=False):
    """The options of `run` beside the data and the space; see `RunConfig`."""

    data_root: str | Path | None
    input_size: int | None
    fit: str
    channels: str | None
    kind: str | None
    space_arguments: Mapping[str, Any]
    width: float | None
    method: str
    max_macs: int | str | None
    max_params: int | str | None
    max_layers: int | None
    max_latency_ms: float | str | Sequence[float] | None
    device: str | None
    device_threads: int | None
    latency_table: str | Path | None
    sampler: str | None
    reduction: str | None
    rate: float | None
    num_ghost_batches: int | None
    prefilter: str | None
    order: str | None
    gates: str | None
    guard: str | None
    max_skips: int | None
    skip_dropout: float | None
    warmup_epochs: int | None
    num_seeds: int | None
    rule: str | None
    cost_loss: str | None
    proxy: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    retrain_epochs: int | None
    retrain_from: str
    num_baselines: int
    workers: int | None
    population: int
    generations: int
    calibration_images: int
    validation_images: int | None
    seed: int
    train_on: str
    precision: str
    compile: bool
    normalisation: str


def run(
    data: Any = None,
    *,
    test_data: Any = None,
    space: str | Path | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    checkpoint_seconds: float = 20.0,
    **options: Unpack[RunOptions],
) -> Result:
    """Train a supernet, search it under the limits, retrain the winner and a random baseline, export, report.

    Called again with the same arguments, or with `out` alone, after an interruption or a kill, it continues where it
    stopped and ends with the same result; a finished run returns at once. What is given besides `out` must be as the
    run began.

    Args:
        data: what `load_data` reads, or a task; None takes what the run in `out` began with, else the bundled digits.
        test_data: the test set, where it is not in `data`.
        space: a ready-made space, or path/to/file.py:function for a function that returns a module; None takes
            zennas for method zen, else shufflenet.
        out: the run directory; None takes `runs/<data>-<space>-<method>`.
        fresh: delete an old run in `out` first.
        progress: where to tell how far it is.
        checkpoint_seconds: time between two saves of an unfinished training.
        options: see `RunConfig`; sizes may be written as "30M".

    Returns:
        The finished run.

    Raises:
        ConfigurationError: an option is wrong.
        DataError: the data cannot be read or learned from.
        InfeasibleError: no architecture meets the limits.
        RunDirectoryError: `out` cannot be written, is in use, or holds a run of another configuration or data.
    """
    given: dict[str, Any] = dict(options)
    if test_data is not None and not isinstance(test_data, str | Path):
        from onepath.data import load_data

        reading = {name: given[name] for name in READING if given.get(name) is not None}
        data, test_data = load_data("digits" if data is None else data, test=test_data, **reading), None
    for name in ("data_root", "latency_table"):
        if given.get(name) is not None:
            given[name] = str(given[name])
    data_object = None if data is None or isinstance(data, str | Path) else data
    if data_object is not None:
        data = GIVEN_IN_PYTHON + getattr(data, "name", "arrays")
    named = {"data": data, "test_data": test_data, "space": space, "out": out}
    given |= {name: str(value) for name, value in named.items() if value is not None}
    with Run(
        make_config(given) if fresh else continued_config(given),
        data=data_object,
        fresh=fresh,
        progress=progress,
        checkpoint_seconds=checkpoint_seconds,
    ) as opened:
        return finish(opened)


def finish(opened: Run) -> Result:
    """Do what is left of a run, and read its result."""
    run_all(opened)
    result = opened.directory.read_json(RESULT)
    assert result is not None, "the stage report writes it"
    return Result(opened.directory.path, result, opened.config.space)
