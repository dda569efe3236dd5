"""The state of a training run that is not finished."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onepath.record.atomic import (
    atomic_write_bytes,
    content_digest,
    damaged_error,
    read_bytes,
    write_error,
)

# What torch.load raises on a file that is cut off, altered, or not its own.
_DAMAGE = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, ValueError, AttributeError, TypeError)
_MARK = b"onepath checkpoint "
_DIGITS = 64


class TrainingCheckpoint:
    """One file that a training loop saves now and then, and starts from when it is there.

    Args:
        path: the file; need not exist.
        every_seconds: `due` is true once this much time has passed since the last save (or since now).
    """

    def __init__(self, path: Path, every_seconds: float = 20.0) -> None:
        self.path = path
        self.every_seconds = every_seconds
        self._saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved_at >= self.every_seconds

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file by `state`, atomically.

        Args:
            state: tensors, numbers, strings, None, and nested dicts, lists and tuples of these: what a
                weights-only load accepts.

        Raises:
            RunDirectoryError: the file cannot be written; the state saved before is intact.
        """
        import torch

        # Through memory: an error inside torch's own file writer on a full disk would not be an OSError.
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        atomic_write_bytes(self.path, _MARK + self._digest(content) + b"\n" + content)
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state last saved, on the CPU; None if there is none.

        Raises:
            RunDirectoryError: the file is damaged, or holds more than tensors and plain values,
                or it is that of another training.
        """
        import torch

        content = read_bytes(self.path)
        if content is None:
            return None
        if content.startswith(_MARK):
            head, content = content[: len(_MARK) + _DIGITS], content[len(_MARK) + _DIGITS + 1 :]
            if head != _MARK + self._digest(content):
                raise damaged_error(self.path)
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except _DAMAGE as error:
            raise damaged_error(self.path) from error
        if not isinstance(state, dict):
            raise damaged_error(self.path)
        return state

    def _digest(self, content: bytes) -> bytes:
        """Of the content and of whose it is, so that the file of another training is not taken for it."""
        return content_digest(self.path.name.encode(), content).encode()

    def remove(self) -> None:
        """Delete the file if it is there."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
