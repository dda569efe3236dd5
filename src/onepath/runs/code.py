"""Code of the user's own in a run: a run directory may confirm the code that the caller names, but not choose it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, RunDirectoryError, shown
from onepath.own_code import is_own, is_same, source_digest, unnamed_code
from onepath.runs.config import RunConfig
from onepath.runs.making import absolute

CODE = ("space", "device", "method")
"""Names of the options that may name code of the user's own."""


def confirmed(
    config: RunConfig,
    path: Path,
    space: str | None = None,
    device: str | None = None,
    facts: Mapping[str, Any] | None = None,
    method: str | None = None,
) -> RunConfig:
    """Return the configuration of a run directory, if the caller has named every code of the user's own in it.

    Args:
        config: configuration that the directory holds.
        path: path of the run directory, for messages.
        space: space that the caller has named; None for none.
        device: device that the caller has named; None for none.
        facts: facts about the run; with them, a file that has moved and whose source is unchanged counts as the same.
        method: method that the caller has named; None for none.

    Raises:
        ConfigurationError: the configuration names code of the user's own that the caller has not named, or the caller
            has named another space, device or method than the configuration.
    """
    taken = {}
    for name, given in (("space", space), ("device", device), ("method", method)):
        stored = getattr(config, name)
        if given is None:
            if is_own(stored):
                shown_as = "model" if name == "space" and config.model is not None else name
                raise unnamed_code(path, shown_as, str(stored))
        elif stored is None or not same_code(name, stored, absolute(given) or given, facts or {}):
            shown_as = "model" if name == "space" and config.model is not None else name
            raise ConfigurationError(
                f"{shown_as} must be the one that the run began with, but got {shown(given)} and {path} has "
                f"{shown(stored)}; give that one"
            )
        elif is_own(given):
            taken[name] = absolute(given) or given
    return config.model_copy(update=taken)


def same_code(name: str, stored: str, given: str, facts: Mapping[str, Any]) -> bool:
    """Whether the code of a run is the code given: of the same path, or of the same source if the file has moved.

    Args:
        name: option name, one of `CODE` or "model".
        stored: code as the run stores it.
        given: code as the caller names it.
        facts: facts about the run, with the digests of its code under "sources".
    """
    if is_same(stored, given):
        return True
    digest = facts.get("sources", {}).get("space" if name == "model" else name)
    same_name = stored.rpartition(":")[2] == given.rpartition(":")[2]
    return (
        digest is not None
        and same_name
        and is_own(stored)
        and is_own(given)
        and source_digest(given) == digest
    )


def sources(config: RunConfig) -> dict[str, str]:
    """Return option name -> digest of the user's own code that the option names, for the files that exist."""
    found = {name: source_digest(getattr(config, name)) for name in CODE if is_own(getattr(config, name))}
    return {name: digest for name, digest in found.items() if digest is not None}


def check_sources(config: RunConfig, facts: Mapping[str, Any]) -> None:
    """Raise RunDirectoryError if code of the user's own has changed since the run began.

    Args:
        config: the options of the run.
        facts: facts about the run, with the digests of its code under "sources".
    """
    for name, digest in sources(config).items():
        if facts.get("sources", {}).get(name, digest) != digest:
            raise RunDirectoryError(
                f"a run continues with the {name} it began with, but the code of {getattr(config, name)} has changed "
                "since; undo that, give another --out, or start over with --fresh"
            )
