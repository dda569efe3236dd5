"""Reading an architecture in any of the ways in which one is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onepath.errors import SpaceError, shown
from onepath.space.architecture import Architecture

if TYPE_CHECKING:
    from onepath.space.search_space import SearchSpace

Written = str | Mapping[str, Any] | Sequence[int] | np.ndarray[Any, Any] | os.PathLike[str] | Architecture

_INDICES = re.compile(r"[\[(]?\s*\d{1,9}(\s*[,\s]\s*\d{1,9})*\s*,?\s*[\])]?")
_MOST_BYTES = 2**24  # of a file


def parse_architecture(space: SearchSpace, written: Written) -> Architecture:
    """See `SearchSpace.parse`."""
    if isinstance(written, str):
        return _from_text(space, written.strip())
    if isinstance(written, Architecture):
        return written if written.space is space else space.architecture(written.options)
    if isinstance(written, os.PathLike):
        return _from_file(space, Path(written))
    if isinstance(written, Mapping):
        return _from_mapping(space, written)
    indices: object = written.tolist() if hasattr(written, "tolist") else written
    if isinstance(indices, Sequence) and not isinstance(indices, bytes | bytearray):
        return space.architecture(indices)
    raise SpaceError(f"{_forms(space)}; got {type(written).__name__}; write one of these")


def parse_json(space: SearchSpace, text: str) -> Architecture:
    """The architecture of a JSON object, as `Architecture.to_json` or a run's `architecture.json` has it."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else shown(str(error))
        raise SpaceError(
            f"an architecture must be a JSON object; got {shown(text)} ({reason}); write {{...}}"
        ) from error
    if not isinstance(content, dict):
        raise SpaceError(
            f'an architecture must be a JSON object; got {shown(text)}; write {{"name": option, ...}}'
        )
    return _from_mapping(space, content)


def _from_text(space: SearchSpace, text: str) -> Architecture:
    if text.startswith("{"):
        return parse_json(space, text)
    options = space.notation.parse(text) if space.notation is not None else None
    if options is not None:
        return space.architecture(options)
    are_separate = space.num_choices == 1 or not text.isdecimal()
    if are_separate and _INDICES.fullmatch(text):
        return space.architecture([int(number) for number in re.findall(r"\d+", text)])
    if text.endswith(".json"):
        return _from_file(space, Path(text))
    advice = "write one of these" if are_separate else "separate indices by commas"
    raise SpaceError(f"{_forms(space)}; got {shown(text)}; {advice}")


def _from_file(space: SearchSpace, path: Path) -> Architecture:
    """Of `architecture.json`, or of the run directory that holds it."""
    path = path / "architecture.json" if path.is_dir() else path
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise SpaceError(
                f"a file of an architecture must exist and be small; got {shown(str(path))}; give the path of an "
                "architecture.json"
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(
            f"a file of an architecture must be readable text; got {shown(str(path))} ({shown(str(error))}); give the "
            "path of an architecture.json"
        ) from error
    return parse_json(space, text)


def _from_mapping(space: SearchSpace, content: Mapping[str, Any]) -> Architecture:
    """Of name -> option, or of what a run writes, which has such a mapping in it."""
    for key in ("options", "architecture"):
        inner = content.get(key)
        if isinstance(inner, Mapping) and key not in space.names:
            return space.architecture(inner)
    return space.architecture(content)


def _forms(space: SearchSpace) -> str:
    first = space.architecture([0] * space.num_choices)
    own = f", a text like {space.format(first)!r}" if space.notation is not None else ""
    return (
        f'an architecture is {space.num_choices} option indices "0,1,..."{own}, a JSON object or mapping of names to '
        "options, or the path of an architecture.json"
    )
