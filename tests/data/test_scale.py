from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onepath.data import load_data
from onepath.data.scale import Values, common_scales, values_of
from onepath.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (60, 12, 12, 3), dtype=np.uint8)
Y = np.arange(60) % 4
FORMS = {
    "bytes": X,
    "floats of bytes": X.astype(np.float32),
    "doubles of bytes": X.astype(np.float64),
    "floats of 0 ... 1": (X / 255).astype(np.float32),
    "integers": X.astype(np.int64),
    "16 bits": X.astype(np.uint16) * 257,
}


@pytest.mark.parametrize("train", list(FORMS))
@pytest.mark.parametrize("test", list(FORMS))
def test_training_and_test_images_have_one_scale(train: str, test: str) -> None:
    reference = load_data((X, Y), test=(X[:20], Y[:20]))
    task = load_data((FORMS[train], Y), test=(FORMS[test][:20], Y[:20]))
    torch.testing.assert_close(task.test_images(20), reference.test_images(20), atol=1e-4, rtol=1e-4)
    is_told = any("Two scales are brought to one" in note for note in task.notes)
    units = [values_of(FORMS[form]).unit for form in (train, test)]
    assert is_told == (units[0] != units[1])


def test_a_validation_set_has_the_scale_too(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        x_train=X,
        y_train=Y,
        x_val=X[:20] / 255.0,
        y_val=Y[:20],
        x_test=X[:9] * 1.0,
        y_test=Y[:9],
    )
    task = load_data(tmp_path / "a.npz")
    mean, std = (np.array(part) for part in task.normalisation)
    for split, count in (("validation", 20), ("test", 9)):
        inputs = next(task.batches(split, 20)).inputs.permute(0, 2, 3, 1).numpy()  # type: ignore[arg-type]
        np.testing.assert_allclose((inputs * std + mean) * 255, X[:count], atol=1e-3)


