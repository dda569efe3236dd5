from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onepath.data import load_data
from onepath.errors import DataError

RNG = np.random.default_rng(0)


def fill(folder: Path, num: int, size: int = 8, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(num):
        pixels = RNG.integers(0, 256, (size, size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"image {index} ü{suffix}")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    root = tmp_path / "my näme with spaces"
    fill(root / "zebra fish", 10)
    fill(root / "čat", 20)
    return root


def sizes(task: object) -> list[int]:
    return [task.num_examples(split) for split in ("train", "validation", "test")]  # type: ignore[attr-defined]


def test_class_folders(flat: Path) -> None:
    task = load_data(flat)
    assert (task.name, task.class_names, task.input_shape) == (
        "my näme with spaces",
        ("zebra fish", "čat"),
        (3, 8, 8),
    )
    assert sizes(task) == [20, 4, 6]
    assert task.flip
    assert load_data(str(flat)).fingerprint == task.fingerprint


def test_other_files_are_passed_over(flat: Path) -> None:
    before = load_data(flat).fingerprint
    (flat / ".git").mkdir()
    (flat / "__MACOSX").mkdir()
    (flat / "readme.txt").write_text("hello")
    (flat / "čat" / "notes.txt").write_text("hello")
    (flat / "čat" / "._image.png").write_bytes(b"resource fork")
    assert load_data(flat).fingerprint == before


def test_images_may_lie_deeper_and_have_capital_suffixes(flat: Path) -> None:
    fill(flat / "čat" / "more" / "deep", 5, suffix=".PNG")
    assert sum(sizes(load_data(flat))) == 35


@pytest.mark.parametrize(
    ("others", "wanted", "note"),
    [
        ({"test": 4}, [16, 4, 8], ""),
        ({"val": 4}, [16, 4, 8], "val/ is the only other folder, so it is the test set."),
        ({"Valid": 3}, [16, 4, 6], "Valid/ is the only other folder"),
        ({"val": 3, "test": 5}, [20, 6, 10], ""),
        ({}, [13, 3, 4], "There is no test set"),
    ],
)
def test_parts(tmp_path: Path, others: dict[str, int], wanted: list[int], note: str) -> None:
    for part, num in {"train": 10, **others}.items():
        fill(tmp_path / "data" / part / "a", num)
        fill(tmp_path / "data" / part / "b c", num)
    task = load_data(tmp_path / "data")
    assert sizes(task) == wanted
    assert note in " ".join(task.notes)


def test_validation_and_test_images_are_those_of_their_folders(tmp_path: Path) -> None:
    for part, value in {"train": 10, "val": 20, "test": 30}.items():
        for name in "ab":
            folder = tmp_path / part / f"class {name}"
            folder.mkdir(parents=True)
            for index in range(3):
                Image.fromarray(np.full((8, 8, 3), value + index, np.uint8)).save(folder / f"{index}.png")
    task = load_data(tmp_path)
    mean, std = task.normalisation[0][0], task.normalisation[1][0]
    assert mean * 255 == pytest.approx(11)
    for split, value in {"validation": 20, "test": 30}.items():
        batch = next(task.batches(split, 6))  # type: ignore[arg-type]
        assert (batch.inputs[:, 0, 0, 0] * std + mean).mul(255).round().tolist() == [
            value,
            value + 1,
            value + 2,
        ] * 2
        assert batch.targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_another_folder_as_test_set(flat: Path, tmp_path: Path) -> None:
    fill(tmp_path / "other" / "čat", 3)
    task = load_data(flat, test=tmp_path / "other")
    assert sizes(task) == [24, 6, 3]
    assert task.labels("test").tolist() == [1, 1, 1]
    assert "1 of 2 classes have no test image." in task.notes
    fill(tmp_path / "nested" / "test" / "čat", 2)
    fill(tmp_path / "nested" / "train" / "čat", 9)
    assert load_data(flat, test=tmp_path / "nested").num_examples("test") == 2


def test_characters_are_not_mirrored(tmp_path: Path) -> None:
    for name in "xyz":
        fill(tmp_path / "data" / name, 5)
    assert not load_data(tmp_path / "data").flip


def test_empty_class_folders(flat: Path) -> None:
    (flat / "empty one").mkdir()
    (flat / "empty one" / "readme.txt").write_text("no image")
    with pytest.raises(
        DataError, match=r"1 of 3 in .*my näme with spaces have none \('empty one'\); add images"
    ):
        load_data(flat)


def test_no_class_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one folder per class, but .* has none"):
        load_data(tmp_path)
    fill(tmp_path, 3)
    with pytest.raises(DataError, match="has 3 images and no folder; sort the images"):
        load_data(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    fill(tmp_path / "data" / "cat", 9)
    with pytest.raises(
        DataError, match=r"number of classes >= 2 must hold, but every image of .* has class 'cat'"
    ):
        load_data(tmp_path / "data")


def test_no_training_folder(tmp_path: Path) -> None:
    fill(tmp_path / "test" / "a", 3)
    fill(tmp_path / "val" / "a", 3)
    with pytest.raises(DataError, match="a folder with test/ and val/ must also have train/"):
        load_data(tmp_path)


def test_a_test_class_that_training_lacks(flat: Path, tmp_path: Path) -> None:
    fill(tmp_path / "other" / "dog", 3)
    with pytest.raises(DataError, match=r"has classes that .* lacks \('dog'; .* has 'zebra fish', 'čat'\)"):
        load_data(flat, test=tmp_path / "other")


def test_damaged_images_are_named(flat: Path) -> None:
    broken = flat / "čat" / "image 3 ü.png"
    broken.write_bytes(broken.read_bytes()[:70])
    (flat / "čat" / "image 4 ü.png").write_text("a text")
    with pytest.raises(
        DataError, match=r"2 of 30 in .* are not, the first .*image 3 ü.png \(.*\); replace"
    ) as caught:
        load_data(flat)
    assert "\n" not in str(caught.value)


def test_different_sizes_need_an_input_size(flat: Path) -> None:
    fill(flat / "čat", 1, size=12)
    with pytest.raises(DataError, match=r"is 8x8 and .* 12x12 .*give an input size|is 12x12 and .* 8x8"):
        load_data(flat)
    assert load_data(flat, input_size=10).input_shape == (3, 10, 10)
