"""Code of the user's own, named on the command line as `path/to/file.py:name`."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from onepath.errors import ConfigurationError


class OwnCode(NamedTuple):
    """What a file of the user's has under a name; `value` is None where it has nothing."""

    path: str
    name: str
    value: object


def load_own(text: str, *, what: str, known: Collection[str], forms: str) -> OwnCode:
    """Run the file of `path/to/file.py:name` and look the name up in it.

    The file is run as Python code: it is the user's own program.

    Args:
        text: what was given, which is no name of ours.
        what: it is to be, for messages: "space" or "device".
        known: the names of ours.
        forms: how one's own is written, for messages.

    Raises:
        ConfigurationError: the text is not of that form (the nearest name of ours is named), the file does not
            exist, or it raises.
    """
    path, separator, name = text.rpartition(":")
    if not separator or not path.endswith(".py"):
        near = difflib.get_close_matches(text, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigurationError(
            f"a {what} must be one of {', '.join(known)}, or {forms}, but got {text!r}.{hint}"
        )
    if not Path(path).is_file():
        raise ConfigurationError(f"the file of a {what} must exist, but {path!r} does not. Check the path.")
    specification = importlib.util.spec_from_file_location(f"onepath_user_{what}_{Path(path).stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(
            f"the file of a {what} must run, but {path} raised {type(error).__name__}: {error}. Mend the file."
        ) from error
    return OwnCode(path, name, getattr(module, name, None))


def chooses_code(text: object) -> bool:
    """Whether an option names a program of one's own: `path/to/file.py:name`, or `exec:...` of a device."""
    if not isinstance(text, str):
        return False
    path, separator, _ = text.rpartition(":")
    return text.startswith("exec:") or (bool(separator) and path.endswith(".py"))
