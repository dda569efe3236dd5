from __future__ import annotations

import numpy as np
import pytest

from onepath.data import load_data
from onepath.data.layout import find_layout
from onepath.data.scale import values_of
from onepath.errors import DataError

RNG = np.random.default_rng(0)
FLOATS = values_of(np.array([-1.5, 2.0]))
UNIT = values_of(np.array([0.0, 0.7]))
BYTES = values_of(np.array([0, 200], np.uint8))
COUNTS = values_of(np.array([-300, 4000], np.int16))


@pytest.mark.parametrize(
    ("axes", "channels", "is_certain"),
    [
        ((28, 28, 3), "last", True),
        ((3, 28, 28), "first", True),
        ((1, 28, 28), "first", True),
        ((28, 28, 1), "last", True),
        ((4, 32, 32), "first", True),
        ((3, 40, 60), "first", True),
        ((40, 60, 3), "last", True),
        ((40, 60, 4), "last", True),
        ((2, 100, 3), "last", True),
        ((3, 100, 2), "first", True),
        ((9, 9, 15), "last", False),
        ((8, 8, 10), "last", False),
        ((13, 9, 9), "first", False),
        ((7, 7, 200), "last", False),
        ((103, 5, 5), "first", False),
        ((2, 2, 4), "last", True),
        ((12, 28, 28), "first", False),
        ((3, 3, 100), "last", False),
        ((3, 4, 4), "first", True),
        ((4, 4, 3), "last", True),
        ((3, 3, 3), "last", False),
        ((8, 8, 8), "last", False),
        ((3, 8, 3), "last", False),
        ((3, 8, 4), "last", False),
        ((5, 40, 60), "first", False),
        ((60, 40, 5), "last", False),
        ((6, 40, 6), "last", False),
    ],
)
def test_which_axis_holds_the_channels(axes: tuple[int, ...], channels: str, is_certain: bool) -> None:
    found = find_layout((100, *axes), FLOATS, None, None, "here")
    assert (found.kind, found.channels, found.note is None) == ("images", channels, is_certain)
    for given in ("first", "last"):
        assert find_layout((100, *axes), FLOATS, given, None, "here") == ("images", given, None)  # type: ignore[arg-type]


def test_a_guess_is_said_and_can_be_set() -> None:
    x, y = RNG.random((40, 9, 9, 15)).astype(np.float32), np.arange(40) % 4
    task = load_data((x, y))
    assert (task.input_shape, task.channels) == ((15, 9, 9), "last")
    assert task.notes[0] == (
        "Images of shape (9, 9, 15) are read with the channels last: 15 channels of 9x9 pixels (width x height), a "
        "guess; channels='first' reads them otherwise."
    )
    other = load_data((x, y), channels="first")
    assert (other.input_shape, other.channels) == ((9, 9, 15), "first")
    assert not any("guess" in note for note in other.notes)
    assert load_data((np.moveaxis(x, -1, 1), y), channels="first").test_images(3).equal(task.test_images(3))


def test_a_test_set_says_the_same_guess_once() -> None:
    x, y = RNG.random((40, 13, 9, 9)).astype(np.float32), np.arange(40) % 4
    notes = load_data((x, y), test=(x, y)).notes
    assert sum("guess" in note for note in notes) == 1


@pytest.mark.parametrize(
    ("axes", "values", "kind", "channels", "is_certain"),
    [
        ((28, 28), UNIT, "images", None, True),
        ((28, 28), BYTES, "images", None, True),
        ((28, 28), FLOATS, "images", None, False),
        ((8, 9), BYTES, "images", None, True),
        ((48, 64), FLOATS, "images", None, False),
        ((32, 100), UNIT, "images", None, False),
        ((4, 128), BYTES, "images", None, False),
        ((6, 128), FLOATS, "sequence", "first", False),
        ((6, 128), UNIT, "sequence", "first", False),
        ((6, 128), COUNTS, "sequence", "first", False),
        ((128, 6), FLOATS, "sequence", "last", False),
        ((1, 500), FLOATS, "sequence", "first", False),
        ((500, 1), FLOATS, "sequence", "last", False),
        ((3, 32), FLOATS, "sequence", "first", False),
        ((12, 1000), COUNTS, "sequence", "first", False),
        ((64, 256), FLOATS, "sequence", "first", False),
        ((64, 1000), FLOATS, "sequence", "first", False),
    ],
)
def test_images_and_sequences(
    axes: tuple[int, int], values: object, kind: str, channels: str | None, is_certain: bool
) -> None:
    found = find_layout((100, *axes), values, None, None, "here")  # type: ignore[arg-type]
    assert (found.kind, found.channels, found.note is None) == (kind, channels, is_certain)
    assert find_layout((100, *axes), values, None, "images", "here") == ("images", None, None)  # type: ignore[arg-type]
    given = find_layout((100, *axes), values, "last", None, "here")  # type: ignore[arg-type]
    assert given[:2] == ("sequence", "last")
    assert (given.note is None) == (kind == "sequence")


@pytest.mark.parametrize(
    ("shape", "channels", "kind", "message"),
    [
        (
            (9, 20, 30, 40),
            None,
            None,
            r"here has shape \(N, 20, 30, 40\), which does not tell; give channels='first'",
        ),
        (
            (9, 20),
            None,
            None,
            r"here has shape \(9, 20\); reshape them, or give kind='sequence' for \(N, T\)",
        ),
        ((9,), None, None, "images must have shape"),
        ((9, 2, 3, 4, 5), None, None, r"\(N, H, W\), .* and sequences \(N, C, T\), but here has shape"),
        ((9, 0, 3), None, None, "here has shape"),
        ((9, 2, 3, 4), None, "sequence", r"sequences must have shape \(N, C, T\), \(N, T, C\) or \(N, T\)"),
        ((9, 20), None, "images", "images must have shape"),
    ],
)
def test_shapes_that_say_nothing(shape: tuple[int, ...], channels: None, kind: None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        find_layout(shape, FLOATS, channels, kind, "here")
    assert "\n" not in str(caught.value)
