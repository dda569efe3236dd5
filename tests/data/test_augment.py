from __future__ import annotations

import numpy as np
import pytest
import torch

from onepath.data.augment import (
    Normaliser,
    _window,
    crop_and_flip,
    fit_image,
    padded,
    resize_and_centre,
    resized_crop,
    tilt,
)


def slow_reference(images: np.ndarray, padding: int, flip: bool, seed: int) -> np.ndarray:
    """Image by image, with the same draws in the documented order."""
    rng = np.random.default_rng(seed)
    num, height, width, channels = images.shape
    top, left = rng.integers(0, 2 * padding + 1, num), rng.integers(0, 2 * padding + 1, num)
    coins = rng.random(num) < 0.5 if flip else np.zeros(num, bool)
    out = np.zeros_like(images)
    for n in range(num):
        for y in range(height):
            for x in range(width):
                from_y, from_x = y + top[n] - padding, (width - 1 - x if coins[n] else x) + left[n] - padding
                if 0 <= from_y < height and 0 <= from_x < width:
                    out[n, y, x] = images[n, from_y, from_x]
    assert out.shape[3] == channels
    return out


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("shape", "padding"), [((9, 8, 8, 1), 1), ((9, 7, 10, 3), 2), ((5, 6, 4, 4), 3), ((3, 4, 4, 3), 0)]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_batch_equals_the_images_one_by_one(
    shape: tuple[int, ...], padding: int, flip: bool, dtype: type
) -> None:
    images = np.random.default_rng(1).integers(1, 256, shape).astype(dtype)
    before = images.copy()
    out = crop_and_flip(images, padding, flip, np.random.default_rng(7))
    np.testing.assert_array_equal(out, slow_reference(images, padding, flip, 7))
    np.testing.assert_array_equal(images, before)
    assert out.dtype == dtype
    assert out.flags.c_contiguous
    assert not np.shares_memory(out, images)


def test_offsets_and_flips_are_uniform() -> None:
    images = np.zeros((20_000, 5, 5, 1), np.uint8)
    images[:, 2, 1] = 255
    out = crop_and_flip(images, 1, True, np.random.default_rng(0))
    places = np.argwhere(out[..., 0])
    rows, columns = np.bincount(places[:, 1], minlength=5), np.bincount(places[:, 2], minlength=5)
    # Column 1 goes to 0, 1, 2 (not flipped) or to 4, 3, 2 (flipped).
    expected = 20_000 / np.array([np.inf, 3, 3, 3, np.inf]), 20_000 / np.array([6, 6, 3, 6, 6])
    for found, wanted in zip((rows, columns), expected, strict=True):
        assert (np.abs(found - wanted) <= 5 * np.sqrt(wanted)).all()


