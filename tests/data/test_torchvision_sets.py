from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision import datasets

from onepath.data import load_data
from onepath.data.torchvision_sets import KNOWN_NAMES, find_dataset
from onepath.errors import DataError

RNG = np.random.default_rng(0)


def sizes(task: object) -> list[int]:
    return [task.num_examples(split) for split in ("train", "validation", "test")]  # type: ignore[attr-defined]


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(length).to_bytes(4, "big") for length in array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def write_mnist(root: Path, name: str) -> None:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for part, num in (("train", 100), ("t10k", 30)):
        write_idx(raw / f"{part}-images-idx3-ubyte", RNG.integers(0, 256, (num, 28, 28)))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(num) % 10)


@pytest.mark.parametrize(
    ("name", "folder", "flip"),
    [("mnist", "MNIST", False), ("Fashion-MNIST", "FashionMNIST", True), ("KMNIST", "KMNIST", False)],
)
def test_the_mnist_family(tmp_path: Path, name: str, folder: str, flip: bool) -> None:
    write_mnist(tmp_path, folder)
    task = load_data(name, root=tmp_path)
    assert sizes(task) == [80, 20, 30]
    assert (task.name, task.input_shape, task.num_classes) == (folder.lower(), (1, 28, 28), 10)
    assert task.class_names == tuple(getattr(datasets, folder).classes)
    assert task.flip == flip


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = {"data_batch_1": RNG.integers(0, 256, (50, 3072)).astype(np.uint8)}
    pixels["test_batch"] = RNG.integers(0, 256, (20, 3072)).astype(np.uint8)
    for name, data in pixels.items():
        (folder / name).write_bytes(
            pickle.dumps({"data": data, "labels": [index % 10 for index in range(len(data))]})
        )
    names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(
        datasets.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": None}
    )
    task = load_data("CIFAR-10", root=str(tmp_path))
    assert sizes(task) == [40, 10, 20]
    assert (task.input_shape, task.class_names, task.flip) == ((3, 32, 32), tuple(names), True)
    mean, std = (np.array(part).reshape(1, 3, 1, 1) for part in task.normalisation)
    found = np.rint((task.test_images(5).numpy() * std + mean) * 255)
    np.testing.assert_array_equal(found, pixels["test_batch"][:5].reshape(5, 3, 32, 32))


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {}
    for part, num in (("train", 40), ("test", 20)):
        content = {
            "X": RNG.integers(0, 256, (32, 32, 3, num)).astype(np.uint8),
            "y": np.arange(num)[:, None] % 10 + 1,
        }
        scipy.io.savemat(tmp_path / f"{part}.mat", content)
        files[part] = ["", f"{part}.mat", None]
    monkeypatch.setattr(datasets.SVHN, "split_list", files)
    task = load_data("svhn", root=tmp_path)
    assert sizes(task) == [30, 10, 20]
    assert (task.input_shape, task.num_classes, task.flip) == ((3, 32, 32), 10, False)


def test_stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for part, num in (("train", 10), ("test", 4)):
        (folder / f"{part}_X.bin").write_bytes(
            RNG.integers(0, 256, (num, 3, 96, 96)).astype(np.uint8).tobytes()
        )
        (folder / f"{part}_y.bin").write_bytes((np.arange(num) % 2 + 1).astype(np.uint8).tobytes())
    (folder / "class_names.txt").write_text("cat\ndog\n")
    monkeypatch.setattr(datasets.STL10, "train_list", [["train_X.bin", None], ["train_y.bin", None]])
    monkeypatch.setattr(datasets.STL10, "test_list", [["test_X.bin", None], ["test_y.bin", None]])
    task = load_data("stl10", root=tmp_path)
    assert sizes(task) == [8, 2, 4]
    assert (task.input_shape, task.class_names) == ((3, 96, 96), ("cat", "dog"))


def test_pets_of_different_sizes_are_read_from_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for part, num in (("trainval", 8), ("test", 4)):
        lines = []
        for index in range(num):
            label = index % 2 + 1
            name = f"{'Beagle' if label == 2 else 'Abyssinian'}_{part}{index}"
            height, width = 150 + 10 * index, 200
            Image.fromarray(RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)).save(
                folder / "images" / f"{name}.jpg"
            )
            lines.append(f"{name} {label} 1 1")
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(lines))
    task = load_data("OxfordIIITPet", root=tmp_path, num_workers=2)
    assert sizes(task) == [6, 2, 4]
    assert task.class_names == ("Abyssinian", "Beagle")
    assert task.input_shape == (3, 160, 160)
    assert next(task.train_batches(3, seed=0, num_updates=1)).inputs.shape == (3, 3, 160, 160)


def test_a_set_of_one_part(tmp_path: Path) -> None:
    for name in ("Forest", "River"):
        folder = tmp_path / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        for index in range(10):
            Image.fromarray(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(folder / f"{index}.jpg")
    task = load_data("eurosat", root=tmp_path)
    assert sizes(task) == [13, 3, 4]
    assert (task.class_names, task.input_shape) == (("Forest", "River"), (3, 64, 64))
    assert load_data(tmp_path / "eurosat" / "2750", test="eurosat", root=tmp_path).num_examples("test") == 20


@pytest.mark.parametrize("name", KNOWN_NAMES)
def test_known_names_are_found(name: str) -> None:
    dataset = find_dataset(name.upper())
    assert dataset is not None
    assert dataset.__name__.lower() == name


def test_a_root_is_needed() -> None:
    with pytest.raises(DataError, match="cifar10 came without; give root"):
        load_data("cifar10")


def test_a_failed_download_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_connection(self: object) -> None:
        print("Downloading ...")  # noqa: T201
        raise OSError("no route to host\nsecond line")

    monkeypatch.setattr(datasets.MNIST, "download", no_connection)
    with pytest.raises(
        DataError, match=r"the files of mnist must lie .* download failed \(no route to host\)"
    ) as caught:
        load_data("mnist", root=tmp_path)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_sets_that_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"the files of imagenet must lie .* torchvision cannot download them"
    ):
        load_data("imagenet", root=tmp_path)


def test_sets_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="one image with one integer label at a time, but cococaptions does not"
    ):
        load_data("CocoCaptions", root=tmp_path)


def test_a_path_of_that_name_wins_without_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "mnist" / name).mkdir(parents=True)
        for index in range(5):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "mnist" / name / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    assert load_data("mnist").class_names == ("cats", "dogs")
