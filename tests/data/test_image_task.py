from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from onepath.data import Batch, ImageTask, Task, load_data
from onepath.data.augment import Normaliser, crop_and_flip
from onepath.errors import DataError
from onepath.randomness import generator


def numbered(
    num: int = 60, size: int = 8, channels: int = 3, classes: int = 3, **options: object
) -> ImageTask:
    """Every pixel of image n has the value n, so that a batch tells which images it holds."""
    x = np.broadcast_to(
        np.arange(num, dtype=np.uint8)[:, None, None, None], (num, size, size, channels)
    ).copy()
    return load_data((x, np.arange(num) % classes), **options)  # type: ignore[arg-type]


def which(task: ImageTask, batch: Batch) -> list[int]:
    mean, std = task.normalisation[0][0], task.normalisation[1][0]
    middle = batch.inputs[:, 0, batch.inputs.shape[2] // 2, batch.inputs.shape[3] // 2]
    return ((middle * std + mean) * 255).round().int().tolist()


def members(task: ImageTask, split: str) -> list[int]:
    return [number for batch in task.batches(split, 7) for number in which(task, batch)]  # type: ignore[arg-type]


def test_no_image_is_in_two_splits() -> None:
    task = numbered()
    splits = [members(task, split) for split in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [
        task.num_examples(split) for split in ("train", "validation", "test")
    ]
    assert sorted(itertools.chain(*splits)) == list(range(60))


def test_splits_are_stratified() -> None:
    task = load_data((np.zeros((1000, 4, 4), np.uint8), np.repeat([0, 1, 2], [100, 200, 700])))
    assert np.bincount(task.labels("test")).tolist() == [20, 40, 140]
    assert np.bincount(task.labels("validation")).tolist() == [16, 32, 112]


def test_the_split_depends_on_the_seed_alone() -> None:
    assert members(numbered(seed=1), "test") == members(numbered(seed=1, augment=False, flip=True), "test")
    assert members(numbered(seed=1), "test") != members(numbered(seed=2), "test")


def test_images_keep_their_labels() -> None:
    task = numbered()
    for split in ("train", "validation", "test"):
        for batch in task.batches(split, 7):  # type: ignore[arg-type]
            assert batch.targets.tolist() == [number % 3 for number in which(task, batch)]
    for batch in task.train_batches(7, seed=0, num_updates=20):
        assert batch.targets.tolist() == [number % 3 for number in which(task, batch)]


def test_normalisation_is_of_the_training_split_alone() -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 5, 6, 3)).astype(np.uint8)
    y = np.arange(60) % 2
    task = load_data((x, y), test=(np.full((9, 5, 6, 3), 255, np.uint8), np.arange(9) % 2))
    train = torch.cat([batch.inputs for batch in task.batches("train", 10)])
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    # With other images outside of the training split, nothing changes.
    other = x.copy()
    mean, std = (np.array(part).reshape(1, 3, 1, 1) for part in task.normalisation)
    held_out = {
        np.rint((image * std + mean) * 255)[0].astype(np.uint8).transpose(1, 2, 0).tobytes()
        for batch in task.batches("validation", 10)
        for image in batch.inputs.numpy()[:, None]
    }
    hidden = [image.tobytes() in held_out for image in x]
    assert sum(hidden) == 12
    other[hidden] = 0
    assert load_data((other, y), test=(x, y)).normalisation == task.normalisation


def test_a_constant_channel_has_deviation_one() -> None:
    x = np.zeros((20, 4, 4, 2), np.float32)
    x[..., 0] = np.random.default_rng(0).normal(size=(20, 4, 4))
    x[..., 1] = 0.3
    task = load_data((x, np.arange(20) % 2))
    assert task.normalisation[1][1] == 1
    assert task.normalisation[0][1] == pytest.approx(0.3)
    assert all(batch.inputs.isfinite().all() for batch in task.batches("test", 10))


