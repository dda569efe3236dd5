"""Files of torchvision's sets that are pickled, or that torchvision would unpickle."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from data.hostile import refused
from PIL import Image
from torchvision import datasets

from onepath.data import load_data
from onepath.data.pickled_files import check_imagenet
from onepath.data.torchvision_sets import KNOWN_NAMES, find_dataset

RNG = np.random.default_rng(0)


class Bomb:
    """What creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that appears when code of a file was run; without a network."""

    def no_connection(*_: object, **__: object) -> None:
        raise OSError("no connection")

    for module in ("cifar", "mnist", "usps", "svhn", "stl10", "fgvc_aircraft", "utils"):
        part = getattr(datasets, module)
        for name in ("download_and_extract_archive", "download_url"):
            if hasattr(part, name):
                monkeypatch.setattr(part, name, no_connection)
    return tmp_path / "code was run"


def write_cifar(
    root: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, fortran: bool = False
) -> np.ndarray:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    data = RNG.integers(0, 256, (20, 3072)).astype(np.uint8)
    labels = [index % 2 for index in range(20)]
    tables = {
        "data_batch_1": {"data": np.asfortranarray(data) if fortran else data, "labels": labels},
        "test_batch": {b"data": data, b"labels": labels},
        "batches.meta": {"label_names": ["plane", b"car"]},
    }
    hashes = {}
    for name, table in tables.items():
        content = pickle.dumps(table, protocol)
        (folder / name).write_bytes(content)
        hashes[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", hashes["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", hashes["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": hashes["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return data


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("fortran", [False, True])
def test_cifar_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, fortran: bool) -> None:
    data = write_cifar(tmp_path, monkeypatch, protocol, fortran)
    task = load_data("cifar10", root=tmp_path)
    assert task.class_names == ("plane", "car")
    expected = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for split in ("train", "test"):
        pixels = task._part(split).store.pixels
        np.testing.assert_array_equal(pixels, expected)


def test_cifar_as_python_2_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_cifar(tmp_path, monkeypatch, 2)
    # Strings of bytes, as Python 2 pickled text and the content of arrays.
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01K\x14M\x00\x0c\x86" + kind + b"\x89"
    state += b"T" + struct.pack("<i", data.nbytes) + data.tobytes() + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state
    labels = b"](" + b"K\x00K\x01" * 10 + b"e"
    content = b"\x80\x02}(U\x04data" + array + b"U\x06labels" + labels + b"u."
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", hashlib.md5(content).hexdigest()]])
    pixels = load_data("cifar10", root=tmp_path)._part("test").store.pixels
    np.testing.assert_array_equal(pixels, data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


@pytest.mark.parametrize("has_hash", [True, False])
@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_cifar_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: Path, name: str, has_hash: bool
) -> None:
    write_cifar(tmp_path, monkeypatch, 4)
    (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(Bomb(mark)))
    if not has_hash:  # even where a hash would not stop it
        monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", None]])
        monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", None]])
        meta = {"filename": "batches.meta", "key": "label_names", "md5": None}
        monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    refused("cifar10", "the files of cifar10 must lie", root=tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "table",
    [[], {}, {"data": 1, "labels": []}, {"data": np.zeros((2, 3), float), "labels": [0]}, {"data": None}],
)
def test_cifar_that_holds_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: Path, table: object
) -> None:
    write_cifar(tmp_path, monkeypatch, 4)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(table))
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", None]])
    refused("cifar10", "the files of cifar10 must lie", root=tmp_path)


@pytest.mark.parametrize("name", ["lsun", "LSUN", "L-Sun", "ls_un"])
def test_lsun_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for cache in ("_cache_", "_cache_bedroom_train_lmdb"):
        (tmp_path / cache).write_bytes(pickle.dumps(Bomb(mark)))
    refused(name, "must be safe to open, but lsun is not: torchvision unpickles", root=tmp_path)
    refused(name, "must be safe to open, but lsun is not")
    assert not mark.exists()


def test_pcam_is_not_opened(tmp_path: Path) -> None:
    refused("PCAM", "must be safe to open, but pcam is not: it is read by HDF5", root=tmp_path)


@pytest.mark.parametrize("name", sorted(set(map(str.lower, datasets.__all__)) - set(KNOWN_NAMES)))
def test_no_other_set_of_torchvision_is_opened(name: str, tmp_path: Path) -> None:
    assert find_dataset(name) is None
    refused(name, root=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST"])
def test_old_pickled_files_of_mnist_are_passed_over(
    tmp_path: Path, mark: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("torch.load was called")

    monkeypatch.setattr(torch, "load", loaded)
    folder = tmp_path / name / "processed"
    folder.mkdir(parents=True)
    for file in ("training.pt", "test.pt", "train.pt", "training_balanced.pt", "test_balanced.pt"):
        (folder / file).write_bytes(pickle.dumps(Bomb(mark)))
    refused(name, "must lie under the root folder", root=tmp_path)
    assert not mark.exists()


def test_qmnist_has_its_label_in_the_first_column(tmp_path: Path) -> None:
    raw = tmp_path / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, num in (("train", 40), ("test", 20)):
        pixels = RNG.integers(0, 256, (num, 28, 28)).astype(np.uint8)
        labels = np.tile(np.arange(num)[:, None] % 10, (1, 8)).astype(">i4")
        labels[:, 1:] = 77
        for kind, code, array in (("images-idx3-ubyte", 8, pixels), ("labels-idx2-int", 12, labels)):
            lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
            head = bytes([0, 0, code, array.ndim]) + lengths
            (raw / f"qmnist-{part}-{kind}").write_bytes(head + array.tobytes())
    task = load_data("qmnist", root=tmp_path)
    assert task.num_classes == 10
    assert task.labels("test").tolist() == [index % 10 for index in range(20)]


def meta_bin(path: Path, content: object) -> None:
    torch.save(content, path)


def test_imagenet_with_a_table_of_names(tmp_path: Path) -> None:
    meta_bin(tmp_path / "meta.bin", ({"n01": ("tench", "Tinca"), "n02": ("goldfish",)}, ["n01"]))
    for part in ("train", "val"):
        for wnid in ("n01", "n02"):
            folder = tmp_path / part / wnid
            folder.mkdir(parents=True)
            for number in range(5):
                Image.fromarray(RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(
                    folder / f"{number}.JPEG"
                )
    assert load_data("imagenet", root=tmp_path).class_names == ("tench", "goldfish")


def test_imagenet_whose_table_holds_more(tmp_path: Path, mark: Path) -> None:
    meta_bin(tmp_path / "meta.bin", ({"n01": torch.zeros(1)}, []))
    with pytest.raises(ValueError, match="must not name"):
        check_imagenet(tmp_path)
    with zipfile.ZipFile(tmp_path / "meta.bin", "w") as archive:
        archive.writestr("meta/data.pkl", pickle.dumps(Bomb(mark)))
    refused("imagenet", "must not name (posix|nt).mkdir", root=tmp_path)
    (tmp_path / "meta.bin").write_bytes(pickle.dumps(Bomb(mark)))
    refused("imagenet", "not a zip file", root=tmp_path)
    assert not mark.exists()


def write_pets(root: Path, content: bytes) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for part in ("trainval", "test"):
        names = [f"{'AB'[index % 2]}_{part}{index}" for index in range(8)]
        for name in names:
            (folder / "images" / f"{name}.jpg").write_bytes(content)
        lines = [f"{name} {index % 2 + 1} 1 1" for index, name in enumerate(names)]
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(lines))


def write_folders(root: Path, content: bytes) -> None:
    for label in ("Forest", "River"):
        folder = root / "eurosat" / "2750" / label
        folder.mkdir(parents=True)
        for number in range(8):
            (folder / f"{number}.jpg").write_bytes(content)


def write_signs(root: Path, content: bytes) -> None:
    for label in ("00000", "00001"):
        folder = root / "gtsrb" / "GTSRB" / "Training" / label
        folder.mkdir(parents=True)
        for number in range(8):
            (folder / f"{number}.ppm").write_bytes(content)
    folder = root / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    folder.mkdir(parents=True)
    (folder / "0.ppm").write_bytes(content)
    (root / "gtsrb" / "GT-final_test.csv").write_text("Filename;ClassId\n0.ppm;1\n")


def write_caltech(root: Path, content: bytes) -> None:
    for label in ("001.ak47", "002.flag"):
        folder = root / "caltech256" / "256_ObjectCategories" / label
        folder.mkdir(parents=True)
        for number in range(1, 9):
            (folder / f"{label[:3]}_{number:04d}.jpg").write_bytes(content)
    for label in ("accordion", "anchor", "BACKGROUND_Google"):
        folder = root / "caltech101" / "101_ObjectCategories" / label
        folder.mkdir(parents=True)
        for number in range(1, 9):
            (folder / f"image_{number:04d}.jpg").write_bytes(content)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("oxfordiiitpet", write_pets),
        ("eurosat", write_folders),
        ("gtsrb", write_signs),
        ("caltech101", write_caltech),
        ("caltech256", write_caltech),
    ],
)
def test_images_of_sets_are_opened_by_the_same_list_of_formats(
    tmp_path: Path, name: str, write: object
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(buffer, "EPS")
    write(tmp_path / "bad", buffer.getvalue())  # type: ignore[operator]
    refused(name, "its format is EPS", root=tmp_path / "bad")
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(buffer, "PNG")
    write(tmp_path / "good", buffer.getvalue())  # type: ignore[operator]
    assert load_data(name, root=tmp_path / "good").num_classes == 2


def test_a_loop_of_links_in_a_set(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(buffer, "PNG")
    write_folders(tmp_path, buffer.getvalue())
    (tmp_path / "eurosat" / "2750" / "River" / "loop").symlink_to("..")
    refused("eurosat", "must lie directly in their class folders", root=tmp_path)


def test_an_archive_without_a_hash_is_not_unpacked(tmp_path: Path, mark: Path) -> None:
    (tmp_path / "fgvc-aircraft-2013b.tar.gz").write_bytes(b"an archive of anyone")
    refused("fgvcaircraft", "torchvision cannot download them safely", root=tmp_path)


@pytest.mark.parametrize("root", ["", " "])
def test_a_blank_root(root: str) -> None:
    refused("cifar10", "needs a root folder", root=root)


@pytest.mark.parametrize(
    "name", ["mnist", "usps", "svhn", "stl10", "semeion", "fer2013", "stanfordcars", "flowers102"]
)
def test_damaged_files(tmp_path: Path, mark: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("no connection"))
    )
    monkeypatch.setattr("torchvision.datasets.semeion.download_url", lambda *_, **__: None)
    monkeypatch.setattr("torchvision.datasets.flowers102.download_and_extract_archive", lambda *_, **__: None)
    monkeypatch.setattr("torchvision.datasets.flowers102.download_url", lambda *_, **__: None)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{part}-{kind}-ubyte").write_bytes(b"\x00\x00\x08\x03\xff\xff\xff\xff")
    cars = tmp_path / "stanford_cars"
    (cars / "devkit").mkdir(parents=True)
    (cars / "cars_train").mkdir()
    (cars / "devkit" / "cars_train_annos.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    for file in ("usps.bz2", "train_32x32.mat", "semeion.data"):
        (tmp_path / file).write_bytes(b"damaged")
    refused(name, "must lie under the root folder", root=tmp_path)
