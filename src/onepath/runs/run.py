"""`run`: from labelled data to a deployable model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.record.directory import RESULT
from onepath.runs.continuing import continued_config
from onepath.runs.definition import READING, Given
from onepath.runs.making import make_config, option_fields
from onepath.runs.opened import Run
from onepath.runs.progress import Progress
from onepath.runs.result import Result
from onepath.runs.stages import run_all


def run(
    data: Any = None,
    *,
    test_data: Any = None,
    space: Any = None,
    out: str | Path | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    checkpoint_seconds: float = 20.0,
    **options: Any,
) -> Result:
    """Train a supernet, search it under the limits, finish the winner and a random baseline, export and report.

    After an interruption or a kill, call it again with the same arguments, or with `out` alone: it continues where it
    stopped and ends with the same result. A finished run returns at once. Arguments besides `out` must be the same as
    when the run began.

    Args:
        data: Anything that `load_data` reads, or a task; None takes the data of the run in `out`, else the bundled
            digits.
        test_data: The test set, if it is not part of `data`.
        space: The name of a ready-made space, path/to/file.py:function, a function that returns a module, a module with
            choices, or a supernet; the present weights of a module or supernet are the initial ones. None takes the
            method's space.
        out: The run directory; None takes `runs/<data>-<space>-<method>`.
        fresh: Whether an old run in `out` is deleted first.
        progress: Where to tell how far the run is; None tells nothing.
        checkpoint_seconds: Seconds between two saves of an unfinished training.
        options: Every other option of `onepath run`, the method's included; counts may be written as "30M".

    Returns:
        The finished run.

    Raises:
        ConfigurationError: an option is wrong.
        DataError: the data cannot be read or learned from.
        InfeasibleError: no architecture meets the limits.
        RunDirectoryError: `out` cannot be written, is in use, or holds a run of another configuration or data.
    """
    given: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value for name, value in options.items()
    }
    if test_data is not None and not isinstance(test_data, str | Path):
        from onepath.data import load_data

        reading = {name: given[name] for name in READING if given.get(name) is not None}
        data, test_data = load_data("digits" if data is None else data, test=test_data, **reading), None
    objects = Given(
        *(None if value is None or isinstance(value, str | Path) else value for value in (data, space))
    )
    if objects.data is not None:
        data = GIVEN_IN_PYTHON + str(getattr(data, "name", "arrays"))
    if objects.space is not None:
        space = GIVEN_IN_PYTHON + _name_of(space)
    if options.get("method") is not None and not isinstance(options["method"], type | str):
        raise ConfigurationError(
            f"method must be a name, path/to/file.py:Class or a subclass of Method, but got "
            f"{type(options['method']).__name__}; give one of these"
        )
    named = {"data": data, "test_data": test_data, "space": space, "out": out}
    given |= {name: str(value) for name, value in named.items() if value is not None}
    config = make_config(given) if fresh else continued_config(given)
    with Run(
        config, given=objects, fresh=fresh, progress=progress, checkpoint_seconds=checkpoint_seconds
    ) as opened:
        return finish(opened)


def _name_of(space: object) -> str:
    """Return the name of a function, or of the class of a module, for the name of the run directory."""
    module = getattr(space, "module", space)
    return str(getattr(space, "__name__", type(module).__name__))


def _signature(function: Any) -> inspect.Signature:
    """Return the signature of a function with every option of a run as a keyword-only parameter."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    names = {each.name for each in own}
    fields: Mapping[str, Any] = option_fields()
    own += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.get_default())
        for name, field in fields.items()
        if name not in names
    ]
    return signature.replace(parameters=own)


run.__signature__ = _signature(run)  # type: ignore[attr-defined]


def finish(opened: Run) -> Result:
    """Do what is left of an open run, and return its result."""
    run_all(opened)
    result = opened.directory.read_json(RESULT)
    assert result is not None, "the stage report writes it"
    own = opened.config.space, type(opened.config.options), opened.objects
    return Result(opened.directory.path, result, *own)
