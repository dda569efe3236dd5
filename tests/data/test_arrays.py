from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onepath.data import load_data
from onepath.data.arrays import check_images
from onepath.errors import DataError

RNG = np.random.default_rng(0)


def arrays(
    num: int = 60, shape: tuple[int, ...] = (8, 8, 3), classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    return RNG.integers(0, 256, (num, *shape)).astype(np.uint8), np.arange(num) % classes


def save(path: Path, **changes: Any) -> Path:
    x, y = arrays()
    content: dict[str, Any] = {"x_train": x, "y_train": y, "x_test": x[:9], "y_test": y[:9]} | changes
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return path


def test_an_npz_with_a_test_set(tmp_path: Path) -> None:
    x, y = arrays()
    task = load_data(save(tmp_path / "some data é.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9]))
    assert (task.name, task.input_shape, task.num_classes) == ("some data é", (3, 8, 8), 3)
    assert task.class_names == ("0", "1", "2")
    assert [task.num_examples(split) for split in ("train", "validation", "test")] == [48, 12, 9]
    mean, std = (np.array(part).reshape(1, 1, 3) for part in task.normalisation)
    wanted = (x[:9] / 255 - mean) / std
    found = next(task.batches("test", 9))
    np.testing.assert_allclose(found.inputs.permute(0, 2, 3, 1), wanted, atol=1e-5)
    np.testing.assert_array_equal(found.targets, y[:9])


def test_an_npz_without_a_test_set(tmp_path: Path) -> None:
    task = load_data(save(tmp_path / "a.npz", x_test=None, y_test=None))
    assert [task.num_examples(split) for split in ("train", "validation", "test")] == [39, 9, 12]
    assert any("no test set" in note for note in task.notes)


def test_an_npz_with_a_validation_set_and_class_names(tmp_path: Path) -> None:
    x, y = arrays(6)
    task = load_data(save(tmp_path / "a.npz", x_val=x, y_val=y, class_names=np.array(["ant", "bee", "cat"])))
    assert task.num_examples("validation") == 6
    assert task.num_examples("train") == 60
    assert task.class_names == ("ant", "bee", "cat")


def test_string_labels_are_class_names(tmp_path: Path) -> None:
    names = np.array(["wasp", "ant", "bee"])
    x, y = arrays()
    task = load_data(
        save(tmp_path / "a.npz", x_train=x, y_train=names[y], x_test=x[:4], y_test=names[[0, 0, 1, 2]])
    )
    assert task.class_names == ("ant", "bee", "wasp")
    assert next(task.batches("test", 4)).targets.tolist() == [2, 2, 0, 1]


def test_the_test_set_may_come_from_another_npz(tmp_path: Path) -> None:
    x, y = arrays(30)
    train = save(tmp_path / "a.npz")
    assert load_data(train, test=save(tmp_path / "b.npz", x_train=x, y_train=y)).num_examples("test") == 9
    only_train = save(tmp_path / "c.npz", x_train=x, y_train=y, x_test=None, y_test=None)
    assert load_data(train, test=only_train).num_examples("test") == 30
    only_test = save(tmp_path / "d.npz", x_train=None, y_train=None)
    assert load_data(train, test=only_test).num_examples("test") == 9


def test_equivalent_arrays_give_the_same_task() -> None:
    x, y = arrays()
    reference = load_data((x, y))
    for same in [
        (x.transpose(0, 3, 1, 2), y),
        (x.astype(np.int64), y.tolist()),
        (torch.from_numpy(x), torch.from_numpy(y)),
    ]:
        task = load_data(same)
        assert task.fingerprint == reference.fingerprint
        assert task.normalisation == reference.normalisation
    scaled = load_data((x / 255.0, y))
    np.testing.assert_allclose(scaled.normalisation, reference.normalisation, rtol=1e-5)
    for one, other in zip(scaled.batches("validation", 5), reference.batches("validation", 5), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((5, 8, 9), (5, 8, 9, 1)),
        ((5, 8, 9, 3), (5, 8, 9, 3)),
        ((5, 3, 8, 9), (5, 8, 9, 3)),
        ((5, 1, 8, 9), (5, 8, 9, 1)),
        ((5, 12, 28, 28), (5, 28, 28, 12)),
    ],
)
def test_channels_go_last(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    array = RNG.integers(0, 256, shape).astype(np.uint8)
    found = check_images(array, "here")
    assert found.shape == wanted
    as_given = array[..., None] if array.ndim == 3 else array
    np.testing.assert_array_equal(found, as_given if wanted == as_given.shape else np.moveaxis(array, 1, -1))


@pytest.mark.parametrize(
    ("array", "scale"),
    [
        (np.array([0, 4000, 37]).astype(np.uint16), 65535.0),
        (np.array([-300, 1200, 5]).astype(np.int16), 1200.0),
        (np.array([0, 70_000, 12]).astype(np.int32), 70_000.0),
        (np.array([-5, 3, 2]).astype(np.int8), 5.0),
        (np.array([0, 9_000_000, 1]).astype(np.int64), 9_000_000.0),
        (np.array([0, 300, 299]).astype(np.uint32), 300.0),
    ],
)
def test_whole_numbers_beyond_bytes_keep_their_values(array: np.ndarray, scale: float) -> None:
    x = np.tile(array, (30, 8, 3))[:, :, :8]
    task = load_data((x, np.arange(30) % 3), test=(x[:3], [0, 1, 2]))
    assert task.full_scale == scale
    assert any(str(array.dtype) in note and f"{scale:,.0f} counts as 1" in note for note in task.notes)
    mean, std = (number[0] for number in task.normalisation)
    assert mean * scale == pytest.approx(x[:3].mean(), rel=1e-5)
    found = (task.test_images(3)[:, 0].numpy().astype(np.float64) * std + mean) * scale
    np.testing.assert_allclose(found, x[:3], rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.int64, np.uint64])
def test_bytes_in_wider_types_are_bytes(dtype: type) -> None:
    x, y = arrays()
    assert load_data((x.astype(dtype), y)).fingerprint == load_data((x, y)).fingerprint


def test_truth_values_are_images() -> None:
    x = RNG.random((30, 8, 9)) > 0.5
    task = load_data((x, np.arange(30) % 3), test=(x[:3], [0, 1, 2]))
    assert (task.input_shape, task.full_scale) == ((1, 8, 9), 1.0)
    mean, std = (number[0] for number in task.normalisation)
    np.testing.assert_allclose(task.test_images(3)[:, 0] * std + mean, x[:3], atol=1e-6)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((30, 8, 8), np.uint8),
        np.full((30, 8, 8, 3), 7, np.uint8),
        np.full((30, 8, 8), 0.1, np.float32),
        np.full((30, 8, 8), 1e30),
        np.full((30, 8, 8), 4095, np.uint16),
    ],
)
def test_constant_data_load_with_a_note(x: np.ndarray) -> None:
    task = load_data((x, np.arange(30) % 3))
    assert set(task.normalisation[1]) == {1.0}
    assert any("All training values are the same" in note for note in task.notes)
    assert float(task.test_images(5).abs().max()) < 1e-6 * max(1.0, float(x.max()))


