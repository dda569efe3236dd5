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


@pytest.mark.parametrize(
    ("others", "wanted", "note"),
    [
        ({"test": 4}, [16, 4, 8], "test/ has class folders named as those beside it, so it is the test set."),
        ({"Test": 4}, [16, 4, 8], "Test/ has class folders named"),
        ({"TESTING": 4}, [16, 4, 8], "TESTING/ has class folders named"),
        ({"test set": 4}, [16, 4, 8], "test set/ has class folders named"),
        ({"Test_Data": 4}, [16, 4, 8], "Test_Data/ has class folders named"),
        ({"val": 4}, [16, 4, 8], "val/ is the only other folder, so it is the test set."),
        ({"Validation": 3, "tests": 5}, [20, 6, 10], "Validation/ has class folders named"),
    ],
)
def test_a_test_folder_beside_class_folders(
    tmp_path: Path, others: dict[str, int], wanted: list[int], note: str
) -> None:
    for name in ("OK", "NG"):
        fill(tmp_path / "data" / name, 10)
        for other, num in others.items():
            fill(tmp_path / "data" / other / name, num)
    task = load_data(tmp_path / "data")
    assert (task.class_names, sizes(task)) == (("NG", "OK"), wanted)
    assert note in " ".join(task.notes)
    given = load_data(tmp_path / "data", test=tmp_path / "data") if "test" in others else task
    assert given.num_examples("test") == wanted[2]


def test_a_test_folder_may_lack_a_class_but_have_none_of_its_own(tmp_path: Path) -> None:
    for name in ("OK", "NG", "test/OK"):
        fill(tmp_path / name, 6)
    assert "1 of 2 classes have no test image." in load_data(tmp_path).notes
    fill(tmp_path / "test" / "other", 6)
    with pytest.raises(DataError, match=r"test has classes that .* lacks \('other'; .* has 'NG', 'OK'\)"):
        load_data(tmp_path)


@pytest.mark.parametrize("name", ["test", "Valid", "train"])
def test_a_class_may_be_called_as_a_part_is(tmp_path: Path, name: str) -> None:
    for other in ("control", "invalid"):
        fill(tmp_path / other, 10)
    fill(tmp_path / name, 10)
    fill(tmp_path / name / "batch 2", 2)
    if name == "train":
        (tmp_path / name / "batch 2").rename(tmp_path / "invalid" / "deeper")
    task = load_data(tmp_path)
    assert task.num_classes == 3
    assert name in task.class_names
    assert f"{name}/ has no class folders named as those beside it, so it is read as a class." in task.notes


def test_two_classes_called_as_parts_are(tmp_path: Path) -> None:
    fill(tmp_path / "valid", 10)
    fill(tmp_path / "test", 10)
    task = load_data(tmp_path)
    assert task.class_names == ("test", "valid")
    assert "Folders are read as classes: 'test', 'valid'." in task.notes


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("TRAINING", "testing"), ("train_set", "test-set"), ("Training Data", "tests")],
)
def test_spellings_of_parts(tmp_path: Path, train: str, test: str) -> None:
    for part, num in ((train, 10), (test, 4)):
        for name in ("a b", "c"):
            fill(tmp_path / part / name, num)
    assert sizes(load_data(tmp_path)) == [16, 4, 8]


def test_parts_that_contradict_each_other(tmp_path: Path) -> None:
    for part in ("train", "val", "valid"):
        for name in ("a b", "c"):
            fill(tmp_path / part / name, 5)
    with pytest.raises(
        DataError, match=r"a part must have one folder, but .*val and .*valid are both the validation set"
    ):
        load_data(tmp_path)


def test_folders_beside_parts_are_passed_over_and_said(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("a b", "c"):
            fill(tmp_path / part / name, 10)
    fill(tmp_path / "unsorted", 3)
    task = load_data(tmp_path)
    assert task.class_names == ("a b", "c")
    assert "Beside the parts, folders are passed over: 'unsorted'." in task.notes


def test_training_images_without_class_folders(tmp_path: Path) -> None:
    fill(tmp_path / "train", 5)
    fill(tmp_path / "test", 5)
    with pytest.raises(
        DataError, match=r"one folder per class, but .*(train|test) has 5 images and no folder"
    ):
        load_data(tmp_path)


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
