"""What a run directory goes on with: the options given, over those it began with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, RunDirectoryError, shown
from onepath.own_code import chooses_code
from onepath.pipeline.config import RunConfig, differences, make_config
from onepath.record.directory import CONFIG, read_config


def continued_config(given: Mapping[str, Any]) -> RunConfig:
    """The configuration asked for: what is given, and where `out` is a run directory its own options for the rest.

    So `out` alone continues a run. What is given besides is compared with the directory's when the run is opened.

    Args:
        given: option name -> value; only what was given.

    Raises:
        ConfigurationError: an option is wrong, or the directory names code of one's own that was not given again.
        RunDirectoryError: what is given does not fit the run in the directory.
    """
    path = Path(given.get("out") or "")
    if given.get("out") is None or not os.path.isfile(path / CONFIG):  # false for what is no path
        return make_config(given)
    stored = read_config(path) or {}
    for name in ("space", "device"):
        if name not in given and chooses_code(stored.get(name)):
            raise needs_code(path, name, str(stored[name]), f"--{name} {shown(stored[name])}")
    try:
        return make_config({**stored, **given})
    except ConfigurationError as error:
        asked = make_config(given).model_dump(mode="json")  # what is wrong by itself is said so
        changed = differences(stored, {**stored, **{name: asked[name] for name in given}})
        if not changed:
            raise RunDirectoryError(
                f"{path} must hold a configuration of this onepath, but {error}"
            ) from error
        raise RunDirectoryError(
            f"a run continues with the configuration it began with, but {path} has another ({'; '.join(changed)}); "
            "leave these out, give another --out, or start over with --fresh"
        ) from error


def needs_code(path: Path, name: str, code: str, how: str) -> ConfigurationError:
    """The one line where a run directory names code that only its user may choose."""
    return ConfigurationError(
        f"the {name} of {path} is code of your own, {shown(code)}, which a file may not choose; read that code, and "
        f"give it again: {how}"
    )
