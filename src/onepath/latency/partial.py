"""The file of a profile that was killed: what was timed so far, and for which settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, DataError
from onepath.latency.checked_files import check_nodes, not_as_written, parse_json, read_text
from onepath.latency.device_errors import one_line
from onepath.latency.rounds import Rounds
from onepath.latency.table_nodes import PartialNode


def stored_rounds(partial: Path, header: Mapping[str, Any], names: Sequence[str]) -> Rounds:
    """The rounds of a measurement that was killed; none where there was none.

    Raises:
        DataError: the file is damaged.
        ConfigurationError: it is of other settings.
    """
    if not partial.exists():
        return Rounds(len(names))
    text = read_text(partial, "a measurement in progress")
    try:
        data = parse_json(text)
        node = check_nodes(PartialNode, data)
    except ValueError as error:
        raise not_as_written(partial, "a measurement in progress", error, "delete it") from error
    rounds = Rounds.from_data(node.rounds.model_dump())
    check_same(partial, data, header)
    if node.items != list(names) or rounds.num_items != len(names):
        raise DataError(
            f"{partial} must be of the same candidates and networks, but it is of others; delete it"
        )
    return rounds


def check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ConfigurationError, with what differs, unless a file is of the settings of now."""
    different = [
        f"{name} {_short(old.get(name))} there, {_short(value)} now"
        for name, value in new.items()
        if old.get(name) != value
    ]
    if different:
        raise ConfigurationError(
            f"{path} must be of the same settings to go on, but it has {'; '.join(different)}. Give another --out, or "
            "start over with --fresh."
        )


def _short(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False))
