"""What a run directory goes on with: the options given, over those it began with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.own_code import is_own, unnamed_code
from onepath.pipeline.config import RunConfig, differences, make_config
from onepath.pipeline.resolving import CODE
from onepath.record.directory import CONFIG, read_config

_FIRST = ("data", "space", "method")


def continued_config(given: Mapping[str, Any]) -> RunConfig:
    """The configuration asked for: what is given, and where `out` is a run directory its own options for the rest.

    So `out` alone continues a run. What is given besides is compared with the directory's when the run is opened.

    Args:
        given: option name -> value; only what was given.

    Raises:
        ConfigurationError: an option is wrong, or the directory names code of one's own that was not given again.
        RunDirectoryError: what is given does not fit the run in the directory.
    """
    path = Path(given.get("out") or "").expanduser()
    if given.get("out") is None or not os.path.isfile(path / CONFIG):  # false for what is no path
        return make_config(given)
    stored = read_config(path) or {}
    for name in CODE:
        if name not in given and is_own(stored.get(name)):
            raise unnamed_code(path, name, stored[name])
    try:
        config = make_config({**stored, **given})
    except ConfigurationError as error:
        changed = _changed(stored, make_config(given), given)  # what is wrong by itself is said so
        if not changed:
            raise RunDirectoryError(
                f"{path} must hold a configuration of this onepath, but {error}"
            ) from error
        raise _another(path, changed) from error
    # Of what the rest follows from, other values would cost time before they are refused.
    plain = [name for name in _FIRST if name in given and not is_own(stored.get(name))]
    if any(getattr(config, name) != stored.get(name) for name in plain):
        raise _another(path, _changed(stored, config, given))
    return config


def _changed(stored: Mapping[str, Any], config: RunConfig, given: Mapping[str, Any]) -> list[str]:
    """What is given and differs, but for numbers of images, which a run cuts to those there are."""
    names = [name for name in given if name in stored and not name.endswith("_images")]
    asked = config.model_dump(mode="json", include=set(names))
    return differences({name: stored[name] for name in names}, asked)


def _another(path: Path, changed: Sequence[str]) -> RunDirectoryError:
    return RunDirectoryError(
        f"a run continues with the configuration it began with, but {path} has another ({'; '.join(changed)}); "
        "leave these out, give another --out, or start over with --fresh"
    )
