"""One process at a time on a run directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from onepath.errors import RunDirectoryError
from onepath.record.atomic import write_error

# POSIX locks belong to the process: a second one in the same process would succeed, so those held are noted
# here. They are chosen over flock because a forked data loader that outlives a killed run does not keep them.
_held: set[tuple[int, int]] = set()


class DirectoryLock:
    """A lock on a file, held until `release` or the end of the process, however it ends.

    Args:
        path: the lock file, created if absent; only its holder may remove it.

    Raises:
        RunDirectoryError: another process, or this one, holds it; or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._key = _identity(path)
            if self._key in _held:
                # Before opening: closing any descriptor of the file would drop this process's lock on it.
                raise self._in_use(os.getpid())
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise write_error(path, error) from error
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._key = _identity(path)
            if self._key is None or self._key[1] != os.fstat(self._descriptor).st_ino:
                # Its former holder has discarded the directory since we opened the file.
                raise BlockingIOError
            self._note_owner()
        except (BlockingIOError, PermissionError) as error:
            owner = self._owner()
            os.close(self._descriptor)
            raise self._in_use(owner) from error
        except OSError as error:
            os.close(self._descriptor)
            raise write_error(path, error) from error
        _held.add(self._key)

    def release(self) -> None:
        """Give the directory free; a second call does nothing."""
        if self._key in _held:
            _held.discard(self._key)
            os.close(self._descriptor)

    def _note_owner(self) -> None:
        # For the message alone, so a full disk does not matter here.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _owner(self) -> int | None:
        text = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else None

    def _in_use(self, process: int | None) -> RunDirectoryError:
        by = f"process {process}" if process is not None else "another process"
        return RunDirectoryError(
            f"one process at a time may work on a run directory, but {self.path.parent} is in use by {by}; "
            "wait for it to end, or give another --out"
        )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino)
