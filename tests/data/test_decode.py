from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from onepath.data.decode import decode, decode_all, header
from onepath.data.depth import EIGHT_BITS, Depth
from onepath.data.examples import EncodedImages
from onepath.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def some(*contents: bytes) -> EncodedImages:
    return EncodedImages(len(contents), contents.__getitem__, lambda index: f"image {index}")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    content = encoded(Image.fromarray(PIXELS), kind)
    np.testing.assert_array_equal(decode(content), PIXELS)
    assert header(content)[:4] == (20, 30, False, "uint8")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats(kind: str) -> None:
    flat = np.full((20, 30, 3), (200, 40, 90), np.uint8)
    found = decode(encoded(Image.fromarray(flat), kind))
    assert found.shape == (20, 30, 3)
    assert np.abs(found.astype(int) - flat).max() < 12


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_images_have_one_channel(mode: str) -> None:
    grey = PIXELS[..., 0]
    image = Image.fromarray(grey).convert(mode)
    found = decode(encoded(image))
    assert found.shape == (20, 30, 1)
    np.testing.assert_array_equal(found[..., 0], np.asarray(image.convert("L")) if mode in ("1",) else grey)
    assert header(encoded(image)).is_grey


def test_palettes_transparency_and_cmyk_become_colours() -> None:
    palette = Image.fromarray(PIXELS).quantize(16)
    palette.info["transparency"] = bytes(range(16))
    colours = np.asarray(palette.convert("RGBA")).astype(int)
    laid = np.rint(255 + (colours[..., :3] - 255) * colours[..., 3:] / 255)
    np.testing.assert_array_equal(decode(encoded(palette, transparency=bytes(range(16)))), laid)
    with_alpha = np.dstack([PIXELS, PIXELS[..., :1]])
    laid = np.rint(255 + (PIXELS.astype(int) - 255) * PIXELS[..., :1].astype(int) / 255)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(with_alpha))), laid)
    assert decode(encoded(Image.fromarray(PIXELS).convert("CMYK"), "JPEG")).shape == (20, 30, 3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_images_raise_nothing_but_value_error() -> None:
    rng = np.random.default_rng(0)
    refused = []
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"):
        good = encoded(Image.fromarray(PIXELS), kind)
        for _ in range(60):
            bad = bytearray(good[: rng.integers(1, len(good))] if rng.random() < 0.5 else good)
            for place in rng.integers(0, len(bad), 5):
                bad[place] = rng.integers(256)
            try:
                decode(bytes(bad))
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert not any("\n" in why for why in refused)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (encoded(Image.fromarray(PIXELS), "JPEG")[:300], "truncated"),
        (encoded(Image.fromarray(PIXELS))[:300], "truncated"),
    ],
)
def test_the_reason_is_said(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){why}"):
        decode(content)


@pytest.mark.parametrize("padding", [b"", b"\0" * 20_000], ids=["small", "large"])
def test_all_images_into_one_array(padding: bytes) -> None:
    images = [np.roll(PIXELS, shift, 0) for shift in range(70)]
    # Bytes after the end of a PNG are not read; they make the file large enough for the threads.
    found, depth = decode_all(some(*(encoded(Image.fromarray(image)) + padding for image in images)), "here")
    np.testing.assert_array_equal(found, images)
    assert depth.types == ("uint8",)


def test_grey_stays_grey_only_if_all_are() -> None:
    grey, colour = encoded(Image.fromarray(PIXELS[..., 0])), encoded(Image.fromarray(PIXELS))
    assert decode_all(some(grey, grey), "here")[0].shape == (2, 20, 30, 1)
    both, _ = decode_all(some(grey, colour), "here")
    np.testing.assert_array_equal(both[0], np.repeat(PIXELS[..., :1], 3, 2))
    np.testing.assert_array_equal(both[1], PIXELS)


def test_images_that_cannot_be_read_are_counted() -> None:
    good = encoded(Image.fromarray(PIXELS))
    with pytest.raises(
        DataError, match=r"2 of 4 in here are not, the first image 1 \(not an image\); replace or remove them"
    ):
        decode_all(some(good, b"bad", good, b""), "here")


def test_images_of_two_sizes() -> None:
    good, other = encoded(Image.fromarray(PIXELS)), encoded(Image.fromarray(PIXELS[:, :10]))
    with pytest.raises(DataError, match="here image 0 is 30x20 and image 2 10x20"):
        decode_all(some(good, good, other), "here")
    assert decode_all(some(good, good, other), "here", (8, 8))[0].shape == (3, 8, 8, 3)


def deep(values: np.ndarray) -> bytes:
    return encoded(Image.fromarray(values), "TIFF")


def test_images_of_8_and_of_16_bits_have_one_white() -> None:
    narrow, wide = np.full((4, 5), 255, np.uint8), np.full((4, 5), 65535, np.uint16)
    wide[0, 0] = 4095
    pixels, depth = decode_all(some(deep(narrow), deep(wide), deep(narrow // 5)), "here")
    assert (pixels.dtype, depth.full_scale, depth.factor) == (np.float32, 65535.0, 257)
    assert pixels[0].max() == pixels[1].max() == 65535
    assert (pixels[1, 0, 0, 0], pixels[2, 0, 0, 0]) == (4095, 51 * 257)


def test_16_bits_and_32_bit_integers_are_numbers() -> None:
    pixels, depth = decode_all(
        some(deep(np.full((4, 5), 60_000, np.uint16)), deep(np.full((4, 5), -7, np.int32))), "here"
    )
    assert pixels[:, 0, 0, 0].tolist() == [60_000, -7]
    assert depth.full_scale is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (np.full((4, 5), 0.5, np.float32), "1 of floats and 2 of 8 bits"),
        (np.full((4, 5), 9, np.int32), "1 of 32-bit integers and 2 of 8 bits"),
    ],
)
def test_types_without_a_common_scale_are_refused(other: np.ndarray, message: str) -> None:
    narrow = deep(np.full((4, 5), 255, np.uint8))
    with pytest.raises(DataError, match=f"one scale, but here has {message}; convert them to one type"):
        decode_all(some(narrow, narrow, deep(other)), "here")


def test_an_image_of_another_type_than_its_headers_said_is_named() -> None:
    with pytest.raises(ValueError, match="it has 16 bits, the others 8 bits"):
        EIGHT_BITS.of(np.zeros((2, 2, 1), np.uint16))
    mixed = Depth(("uint16", "uint8"), 257)
    assert mixed.of(np.full((1, 1, 1), 2, np.uint8)).item() == 514
    assert Depth(("uint16",), 1).of(np.full((1, 1, 1), 514, np.uint16)).item() == 514
