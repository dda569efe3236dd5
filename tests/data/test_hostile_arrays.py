"""An .npz from anyone: what is in it is refused from its headers, or read right."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.hostile import refused, refused_or_read

from onepath.data import bounds, load_data

X = np.random.default_rng(0).integers(0, 256, (20, 8, 8)).astype(np.uint8)
Y = np.arange(20) % 2


def npy(shape: tuple[int, ...], descr: Any = "|u1", content: bytes = b"", version: int = 1) -> bytes:
    """A .npy whose header may promise more than there is."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + content


def as_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def pack(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes | np.ndarray) -> Path:
    contents = {"x_train": X, "y_train": Y} | members
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", as_npy(content) if isinstance(content, np.ndarray) else content)
    return path


PROMISES = {
    "10^12 images": npy((10**12, 8, 8)),
    "10^12 nothings": npy((10**12,), "|S0"),
    "negative lengths": npy((-2, -10, 8, 8), content=bytes(1280)),
    "two unknown lengths": npy((-1, -1, 8, 8), content=bytes(64)),
    "more bytes than said": npy((1, 8, 8), content=bytes(1000)),
    "no bytes": npy((20, 8, 8)),
    "version 9": npy((20, 8, 8), content=X.tobytes(), version=9),
    "a header of code": b"\x93NUMPY\x01\x00\x1e\x00__import__('os').system('x')  \n",
    "a header that nests": b"\x93NUMPY\x01\x00\xe8\x03" + b"(" * 1000,
    "a long header": npy((20, 8, 8), [("f" * 20000, "|u1")], version=2),
    "no array": b"hello",
    "nothing": b"",
    "objects": as_npy(np.array([{"a": 1}] * 20, dtype=object)),
    "fields": as_npy(np.zeros(20, dtype=[("a\x1b[2J", "u1"), ("b", "f4")])),
    "fields of objects": as_npy(np.zeros(20, dtype=[("a", "O")])),
    "complex numbers": as_npy(np.zeros((20, 8, 8), complex)),
    "dates": as_npy(np.zeros((20, 8, 8), "M8[s]")),
    "strings": as_npy(np.full((20, 8, 8), "a")),
    "one number": as_npy(np.array(3)),
    "images without pixels": as_npy(np.zeros((20, 0, 8), np.uint8)),
    "no image": as_npy(np.zeros((0, 8, 8), np.uint8)),
    "five axes": as_npy(np.zeros((20, 2, 2, 2, 2, 2), np.uint8)),
}


@pytest.mark.parametrize("content", PROMISES.values(), ids=PROMISES)
def test_images_that_promise_what_is_not_there(tmp_path: Path, content: bytes) -> None:
    refused(pack(tmp_path / "a.npz", x_train=content))


LABELS = {
    "near 2^64": np.full(20, 2**64 - 1, np.uint64),
    "at 2^63": np.array([0, 1] * 9 + [0, 2**63], np.uint64),
    "the largest": np.array([0, 1] * 9 + [0, 2**63 - 1]),
    "the lowest": np.array([0, 1] * 9 + [0, -(2**63)]),
    "bytes that are no UTF-8": np.array([b"a", b"\xff\xfe"] * 10),
    "characters beyond Unicode": np.array([0x41, 0x7FFFFFFF] * 10, "<u4").view("<U1"),
    "half a character": np.array([0x41, 0xD800] * 10, "<u4").view("<U1"),
    "blank": np.array(["a", ""] * 10),
    "spaces": np.array(["a", "  "] * 10),
    "control characters": np.array(["a", "\x1b[31mred"] * 10),
    "line breaks": np.array(["a", "b\nc"] * 10),
    "too long": np.array(["a", "b" * 1000] * 10),
    "not a number": np.array([0.0, np.nan] * 10),
    "infinite": np.array([0.0, np.inf] * 10),
    "nested": np.zeros((20, 3, 2), int),
    "one": np.array(1),
    "complex": np.zeros(20, complex),
    "dates": np.zeros(20, "M8[D]"),
    "fields": np.zeros(20, [("a\n", "i4")]),
    "too few": np.arange(19) % 2,
    "none": np.zeros(0, int),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_odd_labels(tmp_path: Path, labels: np.ndarray) -> None:
    refused(pack(tmp_path / "a.npz", y_train=labels))
    refused((X, labels))


def test_bytes_and_html_are_names(tmp_path: Path) -> None:
    names = ["é".encode(), b"<script>alert(1)</script>"]
    task = load_data(pack(tmp_path / "a.npz", y_train=np.array(names * 10)))
    assert task.class_names == ("<script>alert(1)</script>", "é")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a"], "label < number of class names"),
        (["a", "b", "c"], "1 of 3 have none"),
        (["a", "a"], "must be distinct"),
        (["a", "b\x00c\x07"], r"without control characters, but .*'b\\x00c\\x07'"),
        ([b"a", b"\xff"], "must be UTF-8"),
        ([["a", "b"]], "list of strings"),
        ([1, 2], "list of strings"),
    ],
)
def test_odd_class_names(tmp_path: Path, names: list[Any], match: str) -> None:
    refused(pack(tmp_path / "a.npz", class_names=np.array(names)), match)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packing(tmp_path: Path, method: int) -> None:
    refused(pack(tmp_path / "a.npz", method), "stored or deflated")


