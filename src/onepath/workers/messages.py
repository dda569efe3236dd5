"""What a pool and its workers say to each other: JSON objects, one a line.

To a worker: `setup`, once; then a `job` with its number, its kind and its arguments, as often as there is one; `stop`
asks it to save and leave. The end of the file tells it to leave at once. From a worker: any number of `event` of a job,
and at its end `result` or `error`.
"""

from __future__ import annotations

import builtins
import json
import traceback
from typing import Any

from onepath import errors


def encode(message: str, **content: object) -> bytes:
    """A message as a line."""
    return json.dumps({"message": message, **content}).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message in a line; floats come back to the bit."""
    message: dict[str, Any] = json.loads(line)
    return message


def encode_error(number: int, error: Exception) -> bytes:
    """The error of a job as a line: the name of its class, its text, where it was raised."""
    trace = "".join(traceback.format_exception(error))
    return encode("error", number=number, name=type(error).__name__, text=str(error), trace=trace)


def decode_error(message: dict[str, Any]) -> Exception:
    """An error of the same name and text as the worker's; its traceback there is a note, seen under --debug.

    A class that is neither ours nor Python's comes back as a RuntimeError of that name.
    """
    name, text = message["name"], message["text"]
    kind = getattr(errors, name, getattr(builtins, name, None))
    try:
        error = kind(text) if isinstance(kind, type) and issubclass(kind, Exception) else None
    except TypeError:
        error = None
    if error is None:
        error = type(name, (RuntimeError,), {})(text)
    error.add_note(f"In a worker process:\n{message['trace']}")
    return error
