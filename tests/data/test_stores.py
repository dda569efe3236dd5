from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onepath.data import ImageTask, load_data
from onepath.data.augment import resized_crop
from onepath.data.pixels import with_channels
from onepath.errors import DataError
from onepath.randomness import generator

RNG = np.random.default_rng(0)


def fill(
    root: Path, num: int = 15, sizes: tuple[tuple[int, int], ...] = ((96, 96),), mode: str = "RGB"
) -> Path:
    """Folders "dark" and "light" of smooth pictures, `num` each; sizes are (height, width)."""
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for index in range(num):
            height, width = sizes[index % len(sizes)]
            coarse = Image.fromarray(RNG.integers(100 * label, 100 * label + 150, (4, 4, 3)).astype(np.uint8))
            coarse.resize((width, height)).convert(mode).save(root / name / f"{index}.jpg")
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / "photos", sizes=((150, 200), (180, 140), (160, 160)))


def lazy(path: Path, **options: object) -> ImageTask:
    return load_data(path, in_memory=False, **{"num_workers": 0, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_training_starts_at_any_update_whatever_the_workers(photos: Path, num_workers: int) -> None:
    reference = list(lazy(photos).train_batches(4, seed=3, num_updates=9))
    task = lazy(photos, num_workers=num_workers)
    for first in (0, 3, 8):
        again = list(task.train_batches(4, seed=3, first_update=first, num_updates=9 - first))
        for one, other in zip(again, reference[first:], strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)


def test_batches_of_photos(photos: Path) -> None:
    task = load_data(photos, num_workers=2)
    assert task.input_shape == (3, 128, 128)
    assert (
        "Images are resized to cover 128x128 (width x height) and their centre is taken: up to 25% of an image is "
        "cut off; fit='pad' keeps all of it; input_size sets another size." in task.notes
    )
    batch = next(task.train_batches(4, seed=0, num_updates=1))
    assert batch.inputs.shape == (4, 3, 128, 128)
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    train = torch.cat([batch.inputs for batch in task.batches("train", 8)])
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)
    light = torch.cat([batch.inputs.mean((1, 2, 3))[batch.targets == 1] for batch in task.batches("test", 8)])
    dark = torch.cat([batch.inputs.mean((1, 2, 3))[batch.targets == 0] for batch in task.batches("test", 8)])
    assert light.min() > dark.max()


def test_an_image_is_augmented_from_its_own_seed(photos: Path) -> None:
    task, plain = lazy(photos, input_size=48), lazy(photos, input_size=48, augment=False)
    mean, std = (np.array(part) for part in task.normalisation)
    files = sorted(photos.rglob("*.jpg"))
    originals = {}
    for path in files:
        with Image.open(path) as image:
            originals[path] = np.array(image)
    found = next(task.train_batches(5, seed=2, first_update=1, num_updates=1)).inputs
    found = np.rint((found.permute(0, 2, 3, 1).numpy() * std + mean) * 255)
    seeds = generator(2, "augment", 1).integers(2**63 - 1, size=5)
    for image, seed in zip(found, seeds, strict=True):
        candidates = [
            resized_crop(original, (48, 48), True, np.random.default_rng(seed))
            for original in originals.values()
        ]
        assert sum(np.array_equal(image, candidate) for candidate in candidates) == 1
    assert not torch.equal(
        next(plain.train_batches(5, seed=2, num_updates=1)).inputs,
        next(task.train_batches(5, seed=2, num_updates=1)).inputs,
    )


@pytest.mark.parametrize(
    ("sizes", "options", "shape", "in_memory"),
    [
        (((96, 96),), {}, (3, 96, 96), True),
        (((96, 96),), {"in_memory": False}, (3, 96, 96), False),
        (((40, 60),), {}, (3, 40, 60), True),
        (((200, 200),), {}, (3, 200, 200), False),
        (((300, 300),), {}, (3, 224, 224), False),
        (((300, 200),), {}, (3, 274, 183), False),
        (((100, 200),), {}, (3, 100, 200), False),
        (((480, 640), (240, 320)), {}, (3, 194, 259), False),
        (((300, 300), (200, 200)), {}, (3, 224, 224), False),
        (((300, 200),), {"input_size": (60, 40)}, (3, 60, 40), True),
        (((300, 300),), {"input_size": 64}, (3, 64, 64), True),
        (((300, 300),), {"input_size": 72}, (3, 72, 72), True),
        (((300, 200), (200, 300)), {"input_size": 72}, (3, 72, 72), False),
        (((300, 200), (200, 300)), {"input_size": 200, "in_memory": True}, (3, 200, 200), True),
        (((33, 300), (300, 33)), {}, (3, 32, 32), False),
    ],
)
def test_sizes_and_places(
    tmp_path: Path,
    sizes: tuple[tuple[int, int], ...],
    options: dict[str, int],
    shape: tuple[int, ...],
    in_memory: bool,
) -> None:
    task = load_data(fill(tmp_path / "data", 5, sizes), **options)  # type: ignore[arg-type]
    assert task.input_shape == shape
    assert next(task.train_batches(2, seed=0, num_updates=1)).inputs.shape == (2, *shape)
    store = "MemoryImages" if in_memory else "FileImages"
    assert type(task._parts["train"].store).__name__ == store


def half_and_half(root: Path, num: int = 6, height: int = 90, width: int = 270) -> Path:
    """Images that are grey but for a bright stripe at their left or right end, which a square cut would lose."""
    for name, columns in (("left", slice(0, 30)), ("right", slice(-30, None))):
        (root / name).mkdir(parents=True)
        for index in range(num):
            pixels = np.full((height, width, 3), 100, np.uint8)
            pixels[:, columns] = 250
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.mark.parametrize("options", [{}, {"input_size": 64, "fit": "pad"}, {"input_size": (32, 96)}])
def test_what_stands_at_the_sides_is_kept(tmp_path: Path, options: dict[str, object]) -> None:
    task = load_data(half_and_half(tmp_path / "data"), **options)  # type: ignore[arg-type]
    (inputs, targets) = next(task.batches("test", 10))
    width = inputs.shape[3]
    brighter_right = inputs[:, 0, :, width // 2 :].amax((1, 2)) > inputs[:, 0, :, : width // 2].amax((1, 2))
    assert torch.equal(brighter_right.long(), targets)
    assert not any("cut off" in note for note in task.notes)


def test_what_is_cut_off_is_said(tmp_path: Path) -> None:
    folder = half_and_half(tmp_path / "data")
    for options in ({"input_size": 64}, {"input_size": 64, "in_memory": True}):
        notes = load_data(folder, **options).notes  # type: ignore[arg-type]
        assert any("up to 67% of an image is cut off; fit='pad' keeps all of it." in note for note in notes)
    arrays = np.zeros((30, 8, 16, 3), np.uint8), np.arange(30) % 3
    assert any("up to 50% of an image is cut off" in note for note in load_data(arrays, input_size=8).notes)
    assert not any("cut off" in note for note in load_data(arrays, input_size=(4, 8)).notes)
    padded = load_data(folder, input_size=64, fit="pad")
    assert (padded.fit, padded.input_shape) == ("pad", (3, 64, 64))
    assert padded.fingerprint != load_data(folder, input_size=64).fingerprint


@pytest.mark.parametrize("in_memory", [True, False])
def test_deep_images_are_read_as_they_are(tmp_path: Path, in_memory: bool) -> None:
    values = {}
    for label, name in enumerate(("dark", "light")):
        (tmp_path / name).mkdir()
        for index in range(6):
            pixels = (RNG.integers(0, 2000, (70, 70)) + 2000 * label).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
            values[f"{name}/{index}.png"] = pixels
    task = load_data(tmp_path, in_memory=in_memory, input_size=70)
    assert (task.full_scale, task.input_shape) == (65535.0, (1, 70, 70))
    mean, std = (number[0] for number in task.normalisation)
    raw = (next(task.batches("train", 1)).inputs[0, 0].numpy() * std + mean) * 65535
    assert any(np.abs(raw - pixels).max() < 0.5 for pixels in values.values())
    assert any("more than 8 bits" in note for note in task.notes)
    assert next(task.train_batches(2, seed=0, num_updates=1)).inputs.isfinite().all()


def test_grey_photos_have_one_channel(tmp_path: Path) -> None:
    assert lazy(fill(tmp_path / "grey", mode="L")).input_shape == (1, 96, 96)
    assert load_data(fill(tmp_path / "small", 5, ((20, 20),), mode="L")).input_shape == (1, 20, 20)


@pytest.mark.parametrize("in_memory", [True, False])
def test_test_images_take_the_channels_of_the_training_images(tmp_path: Path, in_memory: bool) -> None:
    grey, colour = fill(tmp_path / "grey", 6, mode="L"), fill(tmp_path / "colour", 6)
    for train, test, channels in ((grey, colour, 1), (colour, grey, 3)):
        task = load_data(train, test=test, in_memory=in_memory)
        assert task.input_shape[0] == channels
        assert next(task.batches("test", 4)).inputs.shape == (4, channels, 96, 96)


def test_grey_from_colours() -> None:
    pixels = np.array([[[255, 0, 0]], [[10, 200, 30]], [[7, 7, 7]]], np.uint8)
    wanted = np.asarray(Image.fromarray(pixels).convert("L"))
    assert np.abs(with_channels(pixels, 1)[..., 0].astype(int) - wanted).max() <= 1


def test_stopping_early_leaves_no_thread(photos: Path) -> None:
    before = threading.active_count()
    stream = lazy(photos, num_workers=3).train_batches(4, seed=0, num_updates=1000)
    next(stream)
    assert threading.active_count() > before
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_damaged_photos(photos: Path) -> None:
    for name in ("dark/3.jpg", "light/4.jpg"):
        (photos / name).write_bytes(b"not a picture")
    with pytest.raises(
        DataError, match=r"2 of 30 in .* are not, the first .*dark/3.jpg \(not an image\)"
    ) as caught:
        load_data(photos)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_photo_cut_short_is_named_when_it_is_met(photos: Path, num_workers: int) -> None:
    task = lazy(photos, num_workers=num_workers)
    for path in photos.rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(
        DataError, match=r"every image must be readable, but .*\d.jpg is not \(.*truncated"
    ) as caught:
        list(task.train_batches(4, seed=0, num_updates=2))
    assert "\n" not in str(caught.value)


def test_arrays_and_files_together(tmp_path: Path) -> None:
    folder = fill(tmp_path / "data", 6, ((16, 16),))
    x, y = (
        RNG.integers(0, 256, (30, 16, 16, 3)).astype(np.uint8),
        np.array(["dark", "light"])[np.arange(30) % 2],
    )
    task = load_data((x, y), test=folder)
    assert task.labels("test").tolist() == [0] * 6 + [1] * 6
    scaled = load_data((x / 255.0, y), test=folder)
    torch.testing.assert_close(scaled.test_images(12), task.test_images(12), atol=1e-5, rtol=1e-5)
    with pytest.raises(DataError, match="are 16x16x3 and the training images 8x8x3"):
        load_data((x[:, :8, :8], y), test=folder)
    assert load_data((x[:, :8, :8], y), test=folder, input_size=8).test_images(2).shape == (2, 3, 8, 8)


def test_large_images_in_a_parquet(tmp_path: Path, photos: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(photos.rglob("*.jpg"))
    table = pa.table(
        {"image": [path.read_bytes() for path in files], "label": [path.parent.name for path in files]}
    )
    pq.write_table(table, tmp_path / "photos.parquet", row_group_size=4)
    one, other = lazy(tmp_path / "photos.parquet"), lazy(photos)
    assert one.class_names == other.class_names
    assert one.fingerprint == other.fingerprint
    for left, right in zip(one.batches("validation", 4), other.batches("validation", 4), strict=True):
        assert torch.equal(left.inputs, right.inputs)


def test_a_few_large_images_decide_nothing_alone(tmp_path: Path) -> None:
    folder = fill(tmp_path / "data", 5, ((20, 20),))
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(buffer, "PNG")
    (folder / "dark" / "more.png").write_bytes(buffer.getvalue())
    assert load_data(folder).input_shape == (3, 20, 20)


def test_wrong_options(photos: Path) -> None:
    with pytest.raises(DataError, match="num_workers >= 0 must hold, but got num_workers=-1"):
        load_data(photos, num_workers=-1)
    with pytest.raises(DataError, match="input_size >= 1 must hold, but got input_size=0"):
        load_data(photos, input_size=0)
    with pytest.raises(DataError, match="images must have one size"):
        load_data(photos, in_memory=True)
    for options, message in (
        ({"fit": "stretch"}, "fit must be crop or pad, but got 'stretch'"),
        ({"channels": "middle"}, "channels must be first or last, but got 'middle'"),
        ({"kind": "sound"}, "kind must be images or sequence or classification or regression or multi-label or segmentation, but got 'sound'"),
        ({"input_size": (8, 0)}, "input_size >= 1 must hold, but got input_size=0"),
        ({"input_size": (8, 8, 8)}, r"one side or \(height, width\)"),
    ):
        with pytest.raises(DataError, match=message):
            load_data(photos, **options)  # type: ignore[arg-type]
