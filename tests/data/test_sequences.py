"""Arrays (N, C, T), such as those of sensors, as sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from onepath.data import load_data
from onepath.errors import DataError

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
X = (RNG.normal(size=(60, 6, 40)) * np.arange(1, 7)[:, None] + 10).astype(np.float32)


def test_a_sequence_is_normalised_per_channel_and_never_changed() -> None:
    task = load_data((X, Y), test=(X[:9], Y[:9]), flip=True)
    assert (task.input_shape, task.kind, task.channels) == ((6, 40), "sequence", "first")
    assert (task.augment, task.flip) == (False, False)
    mean, std = (np.array(part)[:, None] for part in task.normalisation)
    np.testing.assert_allclose(std[:, 0], np.arange(1, 7), rtol=0.1)
    np.testing.assert_allclose(task.test_images(9).numpy() * std + mean, X[:9], atol=1e-4)
    assert task.test_images(9).is_contiguous()
    trained = next(task.train_batches(7, seed=0, num_updates=1))
    assert trained.inputs.shape == (7, 6, 40)
    raw = trained.inputs.numpy() * std + mean
    for sequence, label in zip(raw, trained.targets.tolist(), strict=True):
        distances = np.abs(X - sequence).max((1, 2))
        assert distances.min() < 1e-4
        assert Y[distances.argmin()] == label
    assert any(
        "are read as sequences with the channels first: 6 channels of 40 steps" in note for note in task.notes
    )
    assert not any("mirrored" in note for note in task.notes)
    calibrated = next(task.calibration_batches(8, num_examples=8))
    assert calibrated.inputs.shape == (8, 6, 40)


def test_time_first_is_the_same_data() -> None:
    first, last = load_data((X, Y)), load_data((X.transpose(0, 2, 1), Y))
    assert (last.input_shape, last.channels) == ((6, 40), "last")
    torch.testing.assert_close(first.test_images(9), last.test_images(9))
    assert load_data((X, Y), channels="last").input_shape == (40, 6)


def test_one_channel_and_whole_numbers() -> None:
    single = load_data((X[:, 0], Y), kind="sequence")
    assert single.input_shape == (1, 40)
    torch.testing.assert_close(single.test_images(9), load_data((X[:, :1], Y)).test_images(9))
    counts = (X * 100).astype(np.int16)
    task = load_data((counts, Y), test=(counts[:9], Y[:9]))
    assert (task.input_shape, task.kind) == ((6, 40), "sequence")
    assert sum("guess" in note for note in task.notes) == 1


def test_what_it_is_can_be_set_and_parts_agree(tmp_path: Path) -> None:
    images = load_data((X, Y), kind="images")
    assert (images.input_shape, images.kind) == ((1, 6, 40), "images")
    assert not any("guess" in note for note in images.notes)
    square = RNG.normal(size=(60, 30, 30))
    assert load_data((square, Y)).kind == "images"
    assert load_data((square, Y), kind="sequence").input_shape == (30, 30)
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X[:9], y_test=Y[:9])
    task = load_data(tmp_path / "a.npz")
    assert (task.input_shape, task.num_examples("test")) == ((6, 40), 9)
    assert load_data(tmp_path / "a.npz", kind="images").input_shape == (1, 6, 40)
    with pytest.raises(DataError, match="all images must have one shape"):
        load_data((X, Y), test=(X[:9, :, :30], Y[:9]))
    with pytest.raises(
        DataError, match=r"sequences must have shape .* but x of the test arrays has shape \(9, 6, 40, 1\)"
    ):
        load_data((X, Y), test=(X[:9, ..., None], Y[:9]))


def test_an_input_size_is_for_images() -> None:
    with pytest.raises(
        DataError, match="input_size is for images, but the arrays holds sequences; leave it out"
    ):
        load_data((X, Y), input_size=16)
