"""Read an architecture from any of the forms in which it may be written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from onepath.errors import SpaceError, shown

if TYPE_CHECKING:
    from onepath.space.notation import Notation


class Readable(Protocol):
    """The part of a search space that reading an architecture needs."""

    names: tuple[str, ...]
    notation: Notation | None

    @property
    def num_choices(self) -> int:
        """Number of choices."""

    def architecture(self, options: Any) -> Any:
        """Return the architecture of option indices or of names and options."""

    def format(self, architecture: Any) -> str:
        """Return the architecture in the paper's own notation, if the space has one, else its indices."""


Options = Mapping[str, Any] | Sequence[int]
"""Names and options, or option indices in the order of the choices."""

_INDICES = re.compile(r"[\[(]?\s*\d{1,9}(\s*[,\s]\s*\d{1,9})*\s*,?\s*[\])]?")
_MOST_BYTES = 2**24  # largest size of an architecture's file


def read_options(space: Readable, written: object) -> Options:
    """Convert any form that `SearchSpace.parse` accepts into one that `SearchSpace.architecture` takes.

    Args:
        space: search space of the architecture.
        written: text, path, mapping, or sequence or array of indices.

    Returns:
        Choice name -> option, or one option index per choice; not checked against the space.

    Raises:
        SpaceError: `written` has none of these forms, or its file cannot be read.
    """
    if isinstance(written, str):
        return _from_text(space, written.strip())
    if isinstance(written, os.PathLike):
        return _from_file(space, Path(written))
    if isinstance(written, Mapping):
        return _from_mapping(space, written)
    indices: object = written.tolist() if hasattr(written, "tolist") else written
    if isinstance(indices, Sequence) and not isinstance(indices, bytes | bytearray):
        return indices
    raise SpaceError(f"{_forms(space)}; got {type(written).__name__}; write one of these")


def read_json(space: Readable, text: str) -> Options:
    """Return the options in a JSON object that `Architecture.to_json` or a run's `architecture.json` holds.

    Raises:
        SpaceError: the text is no JSON object.
    """
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


def _from_text(space: Readable, text: str) -> Options:
    if text.startswith("{"):
        return read_json(space, text)
    options = space.notation.parse(text) if space.notation is not None else None
    if options is not None:
        return options
    are_separate = space.num_choices == 1 or not text.isdecimal()
    if are_separate and _INDICES.fullmatch(text):
        return [int(number) for number in re.findall(r"\d+", text)]
    if text.endswith(".json"):
        return _from_file(space, Path(text))
    advice = "write one of these" if are_separate else "separate indices by commas"
    raise SpaceError(f"{_forms(space)}; got {shown(text)}; {advice}")


def _from_file(space: Readable, path: Path) -> Options:
    """Return the options in an `architecture.json`; `path` may also be the run directory that holds this file."""
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
    return read_json(space, text)


def _from_mapping(space: Readable, content: Mapping[str, Any]) -> Options:
    """Return the mapping from name to option: `content` itself, or the mapping inside it if a run has written it."""
    for key in ("options", "architecture"):
        inner = content.get(key)
        if isinstance(inner, Mapping) and key not in space.names:
            return inner
    return content


def _forms(space: Readable) -> str:
    first = space.architecture([0] * space.num_choices)
    own = f", a text like {space.format(first)!r}" if space.notation is not None else ""
    return (
        f'an architecture is {space.num_choices} option indices "0,1,..."{own}, a JSON object or mapping of names to '
        "options, or the path of an architecture.json"
    )
