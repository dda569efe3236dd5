"""Atomic files: whole or untouched."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from onepath.errors import RunDirectoryError
from onepath.record import (
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    load_tensors,
    save_tensors,
)


def test_writes_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    atomic_write_text(file, "ä" * 10)
    atomic_write_bytes(file, b"new")
    assert file.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_partial_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, bytes(content[:3])))
    atomic_write_bytes(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = tmp_path / "a"
    atomic_write_bytes(file, b"old")

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(RunDirectoryError, match="no space left on device") as caught:
        atomic_write_bytes(file, b"new")
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_missing_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="must be writable, but no such file"):
        atomic_write_bytes(tmp_path / "absent" / "a", b"")


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic_write_json(tmp_path / "a", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_tensors_come_back_in_value(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"whole": base, "row": base[1], "transposed": base.T, "count": torch.tensor(3)}
    save_tensors(tmp_path / "w.safetensors", tensors)
    loaded = load_tensors(tmp_path / "w.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100])
def test_damaged_tensors_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(RunDirectoryError, match="damaged"):
        load_tensors(tmp_path / "w")


def test_absent_tensors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="must be readable"):
        load_tensors(tmp_path / "w")
