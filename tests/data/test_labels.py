from __future__ import annotations

import numpy as np
import pytest

from onepath.data import load_data
from onepath.data.examples import Examples
from onepath.data.labels import common_classes, encode_labels, numbering_note, one_label_each
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


@pytest.mark.parametrize(
    "labels",
    [
        np.array([2.0, 0.0, 1.0]),
        np.array([2.0, 0.0, 1.0], np.float16),
        np.array([2, 0, 1], object),
        np.array([2, np.int8(0), 1.0], object),
        np.array([2.0, 0.0, 1.0], object),
        np.array([[2.0], [0.0], [1.0]]),
        np.array([[2], [0], [1]], object),
        np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], bool),
        np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]),
        np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], object),
    ],
)
def test_whole_numbers_of_any_type_and_one_hot_rows(labels: np.ndarray) -> None:
    numbers, names = encode_labels(labels, "here")
    assert (numbers.tolist(), numbers.dtype, names) == ([2, 0, 1], np.int64, None)


@pytest.mark.parametrize("labels", [[True, False], [np.True_, np.False_]])
@pytest.mark.parametrize("dtype", [bool, object])
def test_truth_values_are_0_and_1(labels: list[bool], dtype: type) -> None:
    assert encode_labels(np.array(labels, dtype), "here")[0].tolist() == [1, 0]


def test_one_hot_rows_are_said() -> None:
    assert one_label_each(np.eye(3), "here")[1] == [
        "Labels are one-hot rows: the class is the column of the 1 among 3."
    ]
    x, y = np.zeros((30, 8, 8), np.uint8), np.arange(30) % 3
    task = load_data((x, np.eye(3)[y]), test=(x[:3], y[:3]))
    assert (task.class_names, task.labels("test").tolist()) == (("0", "1", "2"), [0, 1, 2])
    assert any("one-hot" in note for note in task.notes)


@pytest.mark.parametrize(
    ("labels", "names", "wanted"),
    [
        ([-1, 1, 1], ("-1", "1"), [0, 1, 1]),
        ([-1, 0, 0], ("-1", "0"), [0, 1, 1]),
        ([10, 30, 20], ("10", "20", "30"), [0, 2, 1]),
        ([1, 2, 3], ("1", "2", "3"), [0, 1, 2]),
        ([0, 1, 3, 3], ("0", "1", "3"), [0, 1, 2, 2]),
        ([-2, 0, 2, 1], ("-2", "0", "1", "2"), [0, 1, 3, 2]),
        ([0, 1, 10**12], ("0", "1", "1000000000000"), [0, 1, 2]),
    ],
)
def test_numbers_with_gaps_are_classes_of_these_names(
    labels: list[int], names: tuple[str, ...], wanted: list[int]
) -> None:
    encoded = [encode_labels(np.array(labels, dtype), "here")[0] for dtype in (np.int64, np.float64, object)]
    for numbers in encoded:
        parts, found = common_classes([part(numbers), part(numbers[::-1])])
        assert (found, parts[0].tolist(), parts[1].tolist()) == (names, wanted, wanted[::-1])
    assert numbering_note(part(labels)) == [
        f"Labels are {', '.join(names)}: {len(names)} classes in this order, which keep these names."
    ]
    assert numbering_note(part([0, 1, 2])) == []


def test_numbers_and_their_names_are_the_same_classes() -> None:
    parts, names = common_classes([part([10, 20, 20]), part([0, 1], ("20", "10"))])
    assert (names, parts[1].tolist()) == (("10", "20"), [1, 0])
    names = tuple(sorted(map(str, range(12))))
    parts, found = common_classes([part(list(range(12)), names), part([2, 11, 0])])
    assert (found, [names[label] for label in parts[1]]) == (names, ["2", "11", "0"])
    assert common_classes([part([0, 1, 2], ("a", "b", "c")), part([2, 0])])[0][1].tolist() == [2, 0]


def test_a_column_of_labels_is_flattened() -> None:
    assert encode_labels(np.array([[3], [1]]), "here")[0].tolist() == [3, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.0, np.nan, np.nan]), "2 labels of here are NaN or infinite, the first in row 1"),
        (
            np.array([0.0, 1.5]),
            r"here has label 1.5 in row 1: numbers to predict \(regression\) are not supported; give every",
        ),
        (np.array([0.0, 1e300]), r"here has label 1e\+300 in row 1"),
        (np.array([0, None], object), "here has None of type NoneType beside int in row 1"),
        (np.array([None, 0], object), "here has None of type NoneType in row 0"),
        (np.array(["a", 1], object), "here has 1 of type int beside str in row 1"),
        (np.array([1, "a"], object), "here has 'a' of type str beside int in row 1"),
        (np.array([1, float("nan")], object), "1 labels of here are NaN or infinite, the first in row 1"),
        (np.array([0.5, 1], object), "here has label 0.5 in row 0"),
        (np.array([0, 1j]), "here has dtype complex128"),
        (
            np.array([0, 1, -1]),
            "label >= 0 must hold, but here has label -1 in row 2.*leave unlabelled images out",
        ),
        (np.zeros((2, 2, 2), int), r"here has shape \(2, 2, 2\), one label per pixel or step"),
        (np.array(3), "here has shape"),
        (
            np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]]),
            "row 1 of here marks 2 of 3 classes: several labels per example are not supported; give each its one class",
        ),
        (np.array([[1, 0], [0, 0]], bool), "row 1 of here marks 0 of 2 classes"),
        (
            np.array([[0.2, 0.8], [0.5, 0.5]]),
            "are probabilities of 2 classes, which are not supported; .*argmax",
        ),
        (np.array([[2, 5], [0, 1]]), r"here has shape \(2, 2\) and its rows are not one-hot"),
        (np.array([["a", "b"], ["c", "d"]]), r"here has shape \(2, 2\) and holds no numbers"),
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
        ([part([0, 1, 1], ("a", "b", "c"))], r"1 of 3 have none \('c'\)"),
        ([part([0, 1], ("a", "b", "c"))], "part has 2 images and 3 class names; leave out those without images"),
        ([part([10, 20]), part([0, 1], where="other")], "other has label 0 in row 0 and part has labels 10, 20"),
        ([part([-1, 1]), part([0, 1], where="other")], "other has label 0 in row 0 and part has labels -1, 1"),
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