def test_what_unfolds_a_thousandfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FREE_BYTES", 2**19)
    many = np.zeros((20, 256, 256), np.uint8)
    refused(pack(tmp_path / "a.npz", x_train=many), r"at most 200-fold, but x_train of .* unfolds")
    assert load_data(pack(tmp_path / "b.npz", zipfile.ZIP_STORED, x_train=many)).input_shape == (1, 256, 256)


def test_what_is_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "memory_bytes", lambda: 2000)
    refused(pack(tmp_path / "a.npz"), "half of the memory")


def test_archives_that_are_none(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.npz")
    whole = path.read_bytes()
    for content in (
        b"",
        b"PK",
        whole[:-30],
        whole[:200],
        b"\x00" * 100,
        whole.replace(b"x_train", b"x_tr\x1b\x07n"),
    ):
        path.write_bytes(content)
        refused(path)
    encrypted = bytearray(whole)
    for place in range(len(encrypted) - 4):
        if encrypted[place : place + 4] == b"PK\x01\x02":
            encrypted[place + 8] |= 1
        if encrypted[place : place + 4] == b"PK\x03\x04":
            encrypted[place + 6] |= 1
    path.write_bytes(encrypted)
    refused(path, "encrypted|password")


def test_a_big_table_of_contents(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(500):
            archive.writestr(f"array\x1b number {number}.npy", b"")
    refused(tmp_path / "a.npz", "must hold x_train")


def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.npz")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 3):
            content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        refused_or_read(path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"input_size": 20_000}, "input_size <= 4,096 must hold, but got input_size=20000"),
        ({"input_size": 10**40}, "input_size <= 4,096"),
        ({"input_size": 0}, "input_size >= 1"),
        ({"input_size": -(10**6)}, "input_size >= 1"),
        ({"input_size": 2.5}, "input_size >= 1"),
        ({"input_size": True}, "input_size >= 1"),
        ({"input_size": "32"}, "input_size >= 1"),
        ({"num_workers": 10**6}, "num_workers <= 256"),
        ({"num_workers": -1}, "num_workers >= 0"),
        ({"validation_fraction": 0}, "0 < validation_fraction < 1"),
        ({"validation_fraction": 1}, "0 < validation_fraction < 1"),
        ({"validation_fraction": float("nan")}, "0 < validation_fraction < 1"),
        ({"validation_fraction": -1e308}, "0 < validation_fraction < 1"),
        ({"validation_fraction": "0.2"}, "0 < validation_fraction < 1"),
        ({"validation_fraction": True}, "0 < validation_fraction < 1"),
    ],
)
def test_odd_options(options: dict[str, Any], match: str) -> None:
    refused((X, Y), match, **options)


@pytest.mark.parametrize("fraction", [1e-300, 0.999999999])
def test_extreme_fractions_leave_every_class_on_both_sides(fraction: float) -> None:
    task = load_data((X, Y), validation_fraction=fraction)
    for split in ("train", "validation"):
        assert set(task.labels(split).tolist()) == {0, 1}


def test_images_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    refused((np.zeros((10, 1, 2**25), np.uint8), np.arange(10) % 2), "at most 4096x4096 pixels")
    refused((np.zeros((10, 1, 2**20), np.uint8), np.arange(10) % 2), "times as long as wide", input_size=2048)
    monkeypatch.setattr(bounds, "memory_bytes", lambda: 2**20)
    refused((X, Y), "the resized images would take", input_size=512)
