"""Locks that let only one process, with its worker processes, work on a run directory."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from types import ModuleType
from typing import Self

from onepath.errors import DirectoryInUseError, RunDirectoryError
from onepath.record.atomic import CLOSE_ON_EXEC, irregular_error, write_error

try:
    import fcntl
except ImportError:  # on such a system, run directories can only be read
    _fcntl: ModuleType | None = None
else:
    _fcntl = fcntl

# POSIX locks belong to the process. A second lock in the same process would succeed, so the held ones are recorded
# here. They are used instead of flock because a forked data loader that outlives a killed run does not keep them.
_held: set[tuple[int, int]] = set()
_POLL_SECONDS = 0.02


class DirectoryLock:
    """A lock on a file, held until `release` or the end of the process, however the process ends.

    Args:
        path: path of the lock file, which is created if absent; only the holder of the lock may remove it.

    Raises:
        DirectoryInUseError: another process, or this one, holds the lock.
        RunDirectoryError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._key = _identity(path)
            if self._key in _held:
                # Before opening: closing any descriptor of the file would drop this process's lock on it.
                raise self._in_use(os.getpid())
            self._descriptor = _open(path, os.O_CREAT)
        except OSError as error:
            raise write_error(path, error) from error
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._key = _identity(path)
            if self._key is None or self._key[1] != os.fstat(self._descriptor).st_ino:
                # The former holder of the lock has removed the directory since we opened the file.
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
        """Release the directory; a second call does nothing."""
        if self._key in _held:
            _held.discard(self._key)
            os.close(self._descriptor)

    def _note_owner(self) -> None:
        # Only the error message needs it, so a full disk does not matter here.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _owner(self) -> int | None:
        text = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else None

    def _in_use(self, process: int | None) -> DirectoryInUseError:
        by = f"process {process}" if process is not None else "another process"
        return DirectoryInUseError(
            f"one process at a time may work on a run directory, but {self.path.parent} is in use by {by}; "
            "wait for it to end, or give another --out"
        )


class WorkersLock:
    """A lock that is held until all processes that have its descriptor, this one and its workers, have closed it.

    Unlike `DirectoryLock` it is a flock, which belongs to the open file and not to a process. It is taken before the
    first worker starts, so that no worker ever runs without it.

    Args:
        path: path of the lock file, which is created if absent; only the holder of the directory's lock may take or
            remove it.

    Attributes:
        path: path of the lock file.
        descriptor: file descriptor of the lock, which the workers inherit.

    Raises:
        RunDirectoryError: the file cannot be written, or another process holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.descriptor = _open(path, os.O_CREAT)
        except OSError as error:
            raise write_error(path, error) from error
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.descriptor)
            raise write_error(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close this process's descriptor and remove the file.

        After an error the file stays, because a worker may not have ended yet.
        """
        if kind is None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def wait_for_workers(path: Path, seconds: float) -> None:
    """Wait until no process holds the `WorkersLock` on `path`, then remove the file; return at once without a file.

    Only the holder of the directory's lock may call this. Workers of a killed process end by themselves, within
    moments.

    Args:
        path: path of the lock file.
        seconds: longest time to wait.

    Raises:
        DirectoryInUseError: a worker still holds the lock after this time.
        RunDirectoryError: the file cannot be opened or removed.
    """
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise write_error(path, error) from error
    try:
        _take_within(descriptor, path, seconds)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        os.close(descriptor)


def _take_within(descriptor: int, path: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise DirectoryInUseError(
                    f"one process at a time may work on a run directory, but a worker of an earlier one still works on "
                    f"{path.parent}; wait for it to end, end it, or give another --out"
                ) from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _open(path: Path, flags: int = 0) -> int:
    """Open a lock file and return its descriptor; refuse links, whose target would be overwritten.

    Raises:
        RunDirectoryError: the file is a link or no regular file, or this system has no such locks.
        OSError: the file cannot be opened.
    """
    if _fcntl is None:
        raise RunDirectoryError(
            f"work in a run directory needs the file locks of Linux or macOS, but this system has none for {path}; use "
            "Linux, macOS or WSL"
        )
    if path.is_symlink():
        raise irregular_error(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | CLOSE_ON_EXEC | flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise irregular_error(path)
    return descriptor


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino)
