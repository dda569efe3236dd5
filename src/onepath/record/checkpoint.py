"""The state of a training run that is not finished."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onepath.record.atomic import atomic_write_bytes, damaged_error, read_error, write_error

# What torch.load raises on a file that is cut off, altered, or not its own.
_DAMAGE = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, ValueError, AttributeError, TypeError)


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
        atomic_write_bytes(self.path, buffer.getvalue())
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state last saved, on the CPU; None if there is none.

        Raises:
            RunDirectoryError: the file is damaged, or holds more than tensors and plain values.
        """
        import torch

        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise read_error(self.path, error) from error
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except _DAMAGE as error:
            raise damaged_error(self.path) from error
        if not isinstance(state, dict):
            raise damaged_error(self.path)
        return state

    def remove(self) -> None:
        """Delete the file if it is there."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
