from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from data.texts import cycle_task, random_task

from onepath.data.text_task import TextTask
from onepath.errors import DataError


def joined(batches) -> np.ndarray:
    return np.concatenate([batch.targets.numpy() for batch in batches], axis=1)


@pytest.mark.parametrize("random_lengths", [True, False])
def test_an_epoch_shows_every_word_once_and_in_order(random_lengths: bool) -> None:
    task = random_task(4001, length=12, random_lengths=random_lengths)
    updates = task.updates_per_epoch(4)
    assert updates == 999 // 12
    epoch = list(task.train_batches(4, seed=3, num_updates=updates))
    streams = task._texts["train"][:4000].reshape(4, 1000)
    targets = joined(epoch)
    np.testing.assert_array_equal(targets, streams[:, 1 : 1 + targets.shape[1]])
    assert targets.shape[1] == (999 if random_lengths else 83 * 12)
    for batch in epoch:
        assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    lengths = [batch.inputs.shape[1] for batch in epoch]
    assert len(set(lengths)) == 1 if not random_lengths else 3 < np.std(lengths) < 7


def test_random_lengths_are_the_released_ones() -> None:
    task = random_task(400_001, length=35)
    updates = task.updates_per_epoch(4)
    lengths = np.array([b.inputs.shape[1] for b in task.train_batches(4, seed=0, num_updates=updates)])
    # N(35, 5), and one in twenty N(17.5, 5): mean 34.1, of which the scale makes 35.0, so that 25 was 24.4.
    assert lengths.mean() == pytest.approx(35, abs=0.05)
    assert (lengths < 25).mean() == pytest.approx(0.05 * 0.915 + 0.95 * 0.017, abs=0.01)
    assert lengths.min() >= 5
    assert lengths.max() <= 57


def test_batches_depend_on_the_update_alone() -> None:
    task = random_task(length=6)
    whole = list(task.train_batches(3, seed=1, num_updates=80))
    rest = list(task.train_batches(3, seed=1, first_update=70, num_updates=10))
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(whole[70:], rest, strict=True))
    per_epoch = task.updates_per_epoch(3)
    assert [b.inputs.shape for b in whole[:per_epoch]] != [
        b.inputs.shape for b in whole[per_epoch : 2 * per_epoch]
    ]


@pytest.mark.parametrize("num_words", [2, 3, 7, 40])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_short_texts(num_words: int, batch_size: int) -> None:
    task = random_task(num_words * 3, length=9)
    updates = task.updates_per_epoch(batch_size)
    batches = list(task.train_batches(batch_size, seed=0, num_updates=2 * updates))
    assert len(batches) == 2 * updates
    assert all(batch.inputs.numel() > 0 and batch.inputs.shape == batch.targets.shape for batch in batches)
    assert all(batch.targets.numel() > 0 for batch in task.batches("test", batch_size))


def test_evaluation_does_not_depend_on_the_batch_size() -> None:
    task = random_task(1000, length=6, num_streams=8)
    targets = joined(task.batches("train", 3))
    np.testing.assert_array_equal(targets, joined(task.batches("train", 500)))
    np.testing.assert_array_equal(targets, task._texts["train"].reshape(8, 125)[:, 1:])
    assert task.num_examples("train") == math.ceil(999 / 6)


def test_examples_have_the_input_shape() -> None:
    task = random_task(100, length=10)
    inputs = task.example_inputs("test", 256)
    assert inputs.shape == (3, 10)
    assert inputs.flatten().tolist() == task._texts["test"][:30].tolist()
    assert random_task(30, length=50).example_inputs("test", 4).shape == (1, 50)


def test_a_subset_is_a_passage() -> None:
    task = random_task(1000, length=10, num_streams=1)
    first, again, other = (joined(task.batches("train", 8, num_examples=4, seed=seed)) for seed in (0, 0, 1))
    assert first.shape == (1, 40)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    text = "".join(task.class_names[word] for word in task._texts["train"])
    assert "".join(task.class_names[word] for word in first[0]) in text


def test_a_shortened_task_has_the_beginning_of_the_training_text_and_all_else() -> None:
    task = random_task(1000, length=10, num_streams=4)
    short = task.shortened(101)
    assert short.updates_per_epoch(1) == 10
    assert (short.length, short.num_streams, short.class_names) == (10, 4, task.class_names)
    np.testing.assert_array_equal(short._texts["train"], task._texts["train"][:101])
    for split in ("validation", "test"):
        np.testing.assert_array_equal(short._texts[split], task._texts[split])
    assert short.fingerprint != task.fingerprint == task.shortened(5000).fingerprint
    with pytest.raises(DataError, match="train has 0"):
        task.shortened(-1)


def test_a_uniform_model_has_the_size_of_the_vocabulary_as_perplexity() -> None:
    task = random_task(vocabulary=7)
    outputs, targets = torch.full((3, 5, 7), 0.3), torch.randint(0, 7, (3, 5))
    total, count = task.tally(outputs, targets)
    assert count == 15
    assert task.metric(torch.stack([total, count])) == pytest.approx(7, rel=1e-6)
    assert task.score(task.metric(torch.stack([total, count]))) == pytest.approx(1 / 7, rel=1e-6)
    assert float(task.loss(outputs, targets)) == pytest.approx(math.log(7), rel=1e-6)
    assert not task.higher_is_better


@pytest.mark.parametrize("total", [math.inf, math.nan, 1e9])
def test_a_diverged_model_has_infinite_perplexity_and_score_0(total: float) -> None:
    task = random_task()
    assert task.metric(torch.tensor([total, 10.0])) == math.inf
    assert task.score(task.metric(torch.tensor([total, 10.0]))) == 0


def test_the_loss_gives_the_right_word() -> None:
    task = cycle_task(length=4)
    batch = next(iter(task.batches("test", 8)))
    outputs = torch.nn.functional.one_hot((batch.inputs + 1) % 5, 5) * 50.0
    assert task.metric(task.tally(outputs, batch.targets)) == pytest.approx(1)


def test_fingerprints_tell_texts_apart() -> None:
    prints = {
        task.fingerprint for task in (random_task(), random_task(601), cycle_task(), random_task(length=9))
    }
    assert len(prints) == 4
    assert random_task().fingerprint == random_task().fingerprint


def test_wrong_sizes() -> None:
    with pytest.raises(DataError, match="length >= 1"):
        random_task(length=0)
    with pytest.raises(DataError, match="test has 1"):
        TextTask("x", {"train": np.arange(3), "test": np.arange(1)}, ("a", "b", "c"))
    with pytest.raises(DataError, match="batch_size >= 1"):
        next(iter(random_task().batches("test", 0)))
    with pytest.raises(DataError, match="num_examples >= 1"):
        next(iter(random_task().batches("test", 1, num_examples=0)))
    with pytest.raises(DataError, match="split must be one of"):
        random_task().num_examples("dev")  # type: ignore[arg-type]
