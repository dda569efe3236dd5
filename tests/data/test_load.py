from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onepath.data import load_data
from onepath.data.examples import Examples, Source, shows_characters
from onepath.errors import DataError

X, Y = np.zeros((30, 8, 8), np.uint8), np.arange(30) % 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "no-such-thing",
            "a known name or an existing path, but got 'no-such-thing'; understood are digits, .*cifar10.*parquet",
        ),
        ("folder/of/images", "the data must exist, but folder/of/images does not; check the path"),
        ("data.npz", "the data must exist, but data.npz does not"),
        (Path("data.parquet"), "the data must exist, but data.parquet does not"),
        (
            "text.csv",
            r"a \.csv must have a line of different names and rows below it, but text\.csv has names",
        ),
        ("notes.doc", r"a data file must be .*, but got notes\.doc"),
        (7, "data must be a name, a path or a tuple .x, y., but got int"),
        ((X, Y, X, Y), "but got tuple"),
        ("a\0b", "must be a name or a path|a known name or an existing path"),
        ("x" * 5000, "must be a name or a path"),
    ],
)
def test_unknown_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("text.csv", "notes.doc"):
        (tmp_path / name).write_text("a,b")
    for call in (lambda: load_data(source), lambda: load_data((X, Y), test=source)):
        with pytest.raises(DataError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


class Ambiguous:
    """As a table of arrays has it: a comparison gives a table, whose truth is an error."""

    def __eq__(self, other: object) -> Ambiguous:  # type: ignore[override]
        return self

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Ambiguous(), "Ambiguous; understood are digits"),
        (X, r"ndarray without labels; give a tuple \(x, y\) of arrays"),
        (torch.from_numpy(X), "Tensor without labels"),
        ([X, Y], "list without labels"),
        ((X, Y, X, Y), r"tuple of 4; give \(x, y\), and the test set as test=\(x, y\)"),
        ({"x": X, "y": Y}, "dict; understood are digits"),
    ],
)
def test_objects_that_are_not_read(source: Any, message: str) -> None:
    for call in (lambda: load_data(source), lambda: load_data((X, Y), test=source)):
        with pytest.raises(
            DataError, match=rf"data must be a name, a path or a tuple \(x, y\), but got {message}"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_digits_against_digits() -> None:
    task = load_data("digits", test="digits", validation_fraction=0.5)
    assert [task.num_examples(split) for split in ("train", "validation", "test")] == [899, 898, 1797]


def test_the_fraction_is_checked_first() -> None:
    with pytest.raises(DataError, match="0 < validation_fraction < 1"):
        load_data("no such file.npz", validation_fraction=1.5)


def test_input_size_resizes_arrays() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 16)[None, None, :, None], (20, 8, 16, 2))
    task = load_data((ramp, np.arange(20) % 2), input_size=4)
    assert task.input_shape == (2, 4, 4)
    mean, std = task.normalisation[0][0], task.normalisation[1][0]
    row = task.test_images(1)[0, 0, 0].numpy() * std + mean
    # Half the size: the centre 8 of 16 columns, averaged in pairs with a wider filter than a box.
    np.testing.assert_allclose(row, np.linspace(0, 1, 16)[4:12].reshape(4, 2).mean(1), atol=1e-6)


def source(name: str, names: tuple[str, ...] | None) -> Source:
    return Source(name, Examples("here", X, Y, names))


@pytest.mark.parametrize(
    ("name", "names", "wanted"),
    [
        ("mnist", None, True),
        ("my-MNIST_images", None, True),
        ("fashion-mnist", None, False),
        ("digits", None, True),
        ("svhn_cropped", None, True),
        ("flowers", None, False),
        ("flowers", ("0", "1", "2"), True),
        ("flowers", ("a", "b", "rose"), False),
        ("cifar10", None, False),
    ],
)
def test_characters_are_known_by_their_names(name: str, names: tuple[str, ...] | None, wanted: bool) -> None:
    assert shows_characters(source(name, names)) == wanted
