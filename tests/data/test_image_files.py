"""Folders of images from anyone: links, names, and what is no image."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from data.hostile import refused, refused_or_read
from PIL import Image

from onepath.data import load_data, stores

RNG = np.random.default_rng(0)


def encoded(kind: str = "PNG", size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (size, size, 3)).astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def fill(folder: Path, num: int = 6) -> Path:
    folder.mkdir(parents=True)
    for number in range(num):
        (folder / f"{number}.png").write_bytes(encoded())
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label in ("cats", "dogs"):
        fill(tmp_path / "data" / label)
    return tmp_path / "data"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for part in ("train", "val", "test"):
        for label in ("cats", "dogs"):
            fill(tmp_path / "parts" / part / label)
    return tmp_path / "parts"


def total(source: Path) -> int:
    task = load_data(source)
    return sum(task.num_examples(split) for split in ("train", "validation", "test"))


def notes(source: Path) -> str:
    return " ".join(load_data(source).notes)


@pytest.mark.parametrize("target", [".", "..", "../..", "../dogs", "../cats", "/"])
def test_links_to_folders_inside_a_class_are_not_followed(root: Path, target: str) -> None:
    (root / "cats" / "again").symlink_to(target)
    assert total(root) == 12
    assert "Links to folders inside class folders are not followed: 1, the first is" in notes(root)


def test_a_loop_of_two_links(root: Path) -> None:
    (root / "cats" / "a").symlink_to("b")
    (root / "cats" / "b").symlink_to("a")
    (root / "loop").symlink_to("loop")
    assert total(root) == 12
    assert "Links that lead nowhere are passed over: 1, the first is" in notes(root)


@pytest.mark.parametrize("target", [".", "..", "cats", "/", "dogs/deep"])
def test_a_class_folder_that_is_or_holds_another(root: Path, target: str) -> None:
    fill(root / "dogs" / "deep")
    (root / "more").symlink_to(target)
    refused(root, "a class folder must not be or hold another one")


def test_a_class_folder_beside_one_whose_name_begins_alike(root: Path, tmp_path: Path) -> None:
    fill(tmp_path / "other" / "cats")
    fill(tmp_path / "other" / "cats and more")
    (root / "x").symlink_to(tmp_path / "other" / "cats")
    (root / "y").symlink_to(tmp_path / "other" / "cats and more")
    assert total(root) == 24
    (root / "z").symlink_to(tmp_path / "other")
    refused(root, "a class folder must not be or hold another one")


def test_a_class_folder_may_be_a_link_out_and_this_is_said(root: Path, tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere")
    (root / "birds").symlink_to(tmp_path / "elsewhere")
    assert total(root) == 18
    assert "links out of the folder: 1, the first is" in notes(root)


def test_the_folder_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert load_data(tmp_path / "link").fingerprint == load_data(root).fingerprint
    assert "link" not in notes(tmp_path / "link")


@pytest.mark.parametrize("is_hard", [False, True])
def test_a_file_counts_once(root: Path, is_hard: bool) -> None:
    before = load_data(root).fingerprint
    for number in range(3):
        for name in (f"again {number}.png", f"{number} again.png"):
            if is_hard:
                os.link(root / "cats" / f"{number}.png", root / "cats" / f"z{name}")
            else:
                (root / "cats" / name).symlink_to(f"{number}.png")
    assert total(root) == 12
    assert load_data(root).fingerprint == before
    assert "Images are left out where the same file stands elsewhere: 6, the first is" in notes(root)


def test_a_link_to_an_image_of_another_class_is_left_out(root: Path) -> None:
    (root / "cats" / "0 dog.png").symlink_to("../dogs/0.png")
    assert total(root) == 12
    assert "the same file stands elsewhere: 1" in notes(root)


@pytest.mark.parametrize("is_hard", [False, True])
def test_a_file_in_two_classes(root: Path, tmp_path: Path, is_hard: bool) -> None:
    (tmp_path / "x.png").write_bytes(encoded())
    for label in ("cats", "dogs"):
        if is_hard:
            os.link(tmp_path / "x.png", root / label / "x.png")
        else:
            (root / label / "x.png").symlink_to(tmp_path / "x.png")
    refused(root, "an image must have one class, but .*x.png are one file")


@pytest.mark.parametrize("is_hard", [False, True])
def test_test_images_are_kept_out_of_training(parts: Path, is_hard: bool) -> None:
    for number in range(4):
        test, train = (
            parts / part / "cats" / name
            for part, name in (("test", f"{number}.png"), ("train", f"t{number}.png"))
        )
        os.link(test, train) if is_hard else train.symlink_to(test)
    task = load_data(parts)
    assert [task.num_examples(split) for split in ("train", "validation", "test")] == [12, 12, 12]
    assert "the same file stands elsewhere: 4" in " ".join(task.notes)


@pytest.mark.parametrize("link", ["train/birds", "test/birds", "val/birds"])
def test_a_class_folder_of_another_part(parts: Path, link: str) -> None:
    for part in ("train", "test", "val"):
        fill(parts / part / "birds") if not link.startswith(part) else None
    (parts / link).symlink_to("../train/dogs" if not link.startswith("train") else "../test/dogs")
    refused(parts, "a class folder must not be or hold another one")


def test_a_part_that_is_another(parts: Path) -> None:
    os.rename(parts / "test", parts / "old")
    (parts / "test").symlink_to("train")
    refused(parts, "a class folder must not be or hold another one")


def test_test_data_that_were_trained_on(root: Path, tmp_path: Path) -> None:
    refused(root, "test images must not be training images, but 12 of", test=root)
    for label in ("cats", "dogs"):
        fill(tmp_path / "own" / label)
    (tmp_path / "own" / "cats" / "x.png").symlink_to(root / "cats" / "0.png")
    refused(root, "test images must not be training images, but 1 of", test=tmp_path / "own")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "endless device", "link to nothing", "loop"])
def test_what_is_no_file(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "cats" / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(path.parent)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    else:
        targets = {"device": "/dev/null", "endless device": "/dev/zero", "loop": "x.png"}
        path.symlink_to(targets.get(kind, "nowhere"))
    refused(root, "an image must be a file, but .*x.png is a (pipe|socket|device|link that leads nowhere)")


def test_names_of_every_kind(root: Path) -> None:
    os.rename(bytes(root / "cats" / "0.png"), bytes(root / "cats") + b"/\xff\xfe.png")
    (root / "cats" / "1.png").rename(root / "cats" / "a\x1b[2J\nb.png")
    (root / "cats").rename(root / "<img src=x onerror=alert(1)>")
    assert load_data(root).class_names == ("<img src=x onerror=alert(1)>", "dogs")
    (root / "<img src=x onerror=alert(1)>" / "a\x1b[2J\nb.png").write_bytes(b"no image")
    refused(root, r"a\\x1b\[2J\\nb.png \(not an image\)")


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"a\nb", b"\x1b[31mred", b"a\x7f", b"\xc2\x85x", b" ", b"\xe2\x80\xa8"]
)
def test_names_of_classes_that_cannot_be_shown(root: Path, name: bytes) -> None:
    os.rename(bytes(root / "cats"), bytes(root) + b"/" + name)
    refused(root, "a class name must")


def test_the_name_of_the_data_is_escaped(root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "d\x1b[2Jta")
    assert load_data(tmp_path / "d\x1b[2Jta").name == r"d\x1b[2Jta"
    os.rename(bytes(tmp_path / "d\x1b[2Jta"), bytes(tmp_path) + b"/\xff")
    refused(os.fsdecode(bytes(tmp_path) + b"/\xff"), "must be a name or a path")


def test_a_folder_that_cannot_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "cats" / "locked").mkdir()
    inside = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return inside(path)

    monkeypatch.setattr(os, "scandir", scandir)
    refused(root, "a folder must be readable, but .*locked is not .*; check its rights")


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="who may do everything can read everything"
)
def test_a_file_that_cannot_be_read(root: Path) -> None:
    (root / "cats" / "0.png").chmod(0)
    refused(root, "Permission denied")


def refused_image(root: Path, content: bytes, match: str) -> None:
    (root / "cats" / "0.png").write_bytes(content)
    refused(root, match)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "EPS"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "EPS"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "WMF"),
        (b"8BPS\x00\x01" + bytes(40), "PSD"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"GRIB\x00\x12\x34\x01" + bytes(40), "GRIB"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
        (b"\x00\x00\x01\xb3" + bytes(40), "MPEG"),
        (b"\x00\x00\x01\x00\x01\x00" + bytes(40), "ICO"),
        (b"\xff\x4f\xff\x51" + bytes(40), "JPEG2000"),
        (b"DDS " + bytes(140), "DDS"),
        (b"icns" + bytes(40), "ICNS"),
    ],
)
def test_formats_that_are_not_for_pictures(root: Path, start: bytes, name: str) -> None:
    refused_image(
        root, start, f"0.png .its format is {name}, but BMP, GIF, JPEG, PNG, PPM, TIFF and WEBP are read"
    )


def test_no_program_is_started(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr("subprocess.Popen", run)
    monkeypatch.setattr("os.system", run)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "EPS")
    refused_image(root, buffer.getvalue(), "its format is EPS")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"P6\n9 9\n255\n",
        b"P5 99999999999 9 255\n",
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        b"II*\x00\xff\xff\xff\xff",
        b"<svg/>",
    ],
)
def test_what_is_no_image(root: Path, content: bytes) -> None:
    refused_image(
        root, content, r"every image must be readable, but 1 of 12 in .* is not, the first .*0.png \("
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_cut_and_flipped_images_are_refused_or_read(root: Path, kind: str) -> None:
    whole = encoded(kind)
    refused_image(root, whole[: len(whole) // 2], "every image must be readable")
    for _ in range(15):
        content = bytearray(whole)
        for place in RNG.integers(12, len(content), 3):
            content[place] ^= int(RNG.integers(1, 256))
        (root / "cats" / "0.png").write_bytes(content)
        refused_or_read(root)


@pytest.mark.parametrize(
    ("mode", "side", "in_memory"),
    [("L", 8300, None), ("RGB", 4800, True), ("1", 9500, None), ("1", 14_000, True)],
)
def test_a_small_file_of_a_huge_picture(root: Path, mode: str, side: int, in_memory: bool | None) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, "PNG")
    (root / "cats" / "0.png").write_bytes(buffer.getvalue())
    refused(root, f"{side}x{side} pixels|exceeds limit", input_size=8, in_memory=in_memory)


def test_small_files_of_large_pictures_that_are_many(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("L", (2100, 2100)).save(buffer, "PNG")
    for path in root.glob("*/*.png"):
        path.write_bytes(buffer.getvalue())
    assert load_data(root, input_size=8).input_shape == (1, 8, 8)
    monkeypatch.setattr(stores, "_FREE_BYTES", 12 * 2100**2 - 1)
    refused(root, "at most 200-fold, but all of .* unfolds", input_size=8)
    refused(root, "at most 200-fold, but all of .* unfolds", in_memory=False)


def test_scanned_pages_unfold_far_and_are_read(root: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (3000, 3000)).save(buffer, "TIFF", compression="group4")
    assert len(buffer.getvalue()) < 1000
    (root / "cats" / "0.png").write_bytes(buffer.getvalue())
    assert total(root) == 12


def test_a_picture_that_is_only_long(root: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (1, 60_000)).astype(np.uint8)).save(buffer, "PNG")
    (root / "cats" / "0.png").write_bytes(buffer.getvalue())
    refused(root, "at most .* times as long as wide to cover 128x128", input_size=128, in_memory=True)


def test_a_sparse_file(root: Path) -> None:
    with (root / "cats" / "0.png").open("wb") as file:
        file.truncate(2**40)
    refused(root, "1,048,576 MiB, more than 256")


@pytest.mark.parametrize(
    "path", ["", " ", "/", "/dev/zero", "/dev/stdin", "a\x00b", "x" * 5000, "no/such\x1b[2J", "\udcff"]
)
def test_paths_that_are_none(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(path)
    for label in ("cats", "dogs"):
        fill(tmp_path / label)
    refused(path)
    refused(".", test=path)


def test_here_is_a_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert load_data(".").name == "data"


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "train.txt"])
def test_pipes_instead_of_files(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    refused(tmp_path if name == "train.txt" else tmp_path / name, "a regular file, but .* is a pipe")
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    refused(tmp_path if name == "train.txt" else tmp_path / name, "a regular file, but .* is a device")
