"""What data may take: memory, and how far a compressed file may unfold.

Data may come from anyone, so that nothing is allocated or unpacked on a file's word alone. The limits:

- decoded data take at most half of the machine's memory (of the container's, where it has less);
- what is packed unfolds at most 200-fold once it takes more than 256 MiB: photographs unfold 10- to 50-fold, text and
  drawings up to 100-fold, and a file that is made to fill a memory 1,000-fold and more;
- an encoded image is a regular file of at most 256 MiB. Pipes and devices, which may never end, are not read;
- a picture has at most 89 million pixels, where Pillow warns, and unfolds at most 200-fold beyond 64 MiB; large
  pictures together unfold at most 200-fold beyond 4 GiB.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from onepath.errors import DataError, plain, shown

MAX_ENCODED_BYTES = 2**28
MAX_UNFOLDING = 200
FREE_BYTES = 2**28
_UNKNOWN_MEMORY = 2**34  # where the system does not tell, as on Windows
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int:
    """The memory of this machine, or of the container that the process is in."""
    try:
        known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        known = [_UNKNOWN_MEMORY]
    for file in _CONTAINER_LIMITS:
        try:
            known.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # there is no such limit
            continue
    return min(known)


def fits_memory(num_bytes: int) -> bool:
    """Whether decoded data take at most half of the memory."""
    return num_bytes <= memory_bytes() // 2


def check_memory(num_bytes: int, what: str) -> None:
    """Refuse data that would take more than half of the memory.

    Args:
        num_bytes: what they will take, known before anything is allocated.
        what: the data, for the message.

    Raises:
        DataError: they would take more.
    """
    if not fits_memory(num_bytes):
        raise DataError(
            f"data must fit into half of the memory ({memory_bytes() / 2**31:.1f} GiB), but {what} would take "
            f"{num_bytes / 2**30:,.1f} GiB; take fewer or smaller ones, or a folder of images, which are read as needed"
        )


@contextmanager
def within_memory() -> Iterator[None]:
    """Say it in one line where memory does not suffice after all, as where the process may take less than there is.

    Raises:
        DataError: it does not.
    """
    try:
        yield
    except MemoryError as error:
        text = f" ({plain(str(error)[:120])})" if str(error) else ""
        raise DataError(
            f"data must fit into memory, but they do not{text}; take fewer or smaller ones"
        ) from error


def check_whole(name: str, value: object, least: int, most: int, advice: str) -> None:
    """Refuse an option that is no whole number in its range; None passes.

    Raises:
        DataError: it is not.
    """
    if value is None:
        return
    number = int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None
    if number is not None and least <= number <= most:
        return
    rule = f"{name} <= {most:,}" if number is not None and number > most else f"{name} >= {least}"
    raise DataError(f"{rule} must hold, but got {name}={shown(value)}; {advice}")


def unfolds_too_far(packed: int, unpacked: int, free: int | None = None) -> bool:
    """Whether this many unpacked bytes, more than `free`, from so few packed ones are meant to fill a memory."""
    return unpacked > (FREE_BYTES if free is None else free) and unpacked > MAX_UNFOLDING * max(packed, 1)


def check_unfolding(packed: int, unpacked: int, what: str, free: int | None = None) -> None:
    """Refuse what unfolds too far and to more than `free` bytes, 256 MiB where it is not given.

    Raises:
        DataError: it does.
    """
    if unfolds_too_far(packed, unpacked, free):
        raise DataError(
            f"packed data must unfold at most {MAX_UNFOLDING}-fold, but {what} unfolds {packed:,} bytes to "
            f"{unpacked:,} and more; store the data without compression if they are meant so"
        )


def kind_of(mode: int) -> str:
    """What a file is that is not a regular one, by the mode of its status; "" for a regular one."""
    kinds = {
        stat.S_IFREG: "",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_image_file(path: str) -> bytes:
    """The bytes of an encoded image.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a regular file, or takes more than 256 MiB.
    """
    with open(path, "rb", opener=_at_once) as file:
        status = os.fstat(file.fileno())
        if kind := kind_of(status.st_mode):
            raise ValueError(f"{kind}, not a file")
        if status.st_size > MAX_ENCODED_BYTES:
            raise ValueError(f"{status.st_size / 2**20:,.0f} MiB, more than {MAX_ENCODED_BYTES // 2**20}")
        return file.read(MAX_ENCODED_BYTES)


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
