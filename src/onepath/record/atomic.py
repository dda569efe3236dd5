"""Files that are whole or as they were before: temporary file, fsync, rename, fsync of the directory."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import RunDirectoryError

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY_SUFFIX = ".onepath-tmp"


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`; after a crash at any moment it is the old file or the new one.

    Args:
        path: in an existing directory; need not exist.
        content: the whole file.

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


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as one safetensors file, atomically.

    Tensors may share storage or have any strides; each is written whole and contiguous.
    """
    atomic_write_bytes(path, tensor_bytes(tensors))


def tensor_bytes(tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> bytes:
    """Named tensors as safetensors, each whole and contiguous; the same ones give the same bytes.

    Args:
        tensors: may share storage or have any strides; not changed.
        notes: texts for the file's metadata.
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


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors file, on the CPU.

    Raises:
        RunDirectoryError: the file is absent or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except OSError as error:
        raise read_error(path, error) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise damaged_error(path) from error


def write_error(path: Path, error: OSError) -> RunDirectoryError:
    """The one line for a file that could not be written."""
    return RunDirectoryError(
        f"{path} must be writable, but {reason(error)}; nothing already written is lost: "
        "make room or give another --out, then run the same command again"
    )


def read_error(path: Path, error: OSError) -> RunDirectoryError:
    """The one line for a file that the system does not let us read."""
    return RunDirectoryError(
        f"{path} must be readable, but {reason(error)}; mend that, or start over with --fresh"
    )


def damaged_error(path: Path) -> RunDirectoryError:
    """The one line for a file of ours that cannot be read back."""
    return RunDirectoryError(
        f"{path} must be as onepath wrote it, but it is damaged; start over with --fresh"
    )


def reason(error: OSError) -> str:
    """What the operating system said, in words."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def sync_directory(path: Path) -> None:
    """Make renames and removals inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, content: bytes) -> None:
    # os.open honours the umask, which tempfile's private permissions would not.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        remaining = memoryview(content)
        while remaining:
            remaining = remaining[os.write(descriptor, remaining) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
