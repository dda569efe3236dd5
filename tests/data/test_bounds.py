from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from data.hostile import refused

from onepath.data import bounds
from onepath.data.bounds import (
    check_memory,
    check_unfolding,
    kind_of,
    memory_bytes,
    read_image_file,
    unfolds_too_far,
)
from onepath.errors import DataError, plain


def test_the_memory_of_this_machine() -> None:
    assert 2**28 < memory_bytes() < 2**50


def test_a_container_may_have_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [tmp_path / name for name in ("max", "limit", "absent")]
    limits[0].write_text("max\n")
    limits[1].write_text(f"{2**27}\n")
    monkeypatch.setattr(bounds, "_CONTAINER_LIMITS", tuple(map(str, limits)))
    assert memory_bytes() == 2**27
    check_memory(2**26, "the data")
    with pytest.raises(DataError, match=r"half of the memory \(0.1 GiB\), but the data would take 0.1 GiB"):
        check_memory(2**26 + 1, "the data")


@pytest.mark.parametrize(
    ("what", "num_bytes"),
    [("CIFAR", 60_000 * 32 * 32 * 3), ("100,000 images of 64 pixels", 100_000 * 64 * 64 * 3)],
)
def test_usual_data_fit(what: str, num_bytes: int) -> None:
    check_memory(num_bytes, what)


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(bounds, "_CONTAINER_LIMITS", ())
    assert memory_bytes() == 2**34


@pytest.mark.parametrize(
    ("packed", "unpacked", "is_too_far"),
    [
        (1, 2**28, False),
        (1, 2**28 + 1, True),
        (2**28, 2**35, False),
        (2**21, 200 * 2**21, False),
        (0, 2**40, True),
    ],
)
def test_how_far_a_file_may_unfold(packed: int, unpacked: int, is_too_far: bool) -> None:
    assert unfolds_too_far(packed, unpacked) == is_too_far
    if is_too_far:
        with pytest.raises(DataError, match="at most 200-fold"):
            check_unfolding(packed, unpacked, "a file")


def test_kinds_of_files() -> None:
    kinds = {stat.S_IFREG: "", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device"}
    assert {mode: kind_of(mode | 0o644) for mode in kinds} == kinds


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_image_file(str(tmp_path / "a")) == b"abc"
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**28 + 1)
    for path, message in (
        (tmp_path / "pipe", "a pipe"),
        ("/dev/zero", "a device"),
        (tmp_path / "large", "256 MiB"),
    ):
        with pytest.raises(ValueError, match=message):
            read_image_file(str(path))
    with pytest.raises(OSError, match="No such file"):
        read_image_file(str(tmp_path / "absent"))


def test_memory_that_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB\nfor an array")

    monkeypatch.setattr("onepath.data.load.make_stores", full)
    data = np.zeros((10, 8, 8), np.uint8), np.arange(10) % 2
    refused(data, r"must fit into memory, but they do not \(Unable to allocate 9 GiB\\nfor an array\)")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/a/b c", "/a/b c"),
        (Path("a\x1b\n"), r"a\x1b\n"),
        ("x" * 200 + "/end", "..." + "x" * 116 + "/end"),
        ("\udcff", r"\udcff"),
    ],
)
def test_a_path_in_a_message_keeps_its_end(value: object, expected: str) -> None:
    assert plain(value) == expected
