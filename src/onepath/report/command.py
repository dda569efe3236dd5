"""The command that repeats a run."""

from __future__ import annotations

import math
import shlex
from typing import NamedTuple

import yaml

from onepath.record import RunRecord

_GIVEN_IN_PYTHON = "python:"


class Command(NamedTuple):
    """A command that repeats a run.

    Attributes:
        parts: the words "onepath run", then one option with its value per entry, quoted for a POSIX shell; empty if no
            command can repeat the run.
        note: why no command can repeat the run, and what to do instead; "" if there is a command.
    """

    parts: tuple[str, ...]
    note: str


def reproduce(record: RunRecord) -> Command:
    """Return the command line with every setting of the run; it writes to a new directory."""
    config = record.config
    given = [name for name in ("data", "space") if str(config.get(name, "")).startswith(_GIVEN_IN_PYTHON)]
    if given:
        return Command(
            (),
            f"The {' and the '.join(given)} came from Python, so no command line repeats this run: call onepath.run "
            "with the settings below.",
        )
    options = [_option(name, value) for name, value in config.items()]
    old = str(config.get("out") or f"runs/{record.path.name}")
    words = [["onepath", "run"], *options, ["--out", f"{old.rstrip('/')}-again"]]
    return Command(tuple(shlex.join(part) for part in words if part), "")


def _option(name: str, value: object) -> list[str]:
    if name == "out" or value is None or value is False:
        return []
    if isinstance(value, dict):
        singular = f"--{name.removesuffix('s').replace('_', '-')}"
        return [word for key, item in value.items() for word in (singular, f"{key}={_yaml(item)}")]
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, list):
        return [flag, ",".join(map(str, value))]
    return [flag] if value is True else [flag, str(value)]


def _yaml(value: object) -> str:
    """Return a value as YAML on one line, as the command line parses it."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.removesuffix("...\n").strip()
