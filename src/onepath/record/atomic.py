"""Atomic writes: a file is either completely new or unchanged.

A write goes to a temporary file, then come fsync, rename and fsync of the directory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import RunDirectoryError

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY_SUFFIX = ".onepath-tmp"
# Flags that not every system has. With O_NONBLOCK, opening a pipe without a writer does not hang, so it can be refused.
CLOSE_ON_EXEC: int = getattr(os, "O_CLOEXEC", 0)
_BINARY: int = getattr(os, "O_BINARY", 0)
_READ_FLAGS = CLOSE_ON_EXEC | _BINARY | getattr(os, "O_NONBLOCK", 0)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`; after a crash at any moment it is the old file or the new one.

    Args:
        path: path of the file, which need not exist, in an existing directory.
        content: content of the whole file.

    Raises:
        RunDirectoryError: the disk is full or the place cannot be written; the old file is intact and no
            temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        _write_synced(temporary, content)
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write_text(path: Path, content: str) -> None:
    """Replace the file at `path` by `content` in UTF-8; see `atomic_write_bytes`."""
    atomic_write_bytes(path, content.encode("utf-8"))


def atomic_write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file at `path` by `content` as indented JSON; see `atomic_write_bytes`.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not have.
    """
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_bytes(path: Path, most: int = -1) -> bytes | None:
    """Read the content of a regular file; return None if the file does not exist.

    Args:
        path: path of the file.
        most: largest number of bytes to read; -1 reads the whole file.

    Raises:
        RunDirectoryError: the file cannot be read, or is a pipe, a device or a folder, which could hang the reader.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _READ_FLAGS)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise irregular_error(path)
            return file.read(most)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_error(path, error) from error


def content_digest(*parts: bytes) -> str:
    """Return the hexadecimal SHA-256 of a file's content, which may be given in several parts."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def file_digest(path: Path) -> str | None:
    """Return the `content_digest` of a file; None if the file does not exist.

    Raises:
        RunDirectoryError: the file cannot be read.
    """
    content = read_bytes(path)
    return None if content is None else content_digest(content)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write named tensors as one safetensors file, atomically.

    Tensors may share storage or have any strides; each is written as a whole, in contiguous layout.

    Returns:
        The file's digest, for `load_tensors`.

    Raises:
        RunDirectoryError: the file cannot be written; see `atomic_write_bytes`.
    """
    content = tensor_bytes(tensors)
    atomic_write_bytes(path, content)
    return content_digest(content)


def tensor_bytes(tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> bytes:
    """Return named tensors in the safetensors format; equal tensors and notes give equal bytes.

    Each tensor is written as a whole, in contiguous layout.

    Args:
        tensors: name -> tensor; tensors may share storage or have any strides, and are not changed.
        notes: name -> text for the metadata of the file.
    """
    import torch
    from safetensors.torch import save

    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    content = save(plain)
    if not notes:
        return content
    # The library writes metadata in an order that differs from process to process.
    start = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(notes), **json.loads(content[8:start])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def load_tensors(path: Path, digest: str | None = None) -> dict[str, Tensor]:
    """Load the named tensors of a safetensors file, on the CPU.

    Args:
        path: path of the file.
        digest: digest of the file that was written, which is compared; None if it is not known.

    Raises:
        RunDirectoryError: the file is absent or damaged, or it is not the file that was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = read_bytes(path)
    if content is None:
        raise read_error(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    if digest is not None and content_digest(content) != digest:
        raise damaged_error(path)
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise damaged_error(path) from error


def write_error(path: Path, error: OSError) -> RunDirectoryError:
    """Return the error for a file that could not be written."""
    return RunDirectoryError(
        f"{path} must be writable, but {reason(error)}; nothing already written is lost: "
        "make room or give another --out, then run the same command again"
    )


def read_error(path: Path, error: OSError) -> RunDirectoryError:
    """Return the error for a file that the operating system does not let us read."""
    return RunDirectoryError(
        f"{path} must be readable, but {reason(error)}; fix that, or start over with --fresh"
    )


def irregular_error(path: Path) -> RunDirectoryError:
    """Return the error for a pipe, a device, a folder or a link out of the run directory in the place of our file."""
    return RunDirectoryError(
        f"{path} must be a plain file or folder inside the run directory, but it is a link, a pipe or the like; remove "
        "it, or give another --out"
    )


def damaged_error(path: Path) -> RunDirectoryError:
    """Return the error for a file that onepath wrote and cannot read back."""
    return RunDirectoryError(
        f"{path} must be as onepath wrote it, but it is damaged; start over with --fresh"
    )


def reason(error: OSError) -> str:
    """Return the operating system's message for an error, in lower case."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def sync_directory(path: Path) -> None:
    """Make renames and removals inside the directory `path` survive a power cut, if the system can do so."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, content: bytes) -> None:
    # os.open honours the umask, which tempfile's private permissions would not.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | CLOSE_ON_EXEC | _BINARY, 0o666)
    try:
        remaining = memoryview(content)
        while remaining:
            remaining = remaining[os.write(descriptor, remaining) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