def test_a_constant_channel_is_named() -> None:
    x, y = arrays()
    x[..., 1] = 9
    task = load_data((x, y))
    assert task.normalisation[1][1] == 1
    assert any(
        note.startswith("1 of 3 channels never change") and "(numbers 1)" in note for note in task.notes
    )
    ones = np.where(RNG.random((60, 8, 8)) > 0.5, 1.0, -1.0)
    assert not any("never change" in note for note in load_data((ones, y)).notes)


class Column:
    """A column of a table, as far as NumPy sees it."""

    def __init__(self, values: list[object]) -> None:
        self.values = values

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.array(self.values, dtype=object)


def test_tensors_lists_and_columns() -> None:
    x, y = arrays()
    reference = load_data((x, y))
    learned = torch.from_numpy(x).float().requires_grad_()
    for same in [
        (torch.from_numpy(x), torch.from_numpy(y)),
        (list(x), [int(label) for label in y]),
        (x, Column(y.tolist())),
        (x, torch.from_numpy(y).float()),
    ]:
        assert load_data(same).fingerprint == reference.fingerprint
    torch.testing.assert_close(load_data((learned, y)).test_images(9), reference.test_images(9))
    assert load_data((x, Column(["ab", "b", "c"] * 20))).class_names == ("ab", "b", "c")
    assert load_data((torch.from_numpy(x / 256.0).bfloat16(), y)).input_shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((2, 4, 4), complex),
            "images must be numbers or truth values, but here has dtype complex128",
        ),
        (np.zeros((2, 4, 4), "U3"), "here has dtype <U3"),
        (np.zeros((2, 16), np.uint8), r"here has shape \(2, 16\)"),
        (np.zeros((2, 4, 0, 3), np.uint8), r"here has shape \(2, 4, 0, 3\)"),
        (np.zeros((2, 1, 1, 4, 4), np.uint8), "images must have shape"),
        (
            np.zeros((2, 20, 30, 40), np.uint8),
            r"which does not tell; give channels='first' or channels='last'",
        ),
        (
            np.array([0, np.nan, np.inf]).reshape(3, 1, 1),
            "2 images of here have NaN or infinite ones, the first in row 1",
        ),
    ],
)
def test_wrong_images(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        check_images(array, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": None}, "lacks y_train; it holds x_test, x_train, y_test"),
        ({"x_train": None}, "lacks x_train"),
        ({"y_test": None}, "lacks y_test"),
        ({"x_test": None}, "lacks x_test"),
        ({"x_train": None, "x_test": None, "images": np.zeros(3)}, "holds y_train, y_test, images; rename"),
        ({"y_train": np.arange(59) % 3}, r"\(train\) has 60 images and 59 labels"),
        ({"y_train": np.zeros(60, int)}, "number of classes >= 2 must hold"),
        ({"y_train": np.full(60, np.nan)}, "60 labels of y_train of .* are NaN"),
        ({"x_test": np.zeros((9, 8, 8, 3), np.float32) - 7}, r"one scale, but .*bytes .* and .*floats -7 ... -7"),
        ({"y_train": np.arange(60) % 3 - 1}, "label >= 0 must hold"),
        ({"y_train": np.array([None] * 60)}, "has an object array, which would have to be unpickled"),
        ({"y_test": np.full(9, 3)}, r"\(test\) has label 3 in row 0 and .*labels 0 ... 2"),
        ({"x_test": np.zeros((9, 9, 9, 3), np.uint8)}, r"\(test\) are 9x9x3 and the training images 8x8x3"),
        ({"x_test": np.zeros((9, 8, 8), np.uint8)}, r"\(test\) are 8x8x1 and the training images 8x8x3"),
        ({"class_names": np.array([1, 2, 3])}, "class_names must be a list of strings"),
        ({"class_names": np.array(["a", "b"])}, "label 2 in row 2 and 2 class names"),
        ({"x_train": np.zeros((0, 8, 8), np.uint8), "y_train": np.zeros(0, int)}, "has none"),
        ({"y_train": np.array([0] * 58 + [1, 1]), "x_test": None, "y_test": None}, "class '1' has 2"),
        ({"y_train": np.array([0] * 59 + [1]), "y_test": np.zeros(9, int)}, r"class >= 2 must hold.*class '1' has 1"),
    ],
)  # fmt: skip
def test_wrong_npz(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_data(save(tmp_path / "wrong.npz", **changes))
    assert "\n" not in str(caught.value)


def test_a_damaged_npz(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz")
    content = path.read_bytes()
    for bad in (b"", b"hello", content[:-100]):
        path.write_bytes(bad)
        with pytest.raises(DataError, match="must be a zip archive"):
            load_data(path)
    inside = bytearray(content)
    inside[2000:2010] = bytes(value ^ 255 for value in inside[2000:2010])
    path.write_bytes(inside)
    with pytest.raises(DataError, match=r"must be readable by numpy.load.*CRC"):
        load_data(path)


def test_an_object_array_that_is_not_needed_is_left_alone(tmp_path: Path) -> None:
    assert load_data(save(tmp_path / "a.npz", remark=np.array([None, "x"]))).num_classes == 3


def test_arrays_that_are_none() -> None:
    with pytest.raises(DataError, match="cannot be made so"):
        load_data(([[1, 2], [3]], [0, 1]))


def test_the_digits() -> None:
    task = load_data("digits")
    assert [task.num_examples(split) for split in ("train", "validation", "test")] == [1150, 287, 360]
    assert (task.input_shape, task.num_classes, task.full_scale) == ((1, 8, 8), 10, 16.0)
    assert (task.fingerprint, task.class_names) == ("25e3cedab41a0620", tuple("0123456789"))
    assert not task.flip
    inputs = torch.cat([batch.inputs for batch in task.batches("train", 500)])
    assert abs(float(inputs.mean())) < 1e-5
    assert abs(float(inputs.std(unbiased=False)) - 1) < 1e-5