def test_tiny_floats_are_not_taken_for_constant() -> None:
    x = np.random.default_rng(0).normal(size=(20, 4, 4)) * 1e-9
    assert load_data((x, np.arange(20) % 2)).normalisation[1][0] == pytest.approx(1e-9, rel=0.2)


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_float32_in_the_right_layout(channels: int) -> None:
    task = numbered(channels=channels, flip=True)
    for batch in [next(task.train_batches(5, seed=0, num_updates=1)), next(task.batches("test", 5))]:
        assert batch.inputs.dtype == torch.float32
        assert batch.targets.dtype == torch.int64
        assert batch.inputs.shape == (5, channels, 8, 8)
        layout = torch.channels_last if channels > 1 else torch.contiguous_format
        assert batch.inputs.is_contiguous(memory_format=layout)
        wanted = (64 * channels, 1, 8 * channels, channels) if channels > 1 else (64, 64, 8, 1)
        assert batch.inputs.stride() == wanted


def test_training_starts_at_any_update() -> None:
    task = numbered()
    whole = list(task.train_batches(7, seed=3, num_updates=17))
    for first in (0, 1, 4, 5, 6, 16):
        again = list(task.train_batches(7, seed=3, first_update=first, num_updates=17 - first))
        assert len(again) == 17 - first
        for one, other in zip(again, whole[first:], strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)


def test_seeds_and_updates_differ() -> None:
    task = numbered()
    first, second = task.train_batches(7, seed=3, num_updates=2)
    other = next(task.train_batches(7, seed=4, num_updates=1))
    assert not torch.equal(first.inputs, second.inputs)
    assert not torch.equal(first.inputs, other.inputs)


def test_an_epoch_sees_every_image_once_and_epochs_differ() -> None:
    task = numbered()
    train = members(task, "train")
    assert (len(train), task.updates_per_epoch(13)) == (39, 3)
    numbers = [which(task, batch) for batch in task.train_batches(13, seed=0, num_updates=6)]
    epochs = [list(itertools.chain(*numbers[:3])), list(itertools.chain(*numbers[3:]))]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(train)
    assert epochs[0] != epochs[1]


def test_the_rest_of_an_epoch_is_dropped() -> None:
    task = numbered()
    assert task.updates_per_epoch(20) == 1
    batches = list(task.train_batches(20, seed=0, num_updates=3))
    assert [len(batch.targets) for batch in batches] == [20, 20, 20]


def test_fewer_images_than_a_batch() -> None:
    task = numbered()
    assert task.updates_per_epoch(1000) == 1
    assert [len(batch.targets) for batch in task.train_batches(1000, seed=0, num_updates=2)] == [39, 39]


def test_augmentation_is_that_of_the_update_alone() -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype(np.uint8)
    task = load_data((x, np.arange(40) % 2), test=(x[:4], np.arange(4) % 2))
    plain = load_data((x, np.arange(40) % 2), test=(x[:4], np.arange(4) % 2), augment=False)
    mean, std = (np.array(part) for part in task.normalisation)
    batches = zip(
        task.train_batches(8, seed=5, num_updates=9),
        plain.train_batches(8, seed=5, num_updates=9),
        strict=True,
    )
    for update, (augmented, bare) in enumerate(batches):
        raw = np.rint((bare.inputs.permute(0, 2, 3, 1).numpy() * std + mean) * 255).astype(np.uint8)
        wanted = crop_and_flip(raw, 2, True, generator(5, "augment", update))
        assert torch.equal(augmented.inputs, Normaliser(*task.normalisation, 255.0)(wanted))
        assert torch.equal(augmented.targets, bare.targets)


def gradient_signs(task: ImageTask) -> set[int]:
    """Whether the ramps of `ramps` rise or fall in the training batches."""
    signs = set()
    for batch in task.train_batches(8, seed=0, num_updates=20):
        signs |= set(torch.sign(batch.inputs[:, 0, 8, 9] - batch.inputs[:, 0, 8, 6]).int().tolist())
    return signs


@pytest.mark.parametrize(
    ("options", "signs"),
    [
        ({}, {-1, 1}),
        ({"flip": False}, {1}),
        ({"flip": True}, {-1, 1}),
        ({"augment": False}, {1}),
        ({"augment": False, "flip": True}, {1}),
    ],
)
def test_images_are_mirrored_only_where_allowed(options: dict[str, bool], signs: set[int]) -> None:
    ramps = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, None, :], (40, 16, 16)).copy()
    task = load_data((ramps, np.arange(40) % 2), **options)  # type: ignore[arg-type]
    assert gradient_signs(task) == signs
    assert all(
        (batch.inputs[:, 0, 8, 9] > batch.inputs[:, 0, 8, 6]).all() for batch in task.batches("train", 50)
    )


