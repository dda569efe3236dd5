from __future__ import annotations

import numpy as np
import pytest

from onepath.data.examples import Examples
from onepath.data.labels import common_classes, encode_labels
from onepath.errors import DataError


def part(
    labels: list[int] | np.ndarray, names: tuple[str, ...] | None = None, where: str = "part"
) -> Examples:
    return Examples(where, np.zeros((len(labels), 2, 2, 1), np.uint8), np.asarray(labels, np.int64), names)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_integers_stay(dtype: type) -> None:
    labels, names = encode_labels(np.array([2, 0, 1], dtype), "here")
    assert labels.tolist() == [2, 0, 1]
    assert labels.dtype == np.int64
    assert names is None


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["dog", "ant", "dog"]),
        np.array(["dog", "ant", "dog"], object),
        np.array([b"dog", b"ant", b"dog"]),
    ],
)
def test_strings_become_numbers_in_sorted_order(labels: np.ndarray) -> None:
    numbers, names = encode_labels(labels, "here")
    assert numbers.tolist() == [1, 0, 1]
    assert names == ("ant", "dog")


def test_a_column_of_labels_is_flattened() -> None:
    assert encode_labels(np.array([[3], [1]]), "here")[0].tolist() == [3, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.0, np.nan, np.nan]), "2 labels of here are NaN or infinite, the first in row 1"),
        (np.array([0.0, 1.5]), "here has label 1.5 in row 1"),
        (np.array([0.0, 1.0]), "here has dtype float64"),
        (np.array([True, False]), "here has dtype bool"),
        (np.array([0, None], object), "here has dtype object"),
        (np.array([0, 1, -1]), "label >= 0 must hold, but here has label -1 in row 2"),
        (np.eye(3, dtype=int), r"here has shape \(3, 3\); turn one-hot rows into numbers"),
        (np.zeros((2, 2, 2), int), r"here has shape \(2, 2, 2\)"),
    ],
)
def test_wrong_labels(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        encode_labels(labels, "here")
    assert "\n" not in str(caught.value)


def test_a_label_beyond_the_names() -> None:
    with pytest.raises(DataError, match="here has label 2 in row 1 and 2 class names"):
        encode_labels(np.array([0, 2]), "here", ("a", "b"))


def test_parts_are_numbered_as_the_training_data() -> None:
    labels, names = common_classes(
        [part([0, 1, 2, 2], ("a", "b", "c")), part([0, 1], ("c", "a")), part([2, 0])]
    )
    assert names == ("a", "b", "c")
    assert [own.tolist() for own in labels] == [[0, 1, 2, 2], [2, 0], [2, 0]]


def test_bare_numbers_name_themselves() -> None:
    assert common_classes([part([0, 1, 2])])[1] == ("0", "1", "2")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([part([0, 0, 0])], "number of classes >= 2 must hold, but every image of part has class '0'"),
        ([part([0, 0, 0], ("cat",))], "class 'cat'"),
        ([part([0, 1, 3, 3])], r"in part 1 of 4 have none \('2'\)"),
        ([part([1, 2, 1, 2])], r"in part 1 of 3 have none \('0'\)"),
        ([part([0, 1, 1], ("a", "b", "c"))], r"1 of 3 have none \('c'\)"),
        ([part([0, 1, 10**12])], "its labels or class names say 1000000000001 classes"),
        ([part([0, 1], ("a", "a"))], "class names must be distinct, but part has 'a' twice"),
        ([part([0, 1]), part([0, 2], where="other")], "other has label 2 in row 1 and part has labels 0 ... 1"),
        (
            [part([0, 1], ("a", "b")), part([0, 1], ("a", "x"), "other")],
            r"other has classes that part lacks \('x'; part has 'a', 'b'\)",
        ),
        ([part([0, 1]), part([0, 1], ("cat", "dog"), "other")], r"other has classes that part lacks \('cat', 'dog'"),
    ],
)  # fmt: skip
def test_classes_that_do_not_fit(parts: list[Examples], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        common_classes(parts)
    assert "\n" not in str(caught.value)


def test_a_name_of_another_part_that_none_of_its_images_has_is_no_matter() -> None:
    labels, _ = common_classes([part([0, 1], ("a", "b")), part([1], ("x", "a"))])
    assert labels[1].tolist() == [0]


def test_images_and_labels_must_be_as_many() -> None:
    with pytest.raises(DataError, match="part has 3 images and 2 labels"):
        Examples("part", np.zeros((3, 2, 2, 1), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(DataError, match="number of images >= 1 must hold, but part has none"):
        part([])
