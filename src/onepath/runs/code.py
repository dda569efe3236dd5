"""Code of the user's own in a run: a run directory may confirm the code that its reader names, but choose none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, RunDirectoryError, shown
from onepath.own_code import is_own, is_same, source_digest, unnamed_code
from onepath.runs.config import RunConfig
from onepath.runs.making import absolute

CODE = ("space", "device", "method")
"""Options that may name code of the user's own."""


def confirmed(
    config: RunConfig,
    path: Path,
    space: str | None = None,
    device: str | None = None,
    facts: Mapping[str, Any] | None = None,
    method: str | None = None,
) -> RunConfig:
    """The configuration of a run directory, which may confirm the code that its reader names, but choose none.

    Args:
        config: as the directory has it.
        path: the directory, for messages.
        space: that the caller has named; None for none.
        device: likewise.
        facts: of the run; a file that has moved with its source unchanged is the same by them.
        method: likewise.

    Raises:
        ConfigurationError: the configuration names code of the user's own that the caller has not named, or the caller
            has named another one.
    """
    taken = {}
    for name, given in (("space", space), ("device", device), ("method", method)):
        stored = getattr(config, name)
        if given is None:
            if is_own(stored):
                raise unnamed_code(path, name, str(stored))
        elif stored is None or not same_code(name, stored, absolute(given) or given, facts or {}):
            raise ConfigurationError(
                f"{name} must be the one that the run began with, but got {shown(given)} and {path} has "
                f"{shown(stored)}; give that one"
            )
        elif is_own(given):
            taken[name] = absolute(given) or given
    return config.model_copy(update=taken)


def same_code(name: str, stored: str, given: str, facts: Mapping[str, Any]) -> bool:
    """Whether a space, device or method of a run is the one given: by its path, or by its source where it has moved."""
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
    """Option -> digest of the user's own code that it names, for those whose files are there."""
    found = {name: source_digest(getattr(config, name)) for name in CODE if is_own(getattr(config, name))}
    return {name: digest for name, digest in found.items() if digest is not None}


def check_sources(config: RunConfig, facts: Mapping[str, Any]) -> None:
    """Raise RunDirectoryError where the user's own code is not the one that the run began with."""
    for name, digest in sources(config).items():
        if facts.get("sources", {}).get(name, digest) != digest:
            raise RunDirectoryError(
                f"a run continues with the {name} it began with, but the code of {getattr(config, name)} has changed "
                "since; undo that, give another --out, or start over with --fresh"
            )