def test_series_in_the_form_of_images_are_not_mirrored_by_default() -> None:
    x = np.broadcast_to(np.linspace(-3, 3, 32, dtype=np.float32), (40, 1, 16, 32)).copy()
    y = np.arange(40) % 2
    task = load_data((x, y))
    assert (task.input_shape, task.flip) == ((1, 16, 32), False)
    assert any("may be series in time; flip=True mirrors them." in note for note in task.notes)
    assert sum("mirrored" in note for note in task.notes) == 1
    assert load_data((x, y), flip=True).flip
    assert load_data((x[..., :16], y)).flip
    assert load_data(((x + 3) / 6, y)).flip
    assert load_data(((x * 20 + 100).astype(np.uint8), y)).flip


def test_batches_may_be_changed_by_the_caller() -> None:
    task = numbered(augment=False)
    before = [batch.inputs.clone() for batch in task.batches("train", 50)]
    for batch in [*task.batches("train", 50), *task.train_batches(10, seed=0, num_updates=3)]:
        batch.inputs.zero_()
        batch.targets.zero_()
    assert torch.equal(before[0], next(task.batches("train", 50)).inputs)
    assert next(task.batches("train", 50)).targets.max() == 2


def test_a_subset_is_fixed_random_and_in_order() -> None:
    task = numbered(200, classes=2)
    part = [number for batch in task.batches("train", 7, num_examples=30) for number in which(task, batch)]
    again = [number for batch in task.batches("train", 11, num_examples=30) for number in which(task, batch)]
    other = [
        number for batch in task.batches("train", 7, num_examples=30, seed=1) for number in which(task, batch)
    ]
    assert part == again == sorted(set(part))
    assert len(part) == 30
    assert part != other
    assert set(part) < set(members(task, "train"))
    assert members(task, "test") == [
        n for b in task.batches("test", 7, num_examples=10**6) for n in which(task, b)
    ]


def test_wrong_arguments() -> None:
    task = numbered()
    wrong = [task.batches("dev", 8), task.batches("test", 0), task.batches("test", 8, num_examples=0)]  # type: ignore[arg-type]
    for batches in wrong:
        with pytest.raises(DataError, match="must"):
            next(batches)
    with pytest.raises(DataError, match="batch_size >= 1 must hold, but got 0"):
        next(task.train_batches(0, seed=0, num_updates=1))


def test_loss_and_metric() -> None:
    task = numbered()
    outputs = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]], requires_grad=True)
    targets = torch.tensor([0, 1])
    log_probabilities = torch.log_softmax(outputs, 1)
    wanted = -(log_probabilities[0, 0] + log_probabilities[1, 1]) / 2
    torch.testing.assert_close(task.loss(outputs, targets), wanted)
    smooth = 0.9 * wanted - 0.1 * log_probabilities.mean()
    torch.testing.assert_close(task.loss(outputs, targets, label_smoothing=0.1), smooth)
    assert task.tally(outputs, targets).tolist() == [1.0, 2.0]
    assert task.metric(torch.tensor([3.0, 4.0])) == 0.75
    assert isinstance(task, Task)
    assert (task.metric_name, task.higher_is_better) == ("accuracy", True)


def test_test_images() -> None:
    task = numbered()
    assert which(task, Batch(task.test_images(4), torch.zeros(4))) == members(task, "test")[:4]
    assert len(task.test_images(1000)) == 12


def test_the_fingerprint_follows_the_content() -> None:
    x, y = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8), np.arange(60) % 3
    reference = load_data((x, y)).fingerprint
    assert load_data((x.copy(), y.copy())).fingerprint == reference
    assert len(reference) == 16
    darker, relabelled = x.copy(), y.copy()
    darker[7] //= 2
    relabelled[[3, 4]] = relabelled[[4, 3]]
    changed = [
        load_data((darker, y)),
        load_data((x, relabelled)),
        load_data((x, y), seed=1),
        load_data((x[:-1], y[:-1])),
        load_data((x, np.array(["a", "b", "c"])[y])),
        load_data((x, y), input_size=9),
    ]
    assert len({reference, *(task.fingerprint for task in changed)}) == 7
