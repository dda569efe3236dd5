"""Limits on data: how much memory they may take, and how much larger a compressed file may become when unpacked.

Data may come from anyone, so nothing is allocated or unpacked only because a file states a size. The limits:

- decoded data take at most half of the memory of the machine, or of the container if it has less;
- unpacked data of more than 256 MiB are at most 200 times as large as the packed data: photographs grow 10- to 50-fold,
  text and drawings up to 100-fold, and a file that is made to fill the memory 1,000-fold and more;
- an encoded image is a regular file of at most 256 MiB. Pipes and devices, which may never end, are not read;
- a picture has at most 89 million pixels, the number above which Pillow warns. A picture of more than 64 MiB when
  decoded is at most 200 times as large as its file, and so are all large pictures together beyond 4 GiB.
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
_UNKNOWN_MEMORY = 2**34  # assumed if the system does not report its memory, for example Windows
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int:
    """Return the memory of this machine in bytes, or of the container that the process runs in if that is less."""
    try:
        known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        known = [_UNKNOWN_MEMORY]
    for file in _CONTAINER_LIMITS:
        try:
            known.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # this limit does not exist
            continue
    return min(known)


def fits_memory(num_bytes: int) -> bool:
    """Return whether data of this many bytes take at most half of the memory."""
    return num_bytes <= memory_bytes() // 2


def check_memory(num_bytes: int, what: str) -> None:
    """Raise if data would take more than half of the memory.

    Args:
        num_bytes: size of the decoded data, known before anything is allocated.
        what: name of the data, for the message.

    Raises:
        DataError: the data would take more.
    """
    if not fits_memory(num_bytes):
        raise DataError(
            f"data must fit into half of the memory ({memory_bytes() / 2**31:.1f} GiB), but {what} would take "
            f"{num_bytes / 2**30:,.1f} GiB; take fewer or smaller ones, or a folder of images, which are read as needed"
        )


@contextmanager
def within_memory() -> Iterator[None]:
    """Turn a MemoryError of the code inside into a DataError with a message of one line.

    Memory can run out in spite of the checks, for example if the process may use less than the machine has.

    Raises:
        DataError: the memory does not suffice.
    """
    try:
        yield
    except MemoryError as error:
        text = f" ({plain(str(error)[:120])})" if str(error) else ""
        raise DataError(
            f"data must fit into memory, but they do not{text}; take fewer or smaller ones"
        ) from error


def check_whole(name: str, value: object, least: int, most: int, advice: str) -> None:
    """Raise unless an option is a whole number in its range; None is allowed.

    Args:
        name: name of the option, for the message.
        value: value of the option.
        least: smallest value allowed.
        most: largest value allowed.
        advice: what the user should do, for the end of the message.

    Raises:
        DataError: the value is not a whole number, or is out of range.
    """
    if value is None:
        return
    number = int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None
    if number is not None and least <= number <= most:
        return
    rule = f"{name} <= {most:,}" if number is not None and number > most else f"{name} >= {least}"
    raise DataError(f"{rule} must hold, but got {name}={shown(value)}; {advice}")


def unfolds_too_far(packed: int, unpacked: int, free: int | None = None) -> bool:
    """Return whether data grow so much when unpacked that they are probably made to fill the memory.

    Args:
        packed: bytes before unpacking.
        unpacked: bytes after unpacking.
        free: number of unpacked bytes that are always allowed; None: 256 MiB.
    """
    return unpacked > (FREE_BYTES if free is None else free) and unpacked > MAX_UNFOLDING * max(packed, 1)


def check_unfolding(packed: int, unpacked: int, what: str, free: int | None = None) -> None:
    """Raise if data become more than 200 times as large when unpacked, and larger than `free` bytes.

    Args:
        packed: bytes before unpacking.
        unpacked: bytes after unpacking, or bytes unpacked so far.
        what: name of the data, for the message.
        free: number of unpacked bytes that are always allowed; None: 256 MiB.

    Raises:
        DataError: the data are too large.
    """
    if unfolds_too_far(packed, unpacked, free):
        raise DataError(
            f"packed data must unfold at most {MAX_UNFOLDING}-fold, but {what} unfolds {packed:,} bytes to "
            f"{unpacked:,} and more; store the data without compression if this is intended"
        )


def kind_of(mode: int) -> str:
    """Return the kind of a file, such as "a pipe", by the mode of its status; "" for a regular file."""
    kinds = {
        stat.S_IFREG: "",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_image_file(path: str) -> bytes:
    """Return the bytes of an image file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a regular one, or takes more than 256 MiB.
    """
    with open(path, "rb", opener=_at_once) as file:
        status = os.fstat(file.fileno())
        if kind := kind_of(status.st_mode):
            raise ValueError(f"{kind}, not a file")
        if status.st_size > MAX_ENCODED_BYTES:
            raise ValueError(f"{status.st_size / 2**20:,.0f} MiB, more than {MAX_ENCODED_BYTES // 2**20}")
        return file.read(MAX_ENCODED_BYTES)


def _at_once(path: str, flags: int) -> int:
    """Open a file; unlike `open`, do not wait for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
