from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from onepath.data.decode import decode, decode_all, header
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
    assert header(content) == (20, 30, False)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats(kind: str) -> None:
    flat = np.full((20, 30, 3), (200, 40, 90), np.uint8)
    found = decode(encoded(Image.fromarray(flat), kind))
    assert found.shape == (20, 30, 3)
    assert np.abs(found.astype(int) - flat).max() < 12


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_grey_images_have_one_channel(mode: str) -> None:
    grey = PIXELS[..., 0]
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 256 + 17)
    else:
        image = Image.fromarray(grey).convert(mode)
    found = decode(encoded(image))
    assert found.shape == (20, 30, 1)
    np.testing.assert_array_equal(found[..., 0], np.asarray(image.convert("L")) if mode in ("1",) else grey)
    assert header(encoded(image)).is_grey


def test_palettes_transparency_and_cmyk_become_colours() -> None:
    palette = Image.fromarray(PIXELS).quantize(16)
    palette.info["transparency"] = bytes(range(16))
    np.testing.assert_array_equal(
        decode(encoded(palette, transparency=bytes(range(16)))), np.asarray(palette.convert("RGBA"))[..., :3]
    )
    with_alpha = np.dstack([PIXELS, PIXELS[..., :1]])
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(with_alpha))), PIXELS)
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
    found = decode_all(some(*(encoded(Image.fromarray(image)) + padding for image in images)), "here")
    np.testing.assert_array_equal(found, images)


def test_grey_stays_grey_only_if_all_are() -> None:
    grey, colour = encoded(Image.fromarray(PIXELS[..., 0])), encoded(Image.fromarray(PIXELS))
    assert decode_all(some(grey, grey), "here").shape == (2, 20, 30, 1)
    both = decode_all(some(grey, colour), "here")
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
    assert decode_all(some(good, good, other), "here", size=8).shape == (3, 8, 8, 3)