@pytest.mark.parametrize(
    ("train", "test", "ranges"),
    [
        (
            RNG.normal(size=(40, 8, 8)),
            X[:9, :8, :8, 0],
            r"floats -\d.\d+ ... \d.\d+ and .* bytes \d+ ... \d+",
        ),
        (X[:40, :8, :8, 0], RNG.normal(size=(9, 8, 8)), r"bytes \d+ ... \d+ and .* floats -\d"),
        (X[:40, :8, :8, 0] * 1.0, RNG.normal(size=(9, 8, 8)), r"floats \d+ ... \d+ and .* floats -\d"),
        (RNG.normal(size=(40, 8, 8)), X[:9, :8, :8, 0] * 1.0, r"floats -\d.* and .* floats \d+ ... \d+"),
        (
            X[:40, :8, :8, 0],
            X[:9, :8, :8, 0].astype(np.uint16) * 16,
            r"bytes \d+ ... \d+ and .* integers \d+ ... 4,\d+",
        ),
        (X[:40, :8, :8, 0].astype(np.int32) * 16, X[:9, :8, :8, 0], r"integers \d+ ... 4,\d+ and .* bytes"),
        (X[:40, :8, :8, 0] // 16, RNG.random((9, 8, 8)), r"bytes 0 ... 15 and .* floats 0"),
    ],
)
def test_scales_that_do_not_fit_are_refused_with_both_ranges(
    train: np.ndarray, test: np.ndarray, ranges: str
) -> None:
    with pytest.raises(
        DataError, match=f"training and test images must have one scale, but .*{ranges}"
    ) as caught:
        load_data((train, np.arange(len(train)) % 3), test=(test, np.arange(len(test)) % 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "part", "scale"),
    [
        (Values("uint8", 0, 16, full_scale=16), Values("uint8", 0, 15), 16.0),
        (Values("uint8", 0, 16, full_scale=16), Values("float", 0, 1, False), 1.0),
        (Values("uint8", 0, 16, full_scale=16), Values("float", 0, 16), 16.0),
        (Values("float", 0, 16), Values("uint8", 0, 16, full_scale=16), 1.0),
        (Values("float", 0, 1, False), Values("uint8", 0, 16, full_scale=16), 16.0),
        (Values("bool", 0, 1), Values("uint8", 0, 1), 1.0),
        (Values("bool", 0, 1), Values("uint8", 0, 255), 255.0),
        (Values("uint8", 0, 1), Values("bool", 0, 1), 255.0),
        (Values("uint8", 0, 255), Values("bool", 0, 1), 1.0),
        (Values("uint8", 0, 255), Values("uint8", 0, 3), 255.0),
        (Values("integer", 0, 4000), Values("integer", 0, 200), 4000.0),
        (Values("integer", 0, 4000), Values("float", 0, 3900), 4000.0),
        (Values("float", -3, 3, False), Values("float", -2, 90, False), 1.0),
        (Values("float", 0, 1, False), Values("float", 0, 251, False), 255.0),
        (Values("float", 0, 255), Values("float", 0, 1, False), 1.0),
        (Values("float", 0, 90), Values("uint8", 0, 200), 1.0),
        (Values("uint8", 0, 200), Values("float", 0, 90), 255.0),
        (Values("uint8", 0, 255), Values("float", 0, 0), 1.0),
        (Values("uint8", 0, 255), Values("integer", 0, 65535, full_scale=65535), 65535.0),
        (Values("uint8", 0, 255), Values("integer", 0, 4095, full_scale=65535), None),
        (
            Values("integer", 0, 255, dtype="int64"),
            Values("integer", 0, 65000, True, 65535, "uint16"),
            65535.0,
        ),
        (Values("integer", 0, 255, dtype="int64"), Values("integer", 0, 4095, True, 65535, "uint16"), None),
        (
            Values("integer", 0, 4000, True, 65535, "uint16"),
            Values("integer", 0, 200, dtype="uint16"),
            65535.0,
        ),
        (
            Values("integer", 0, 4000, True, 65535, "uint16"),
            Values("integer", 0, 3000, dtype="int32"),
            65535.0,
        ),
    ],
)
def test_the_value_of_a_part_that_counts_as_one(train: Values, part: Values, scale: float | None) -> None:
    if scale is None:
        with pytest.raises(DataError, match="must have one scale"):
            common_scales([train, part], ["a", "b"])
    else:
        assert common_scales([train, part], ["a", "b"])[0] == [train.scale, scale]


def test_files_beside_arrays(tmp_path: Path) -> None:
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "8" / name).mkdir(parents=True)
        (tmp_path / "16" / name).mkdir(parents=True)
        for index in range(5):
            grey = (RNG.integers(0, 100, (8, 8)) + 150 * label).astype(np.uint8)
            Image.fromarray(grey).save(tmp_path / "8" / name / f"{index}.png")
            Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16" / name / f"{index}.png")
    narrow, wide = load_data(tmp_path / "8"), load_data(tmp_path / "16")
    torch.testing.assert_close(narrow.test_images(2), wide.test_images(2), atol=1e-4, rtol=1e-4)
    for train, test in (("8", "16"), ("16", "8")):
        task = load_data(tmp_path / train, test=tmp_path / test)
        assert abs(float(task.test_images(10).mean())) < 0.2
    x = np.stack([np.asarray(Image.open(tmp_path / "8" / "light" / f"{index}.png")) for index in range(5)])
    mixed = load_data(tmp_path / "16", test=(x / 255.0, np.array(["light"] * 5)))
    darkest = (x.min() / 255 - mixed.normalisation[0][0]) / mixed.normalisation[1][0]
    assert float(mixed.test_images(5).min()) == pytest.approx(darkest, abs=1e-4)


def test_a_whole_number_of_a_float_is_seen_in_a_sample() -> None:
    assert values_of(np.array([0.0, 200.0])).is_whole
    assert not values_of(np.array([0.0, 200.5])).is_whole
    assert values_of(np.array([np.nan, 3.0, 1.0])).high == 3
    assert values_of(np.zeros((0, 4, 4), np.float32)).high == 0
