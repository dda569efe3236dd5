"""Orientation, depth and transparency of images in files, against values that are known."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onepath.data import load_data
from onepath.data.decode import decode, header

RNG = np.random.default_rng(0)
UPRIGHT = RNG.integers(0, 256, (6, 10, 3)).astype(np.uint8)
# How the pixels of an upright image are stored under each orientation tag (EXIF 2.3, tag 274).
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.swapaxes(0, 1),
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(UPRIGHT, -1),
}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tagged(orientation: int, kind: str) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"exif": exif}
    if kind == "WEBP":
        options["lossless"] = True
    if kind == "JPEG":
        options |= {"quality": 100, "subsampling": 0}
    if kind == "TIFF":
        options = {"tiffinfo": {0x0112: orientation}}
    return saved(image, kind, **options)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", list(STORED))
def test_images_are_read_upright(kind: str, orientation: int) -> None:
    content = tagged(orientation, kind)
    found = decode(content)
    assert found.shape == UPRIGHT.shape
    assert np.abs(found.astype(int) - UPRIGHT).max() <= (12 if kind == "JPEG" else 0)
    assert header(content)[:2] == (6, 10)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0MM\0*"]
)
def test_a_damaged_tag_costs_nothing(exif: bytes) -> None:
    content = (
        saved(Image.fromarray(UPRIGHT), "PNG", exif=exif) if exif else saved(Image.fromarray(UPRIGHT), "PNG")
    )
    np.testing.assert_array_equal(decode(content), UPRIGHT)


def test_a_tag_out_of_range_is_none() -> None:
    for orientation in (0, 9, 300):
        exif = Image.Exif()
        exif[0x0112] = orientation
        np.testing.assert_array_equal(decode(saved(Image.fromarray(UPRIGHT), "PNG", exif=exif)), UPRIGHT)


def test_rotated_images_of_a_parquet_are_upright(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    contents = [tagged(orientation, "PNG") for orientation in STORED] * 2
    table = pa.table({"image": contents, "label": ["a", "b"] * 8})
    pq.write_table(table, tmp_path / "turned.parquet")
    task = load_data(tmp_path / "turned.parquet", augment=False)
    assert task.input_shape == (3, 6, 10)
    inputs = next(task.batches("train", 20)).inputs
    assert float((inputs - inputs[:1]).abs().max()) == 0


GREYS = {
    "16-bit PNG": (np.uint16, "PNG", 4000),
    "16-bit TIFF": (np.uint16, "TIFF", 65535),
    "32-bit TIFF": (np.int32, "TIFF", 200),
    "wide 32-bit TIFF": (np.int32, "TIFF", 2_000_000),
    "float TIFF": (np.float32, "TIFF", 1.0),
    "wide float TIFF": (np.float32, "TIFF", 4000.0),
}


@pytest.mark.parametrize("name", list(GREYS))
def test_deep_greys_keep_every_value(name: str) -> None:
    dtype, kind, most = GREYS[name]
    values = (RNG.random((12, 9)) * most).astype(dtype)
    content = saved(Image.fromarray(values), kind)
    found = decode(content)
    assert (found.dtype, found.shape) == (values.dtype, (12, 9, 1))
    np.testing.assert_array_equal(found[..., 0], values)
    assert header(content)[:4] == (12, 9, True, values.dtype.name)


def test_negative_and_big_endian_values() -> None:
    values = RNG.integers(-30_000, 30_000, (5, 7)).astype(np.int32)
    np.testing.assert_array_equal(decode(saved(Image.fromarray(values), "TIFF"))[..., 0], values)
    wide = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)
    big = Image.frombytes("I;16B", (7, 5), wide.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(saved(big, "TIFF"))[..., 0], wide)
    pgm = b"P5 7 5 65535\n" + wide.astype(">u2").tobytes()
    found = decode(pgm)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], wide)


def png(values: np.ndarray, colour_type: int, *, interlaced: bool = False) -> bytes:
    """A PNG of 16 bits a channel, each row filtered by another of the five filters."""
    height, width, channels = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, width * channels * 2).astype(np.int64)
    step = channels * 2
    lines = []
    passes = [(0, 0, 1, 1)] if not interlaced else [
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]  # fmt: skip
    for top, left, down, right in passes:
        part = rows.reshape(height, width, step)[top::down, left::right].reshape(
            len(range(top, height, down)), -1
        )
        if not part.size:
            continue
        above = np.zeros(part.shape[1], np.int64)
        for number, row in enumerate(part):
            before = np.concatenate([np.zeros(step, np.int64), row[:-step]])
            if number % 3 == 0:
                lines.append(bytes([0]) + (row % 256).astype(np.uint8).tobytes())
            elif number % 3 == 1:
                lines.append(bytes([1]) + ((row - before) % 256).astype(np.uint8).tobytes())
            else:
                lines.append(bytes([3]) + ((row - (before + above) // 2) % 256).astype(np.uint8).tobytes())
            above = row
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, int(interlaced))
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("channels", "colour_type"), [(3, 2), (2, 4), (4, 6)])
def test_png_colours_of_16_bits_keep_every_value(channels: int, colour_type: int, interlaced: bool) -> None:
    values = RNG.integers(0, 4096, (11, 13, channels)).astype(np.uint16)
    if channels != 3:
        values[..., -1] = 65535
    content = png(values, colour_type, interlaced=interlaced)
    found = decode(content)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values if channels == 3 else values[..., :-1])
    assert header(content)[:4] == (11, 13, channels == 2, "uint16")


def test_16_bits_under_transparency() -> None:
    values = np.full((4, 4, 4), 1000, np.uint16)
    values[:2, :, 3] = 0
    values[2:, :, 3] = 65535
    found = decode(png(values, 6))
    assert (found[:2] == 65535).all()
    assert (found[2:] == 1000).all()
    half = np.full((2, 2, 2), 32768, np.uint16)
    assert abs(int(decode(png(half, 4), background=0)[0, 0, 0]) - 16384) <= 1


def tiff(values: np.ndarray, order: str) -> bytes:
    """An uncompressed TIFF of three channels of 16 bits."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    tags: list[tuple[int, int, int, int]] = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 0), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 1, 0), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data))),
    ]
    after = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, count, value in tags:
        number = after if tag == 258 else after + 6 if tag == 273 else value
        is_short = kind == 3 and count == 1
        entries += struct.pack(f"{order}HHI", tag, kind, count)
        entries += struct.pack(f"{order}HH", number, 0) if is_short else struct.pack(f"{order}I", number)
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return (
        start
        + struct.pack(f"{order}H", len(tags))
        + entries
        + bytes(4)
        + struct.pack(f"{order}HHH", 16, 16, 16)
        + data
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_colours_of_16_bits_keep_every_value(order: str) -> None:
    values = RNG.integers(0, 65536, (6, 7, 3)).astype(np.uint16)
    found = decode(tiff(values, order))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values)


