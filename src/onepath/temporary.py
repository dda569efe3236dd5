"""Temporary folders; if a run is killed and leaves one, the next run removes it."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

PREFIX = "onepath-tmp-"
_MARK = ".onepath-temporary"


class TemporaryFolder:
    """A new temporary folder, which is removed by `close` or at the end of a `with` statement.

    The process holds a lock on the folder. The kernel releases the lock when the process ends, even if it is killed.
    Before a process makes its first folder, it removes the folders of this user that no process locks. Folders of other
    users, and links, are left alone.

    Attributes:
        path: path of the folder.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self) -> None:
        _sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = _locked(self.path)
        # The mark comes last: a folder with the mark and without a lock belongs to nobody.
        (self.path / _MARK).touch()
        self._end = weakref.finalize(self, _remove, self.path, lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder; a second call does nothing."""
        self._end()


@functools.cache
def _sweep() -> None:
    """Remove abandoned folders, once in a process."""
    remove_abandoned()


def _remove(path: Path, lock: int | None) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def remove_abandoned() -> list[Path]:
    """Remove the temporary folders of processes that have ended, and return their paths."""
    removed = []
    for path in _marked(Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            lock = _locked(path)
            if lock is not None:
                _remove(path, lock)
                removed.append(path)
    return removed


def _marked(folder: Path) -> Iterator[Path]:
    """Yield the folders of this user that carry the mark of `TemporaryFolder`."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                status = path.lstat()
                is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
                if stat.S_ISDIR(status.st_mode) and is_own and (path / _MARK).is_file():
                    yield path


def _locked(path: Path) -> int | None:
    """Lock a folder and return its descriptor; None if another process holds the lock, or the system has no locks."""
    if not _HAS_LOCKS:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
