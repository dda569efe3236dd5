"""Temporary folders that the next run removes where a run that was killed has left them."""

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
    """A folder of its own, removed by `close` or at the end of a `with`; the kernel notes who lives.

    Its process holds a lock on it, which ends with the process however that ends. Before the first is made, folders of
    this user without a holder are removed; others, and links, are left alone.

    Attributes:
        path: of the folder.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        _sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = _locked(self.path)
        # Last: a folder with the mark and without a lock belongs to nobody.
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
    """Once in a process."""
    remove_abandoned()


def _remove(path: Path, lock: int | None) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def remove_abandoned() -> list[Path]:
    """Remove the temporary folders of processes that have ended; those removed."""
    removed = []
    for path in _marked(Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            lock = _locked(path)
            if lock is not None:
                _remove(path, lock)
                removed.append(path)
    return removed


def _marked(folder: Path) -> Iterator[Path]:
    """The folders of this user that were made here."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                status = path.lstat()
                is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
                if stat.S_ISDIR(status.st_mode) and is_own and (path / _MARK).is_file():
                    yield path


def _locked(path: Path) -> int | None:
    """A descriptor with a lock on a folder; None where another process holds it, or locks do not exist."""
    if not _HAS_LOCKS:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
