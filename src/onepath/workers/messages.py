"""The messages between a pool and its workers: JSON objects, one per line.

To a worker: `setup` once, then for each job a `job` with its number, its kind and its arguments; `stop` asks the worker
to save and leave. The end of the file tells it to leave at once. From a worker: any number of `event` for a job, and at
the end of the job `result` or `error`.
"""

from __future__ import annotations

import builtins
import json
import traceback
from typing import Any

from onepath import errors


def encode(message: str, **content: object) -> bytes:
    """Return a message as a line.

    Args:
        message: name of the message, such as "job".
        content: plain JSON values.
    """
    return json.dumps({"message": message, **content}).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the message in a line; floats are equal to the bit."""
    message: dict[str, Any] = json.loads(line)
    return message


def encode_error(number: int, error: Exception) -> bytes:
    """Return the error of a job as a line: the name of its class, its text and its traceback.

    Args:
        number: number of the job.
        error: the error.
    """
    trace = "".join(traceback.format_exception(error))
    return encode("error", number=number, name=type(error).__name__, text=str(error), trace=trace)


def decode_error(message: dict[str, Any]) -> Exception:
    """Return an error with the class and the text of the worker's error; a note on it holds the worker's traceback.

    The note is shown under `--debug`. A class that is neither onepath's nor Python's becomes a subclass of RuntimeError
    with that name.
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
