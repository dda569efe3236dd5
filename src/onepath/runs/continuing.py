"""The configuration that a run directory continues with: the given options, over those that the run began with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.methods import find_method
from onepath.own_code import is_own
from onepath.record.directory import CONFIG, read_config
from onepath.runs.code import CODE, confirmed
from onepath.runs.config import RunConfig
from onepath.runs.making import differences, make_config, read_stored


def continued_config(given: Mapping[str, Any]) -> RunConfig:
    """Return the configuration asked for: the given options, completed by those of the run in `out` if there is one.

    So `out` alone continues a run. When the run is opened, the given options are compared with those of the directory.

    Args:
        given: option name -> value, for the options that were given.

    Raises:
        ConfigurationError: an option is wrong, or the directory names code of the user's own that was not given again.
        RunDirectoryError: the given options do not fit the run in the directory.
    """
    path = Path(given.get("out") or "").expanduser()
    if given.get("out") is None or not os.path.isfile(path / CONFIG):  # false for an invalid path
        return make_config(given)
    kind = None if given.get("method") is None else find_method(given["method"])
    began = read_stored(read_config(path) or {}, path, kind)
    if began.model is not None:  # a run stores the model under both names
        model = given.get("model", given.get("space"))
        given = {**given, **({} if model is None else {"model": model, "space": model})}
    if any(name not in given and is_own(getattr(began, name)) for name in CODE):
        method = began.method if isinstance(given.get("method"), type) else given.get("method")
        confirmed(began, path, given.get("space"), given.get("device"), method=method)
    try:
        return make_config({**began.as_dict(), **given}, kind)
    except ConfigurationError as error:
        # An option that is wrong by itself raises its own error here.
        asked = make_config(given).as_dict()
        names = [name for name in given if name in asked]
        changed = differences(
            {name: began.as_dict().get(name) for name in names}, {n: asked[n] for n in names}
        )
        raise _another(path, changed) from error


def _another(path: Path, changed: Sequence[str]) -> RunDirectoryError:
    return RunDirectoryError(
        f"a run continues with the configuration it began with, but {path} has another ({'; '.join(changed)}); "
        "leave these out, give another --out, or start over with --fresh"
    )