def test_values_that_are_not_finite_are_refused() -> None:
    values = np.full((4, 4), np.nan, np.float32)
    with pytest.raises(ValueError, match="pixels that are NaN or infinite"):
        decode(saved(Image.fromarray(values), "TIFF"))


def cross(colour: int, where: int) -> Image.Image:
    """A bar in transparency alone, upright or lying, of one colour everywhere."""
    pixels = np.full((16, 16, 4), colour, np.uint8)
    pixels[..., 3] = 0
    pixels[6:10, :, 3] = 255 * (where == 0)
    pixels[:, 6:10, 3] += np.uint8(255 * (where == 1))
    return Image.fromarray(pixels)


def palette(image: Image.Image) -> Image.Image:
    """The same with a palette whose first entry alone is transparent."""
    alpha = np.asarray(image)[..., 3]
    made = Image.frombytes("P", image.size, (alpha > 0).astype(np.uint8).tobytes())
    colour = np.asarray(image)[0, 0, :3].tolist()
    made.putpalette([*colour, *colour])
    made.info["transparency"] = 0
    return made


KINDS = {
    "RGBA PNG": lambda image: saved(image, "PNG"),
    "RGBA WebP": lambda image: saved(image, "WEBP", lossless=True, exact=True),
    "RGBA TIFF": lambda image: saved(image, "TIFF"),
    "LA PNG": lambda image: saved(image.convert("LA"), "PNG"),
    "palette PNG": lambda image: saved(palette(image), "PNG", transparency=0),
    "palette GIF": lambda image: saved(palette(image), "GIF", transparency=0),
}


