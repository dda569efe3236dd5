"""One process at a time on a run directory, with the worker processes that it starts."""

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
except ImportError:  # run directories can be read there, but not worked on
    _fcntl: ModuleType | None = None
else:
    _fcntl = fcntl

# POSIX locks belong to the process: a second one in the same process would succeed, so those held are noted
# here. They are chosen over flock because a forked data loader that outlives a killed run does not keep them.
_held: set[tuple[int, int]] = set()
_POLL_SECONDS = 0.02


class DirectoryLock:
    """A lock on a file, held until `release` or the end of the process, however it ends.

    Args:
        path: the lock file, created if absent; only its holder may remove it.

    Raises:
        DirectoryInUseError: another process, or this one, holds it.
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
        """Release the directory; a second call does nothing."""
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

    def _in_use(self, process: int | None) -> DirectoryInUseError:
        by = f"process {process}" if process is not None else "another process"
        return DirectoryInUseError(
            f"one process at a time may work on a run directory, but {self.path.parent} is in use by {by}; "
            "wait for it to end, or give another --out"
        )


class WorkersLock:
    """A lock that lives as long as any process that holds its descriptor: this one, or a worker it was given to.

    Unlike `DirectoryLock` it is a flock, which belongs to the open file and not to a process. It is taken before the
    first worker is started, so that there is no moment at which a worker runs without it.

    Args:
        path: the lock file, created if absent; only the holder of the directory's lock may take or remove it.

    Attributes:
        descriptor: to be inherited by the workers.

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
        """Give up this process's part; after an error the file stays, for a worker may not have ended yet."""
        if kind is None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def wait_for_workers(path: Path, seconds: float) -> None:
    """Wait until no process holds the `WorkersLock` on `path`, and remove the file; at once if there is none.

    To be called by the holder of the directory's lock. Workers of a killed process end by themselves, within
    moments.

    Raises:
        DirectoryInUseError: one of them is still there after this many seconds, or the file cannot be read.
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
    """A descriptor of a lock file that is no link, for what it points to would be overwritten.

    Raises:
        RunDirectoryError: it is a link or no regular file, or this system has no such locks.
        OSError: it cannot be opened.
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