def test_normalise_against_torch() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3)).astype(np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    found = Normaliser(mean, std, 255.0)(images)
    wanted = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    wanted = (wanted - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert found.dtype == torch.float32
    assert found.stride() == (5 * 6 * 3, 1, 6 * 3, 3)


def test_one_channel_has_ordinary_strides() -> None:
    found = Normaliser((0.0,), (1.0,), 1.0)(np.zeros((2, 5, 6, 1), np.float32))
    assert found.shape == (2, 1, 5, 6)
    assert found.stride() == (30, 30, 6, 1)


def test_resized_crop_is_a_window_of_the_image() -> None:
    ramp = np.broadcast_to(np.arange(120, dtype=np.uint8)[None, :, None], (90, 120, 3)).copy()
    widths = []
    for seed in range(60):
        out = resized_crop(ramp, (30, 30), False, np.random.default_rng(seed))
        assert out.shape == (30, 30, 3)
        row = out[0, :, 0].astype(int)
        assert (np.diff(row) >= 0).all()
        widths.append(row[-1] - row[0])
        np.testing.assert_array_equal(out, resized_crop(ramp, (30, 30), False, np.random.default_rng(seed)))
    assert min(widths) < 45 < 90 < max(widths)
    flipped = [
        resized_crop(ramp, (30, 30), True, np.random.default_rng(seed))[0, :, 0].astype(int)
        for seed in range(60)
    ]
    assert 15 < sum(row[0] > row[-1] for row in flipped) < 45


def test_resized_crop_of_an_extreme_shape() -> None:
    assert resized_crop(np.zeros((4, 400, 3), np.uint8), (16, 16), True, np.random.default_rng(0)).shape == (
        16,
        16,
        3,
    )


@pytest.mark.parametrize("shape", [(40, 60, 3), (60, 40, 1), (32, 32, 3), (20, 16, 2)])
def test_resizing_keeps_the_aspect_ratio_and_the_centre(shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    image = np.zeros(shape, np.uint8)
    image[height // 4 : -(height // 4), width // 4 : -(width // 4)] = 200
    out = resize_and_centre(image, 16, 16)
    assert out.shape == (16, 16, channels)
    assert out[8, 8, 0] == 200
    assert out.dtype == np.uint8
    np.testing.assert_allclose(out[..., 0].astype(int), out[::-1, ::-1, 0].astype(int), atol=30)


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = np.random.default_rng(0).random((8, 8, 2)).astype(np.float32)
    assert resize_and_centre(image, 8, 8) is image


def test_tilting_without_amplitude_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_DEGREES", "MAX_LOG_SCALE", "MAX_SHIFT"):
        monkeypatch.setattr(f"onepath.data.augment.{name}", 0.0)
    images = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(tilt(images, False, np.random.default_rng(0)), images)
    mirrored = tilt(images, True, np.random.default_rng(0))
    coins = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(mirrored, images, strict=True)])
    np.testing.assert_array_equal(mirrored[~coins], images[~coins])
    assert 0 < coins.sum() < len(images)


@pytest.mark.parametrize(
    ("name", "amplitude", "moved"),
    [
        ("MAX_SHIFT", 0.75, 0.75),
        ("MAX_LOG_SCALE", 0.15, 0.15 * 3),
        ("MAX_DEGREES", 15.0, np.radians(15.0) * 3),
    ],
)
def test_the_centre_of_mass_moves_as_far_as_each_amplitude_says(
    monkeypatch: pytest.MonkeyPatch, name: str, amplitude: float, moved: float
) -> None:
    for other in ("MAX_DEGREES", "MAX_LOG_SCALE", "MAX_SHIFT"):
        monkeypatch.setattr(f"onepath.data.augment.{other}", amplitude if other == name else 0.0)
    images = np.zeros((4000, 17, 17, 1), np.float32)
    images[:, 8, 11] = 1.0  # three pixels right of the middle
    out = tilt(images, False, np.random.default_rng(0))[..., 0]
    weight = out.sum((1, 2))
    along = (out.sum(1) * np.arange(17)).sum(1) / weight - 11
    down = (out.sum(2) * np.arange(17)).sum(1) / weight - 8
    span = down if name == "MAX_DEGREES" else along
    assert np.abs(span).max() == pytest.approx(moved, rel=0.2)
    assert abs(span.mean()) < 0.05
    assert out.dtype == np.float32
    assert out.flags.c_contiguous


def test_tilting_repeats_from_its_generator_and_keeps_its_input() -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1)).astype(np.uint8)
    before = images.copy()
    first, second = (tilt(images, True, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(images, before)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, images)


def test_a_window_has_nearly_the_aspect_ratio_of_the_result() -> None:
    image = np.zeros((300, 900, 1), np.uint8)
    for seed in range(200):
        _, _, height, width = _window(300, 900, 3.0, np.random.default_rng(seed))
        assert 3.0 * 0.74 < width / height < 3.0 / 0.74
    assert resized_crop(image, (20, 60), True, np.random.default_rng(0)).shape == (20, 60, 1)


@pytest.mark.parametrize(
    ("shape", "size"), [((20, 60), (16, 16)), ((60, 20), (16, 16)), ((20, 20), (10, 40))]
)
def test_padding_keeps_all_of_the_image(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 200, np.uint8)
    whole = padded(image, size)
    assert abs(whole.shape[1] * size[0] - whole.shape[0] * size[1]) <= max(size)
    assert int(whole.astype(int).sum()) == 200 * image.size
    out = fit_image(image, size, "pad")
    assert out.shape == (*size, 3)
    assert (out == 0).any()
    assert fit_image(image, size, "crop").min() == 200
    assert padded(image, shape) is image


def test_deep_values_are_resized_as_floats() -> None:
    ramp = np.broadcast_to(np.linspace(0, 4000, 64, dtype=np.float32)[None, :, None], (64, 64, 1)).copy()
    out = fit_image(ramp, (16, 16), "crop")
    assert out.dtype == np.float32
    assert 3000 < out.max() <= 4000
