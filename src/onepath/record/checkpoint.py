"""Checkpoints: the state of a training that is not finished."""

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

# The errors that torch.load raises for a file that is cut off, altered, or not written by torch.
_DAMAGE = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, ValueError, AttributeError, TypeError)
_MARK = b"onepath checkpoint "
_DIGITS = 64


class TrainingCheckpoint:
    """The file in which a training loop saves its state from time to time, and from which it resumes.

    Args:
        path: path of the file, which need not exist.
        every_seconds: time after the last save (or after the creation of this object) when `due` becomes true.
    """

    def __init__(self, path: Path, every_seconds: float = 20.0) -> None:
        self.path = path
        self.every_seconds = every_seconds
        self._saved_at = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time to save again."""
        return time.monotonic() - self._saved_at >= self.every_seconds

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the content of the file by `state`, atomically.

        Args:
            state: tensors, numbers, strings, None, and nested dicts, lists and tuples of these: the values that
                torch's weights-only load accepts.

        Raises:
            RunDirectoryError: the file cannot be written; the state saved before is intact.
        """
        import torch

        # Serialised in memory: on a full disk, torch's own file writer would not raise an OSError.
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        atomic_write_bytes(self.path, _MARK + self._digest(content) + b"\n" + content)
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Load the state that was saved last, on the CPU; return None if there is no file.

        Raises:
            RunDirectoryError: the file is damaged, holds more than tensors and plain values, or belongs to another
                training.
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
        """Return a digest of the content and the file's name, so that another training's file is not accepted."""
        return content_digest(self.path.name.encode(), content).encode()

    def remove(self) -> None:
        """Delete the file if it exists.

        Raises:
            RunDirectoryError: the file cannot be deleted.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