@pytest.mark.parametrize(
    ("kind", "colours", "in_memory"),
    [
        *((kind, colours, True) for kind in KINDS for colours in ((0, 0), (255, 255), (0, 255))),
        *(("RGBA PNG", colours, False) for colours in ((0, 0), (128, 128), (90, 90), (255, 0))),
    ],
)
def test_drawings_in_transparency_alone_are_seen(
    tmp_path: Path, kind: str, colours: tuple[int, int], in_memory: bool
) -> None:
    suffix = {"PNG": "png", "WebP": "webp", "TIFF": "tif", "GIF": "gif"}[kind.split()[1]]
    for where, name in enumerate(("lying", "upright")):
        (tmp_path / name).mkdir()
        for index in range(6):
            content = KINDS[kind](cross(colours[index % 2], where))
            (tmp_path / name / f"{index}.{suffix}").write_bytes(content)
    task = load_data(tmp_path, in_memory=in_memory, input_size=None if in_memory else 16, num_workers=0)
    assert task.background in (255, 0, 128)
    assert any(note.startswith("Images with transparency are laid on ") for note in task.notes)
    for inputs, targets in task.batches("train", 12):
        rows = inputs[:, 0, 7, :].std(dim=1)
        columns = inputs[:, 0, :, 7].std(dim=1)
        assert ((rows > columns).long() == targets).all()


def test_what_is_under_full_transparency_is_not_seen() -> None:
    hidden = RNG.integers(0, 256, (8, 8, 4)).astype(np.uint8)
    hidden[..., 3] = 0
    for background in (255, 0, 128):
        assert (decode(saved(Image.fromarray(hidden), "PNG"), background) == background).all()


def test_opaque_images_do_not_change() -> None:
    opaque = np.dstack([UPRIGHT, np.full(UPRIGHT.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(decode(saved(Image.fromarray(opaque), "PNG"), 0), UPRIGHT)


def test_a_transparent_value_without_a_channel_of_transparency() -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    found = decode(saved(Image.fromarray(grey), "PNG", transparency=5))[..., 0]
    assert found[0, 5] == 255
    assert (np.delete(found.reshape(-1), 5) == np.delete(grey.reshape(-1), 5)).all()
    wide = grey.astype(np.uint16) * 100
    assert decode(saved(Image.fromarray(wide), "PNG", transparency=500), 0)[0, 5, 0] == 0
    colours = np.repeat(grey[..., None], 3, 2)
    assert decode(saved(Image.fromarray(colours), "PNG", transparency=(5, 5, 5)))[0, 5].tolist() == [255] * 3


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "RGBX"])
def test_other_colours_become_red_green_and_blue(mode: str) -> None:
    flat = Image.new("RGB", (8, 8), (200, 60, 30))
    if mode == "LAB":
        from PIL import ImageCms

        flat_lab = ImageCms.profileToProfile(
            flat, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        assert flat_lab is not None
        image = flat_lab
    else:
        image = flat.convert(mode)
    found = decode(image)
    assert found.shape == (8, 8, 3)
    assert np.abs(found.astype(int) - [200, 60, 30]).max() <= 6
    if mode in ("CMYK", "YCbCr", "LAB"):
        assert np.abs(decode(saved(image, "TIFF")).astype(int) - [200, 60, 30]).max() <= 6
    if mode == "CMYK":
        assert np.abs(decode(saved(image, "JPEG", quality=100)).astype(int) - [200, 60, 30]).max() <= 8


def test_bilevel_images_are_black_and_white() -> None:
    bits = RNG.random((8, 8)) > 0.5
    for kind in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(decode(saved(Image.fromarray(bits), kind))[..., 0], bits * 255)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_taken_and_said(tmp_path: Path, kind: str) -> None:
    for value, name in ((10, "a"), (200, "b")):
        (tmp_path / name).mkdir()
        frames = [Image.fromarray(np.full((8, 8, 3), value + 20 * number, np.uint8)) for number in range(3)]
        options = {"lossless": True} if kind == "WEBP" else {}
        for index in range(5):
            content = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
            (tmp_path / name / f"{index}.{kind.lower()}").write_bytes(content)
            assert header(content).has_more_frames
    task = load_data(tmp_path)
    mean, std = (number[0] for number in task.normalisation)
    values = set((task.test_images(2)[:, 0, 0, 0] * std + mean).mul(255).round().int().tolist())
    assert values == {10, 200}
    assert any(
        note.startswith("Of images with several frames or pages the first is taken (10 of 10")
        for note in task.notes
    )
    assert not header(saved(Image.fromarray(UPRIGHT), kind)).has_more_frames
