"""Tasks of torch datasets: splits, batches that depend on seed and update alone, losses, what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

import onepath as op
from onepath.data import DatasetTask, Metric
from onepath.errors import ConfigurationError, DataError, ShapeError
from onepath.train.checks import check_model
from onepath.tree import first_tensor

X = torch.arange(400.0).reshape(100, 4)
Y = X.sum(1)
CLASSES = torch.arange(100) % 3


class Parts(Dataset[Any]):
    """Two inputs by name, two targets."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Any:
        x = torch.full((2,), float(index))
        return {"left": x, "right": x + 1}, (x.sum(), torch.tensor(index % 2))


def regression(**options: Any) -> DatasetTask:
    task = op.Task.from_datasets(TensorDataset(X, Y), loss="mse", **options)
    assert isinstance(task, DatasetTask)
    return task


def test_splits_are_distinct_and_said() -> None:
    task = regression()
    seen = [
        torch.cat([batch.targets for batch in task.batches(split, 7)])
        for split in ("train", "validation", "test")
    ]
    assert [len(part) for part in seen] == [64, 16, 20]
    assert sorted(torch.cat(seen).tolist()) == sorted(Y.tolist())
    assert ["test split" in task.notes[0], "validation split" in task.notes[1]] == [True, True]
    own = regression(validation=TensorDataset(X[:5], Y[:5]), test=TensorDataset(X[5:9], Y[5:9]))
    assert [own.num_examples(split) for split in ("train", "validation", "test")] == [100, 5, 4]
    assert own.notes == ()


def test_classes_keep_their_shares() -> None:
    task = op.Task.from_datasets(TensorDataset(X, CLASSES))
    assert (task.num_classes, task.metric_name) == (3, "accuracy")
    for split in ("train", "validation", "test"):
        labels = torch.cat([batch.targets for batch in task.batches(split, 64)])  # type: ignore[arg-type]
        shares = torch.bincount(labels) / len(labels)
        assert shares.min() > 0.25
        assert shares.max() < 0.42


def test_a_batch_depends_on_the_seed_and_the_update_alone() -> None:
    task = regression()
    whole = list(task.train_batches(10, seed=3, num_updates=14))
    later = list(task.train_batches(10, seed=3, first_update=9, num_updates=5))
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(whole[9:], later, strict=True))
    other = next(iter(task.train_batches(10, seed=4, num_updates=1)))
    assert not torch.equal(whole[0].inputs, other.inputs)
    epoch = torch.cat([batch.targets for batch in whole[:6]])
    assert len(set(epoch.tolist())) == 60  # every example once
    whole[0].inputs.zero_()
    assert not torch.equal(next(iter(task.train_batches(10, seed=3, num_updates=1))).inputs, whole[0].inputs)


def test_a_subset_is_fixed_by_its_seed() -> None:
    task = regression()
    first, again, other = (
        torch.cat([batch.targets for batch in task.batches("train", 4, num_examples=9, seed=seed)])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert len(first) == 9
    assert not torch.equal(first, other)


def test_lower_metrics_are_scored_by_their_negative() -> None:
    task = regression()
    assert (task.metric_name, task.higher_is_better, task.score(2.0)) == ("rmse", False, -2.0)
    assert task.recipe_settings == {"label_smoothing": 0.0}
    assert float(task.loss(torch.zeros(2, 1), torch.tensor([1.0, 3.0]))) == 5.0
    assert task.metric(task.tally(torch.zeros(2, 1), torch.tensor([1.0, 3.0]))) == pytest.approx(5**0.5)


def test_trees_of_inputs_and_targets() -> None:
    def loss(outputs: torch.Tensor, targets: Any) -> torch.Tensor:
        return (outputs[:, 0] - targets[0]).abs().mean()

    metric = Metric(
        "error",
        False,
        lambda outputs, targets: torch.stack(
            [(outputs[:, 0] - targets[0]).abs().sum(), torch.tensor(float(len(outputs)))]
        ),
        lambda tally: float(tally[0] / tally[1]),
    )
    task = op.Task.from_datasets(Parts(), loss=loss, metric=metric, num_outputs=1)
    batch = next(iter(task.batches("train", 3)))
    assert set(batch.inputs) == {"left", "right"}
    assert len(batch.targets) == 2
    assert task.input_shape == ((2,), (2,))

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(2, 1)

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return self.linear(left) + self.linear(right)

    model = Net()
    recipe = op.Recipe(epochs=30, batch_size=8, learning_rate=1e-3, label_smoothing=0.0, momentum=0.0)
    before = op.train.evaluate(model, task, "validation").metric
    op.train_model(model, task, recipe=recipe, seed=0)
    assert op.train.evaluate(model, task, "validation").metric < before


def test_the_fingerprint_is_of_the_content_and_of_the_split() -> None:
    first = regression().fingerprint
    assert regression().fingerprint == first
    assert regression(seed=1).fingerprint != first
    changed = op.Task.from_datasets(TensorDataset(X + 1, Y), loss="mse")
    assert changed.fingerprint != first


@pytest.mark.parametrize(
    ("train", "options", "error", "message"),
    [
        ([], {}, DataError, "must have a length and give items by index, but got an empty one"),
        (iter(()), {}, DataError, "give items by index, but got tuple_iterator"),
        ([1, 2, 3], {}, DataError, "must give pairs of inputs and targets"),
        (TensorDataset(X, Y), {"loss": "l2"}, ConfigurationError, "a loss must be one of cross-entropy, mse"),
        (TensorDataset(X, Y), {"loss": torch.dist}, ConfigurationError, "a loss of your own needs a metric"),
        (TensorDataset(X, Y), {"metric": "acc"}, ConfigurationError, "a metric must be one of"),
        (TensorDataset(X[:1], Y[:1]), {"loss": "mse"}, DataError, "needs at least 2 training examples"),
    ],
)
def test_what_is_refused_is_one_line(train: Any, options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        op.Task.from_datasets(train, **options)
    assert "\n" not in str(caught.value)


def test_a_network_that_the_loss_does_not_take_is_found_before_the_training() -> None:
    task = op.Task.from_datasets(TensorDataset(X, CLASSES))
    with pytest.raises(ShapeError, match="loss and metric must take what the network returns"):
        check_model(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Unflatten(1, (3, 1))), task)
    check_model(torch.nn.Linear(4, 3), task)


def test_load_data_takes_datasets_loaders_and_pairs() -> None:
    single = op.load_data(TensorDataset(X, Y))
    assert (single.metric_name, single.num_classes) == ("rmse", 1)
    assert "a guess by the type of the targets" in single.notes[0]
    pair = op.load_data((TensorDataset(X, CLASSES), TensorDataset(X[:10], CLASSES[:10])))
    assert (pair.metric_name, pair.num_examples("test")) == ("accuracy", 10)
    loader = op.load_data(DataLoader(TensorDataset(X, CLASSES), batch_size=5))
    assert "its dataset alone is used" in loader.notes[0]
    arrays = op.load_data((X.numpy(), Y.numpy()), kind="regression")
    assert arrays.metric_name == "rmse"
    flags = np.stack([CLASSES == 0, CLASSES == 1], axis=1)
    several = op.load_data((X.numpy(), flags), kind="multi-label")
    assert (several.metric_name, several.num_classes) == ("multilabel-f1", 2)
    assert op.load_data(single) is single
    assert first_tensor(next(iter(several.batches("test", 2))).targets).shape == (2, 2)
    with pytest.raises(DataError, match="kind of a dataset must be one of"):
        op.load_data(TensorDataset(X, Y), kind="images")


class Drawing(Dataset[Any]):
    """Examples that are noisy, by one of the generators that datasets draw from."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.draw, self.num_reads = draw, 0

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        self.num_reads += 1
        return torch.full((2,), index + self.draw()), float(index)


@pytest.mark.parametrize(
    "draw", [random.random, np.random.rand, lambda: torch.rand(()).item()], ids=["python", "numpy", "torch"]
)
def test_a_dataset_that_draws_draws_anew_at_every_visit_and_from_the_seed_alone(
    draw: Callable[[], float],
) -> None:
    made = [op.Task.from_datasets(Drawing(draw), loss="mse") for _ in range(2)]
    torch.manual_seed(1)
    runs = [
        list(task.train_batches(25, seed=seed, num_updates=2))
        for task, seed in zip(made, (0, 0), strict=True)
    ]
    torch.rand(1)
    resumed = list(made[0].train_batches(25, seed=0, first_update=1, num_updates=1))
    other = list(made[0].train_batches(25, seed=1, num_updates=1))
    noise = [(batch.inputs[:, 0] - batch.targets)[batch.targets.argsort()] for batch in runs[0]]
    assert len(noise[0]) == 25, "the whole split, so that both updates see the same items"
    assert not torch.allclose(noise[0], noise[1])
    assert all(torch.equal(one.inputs, two.inputs) for one, two in zip(*runs, strict=True))
    assert torch.equal(resumed[0].inputs, runs[0][1].inputs)
    assert not torch.equal(other[0].inputs.sort(0).values, runs[0][0].inputs.sort(0).values)
    validation = [torch.cat([b.inputs for b in task.batches("validation", 4)]) for task in (*made, made[0])]
    assert torch.equal(validation[0], validation[1])
    assert torch.equal(validation[0], validation[2])
    assert made[0].fingerprint == made[1].fingerprint
    assert any("draw random numbers" in note for note in made[0].notes)


def test_reading_leaves_the_global_generators_alone() -> None:
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    task = op.Task.from_datasets(Drawing(random.random), loss="mse")
    next(iter(task.train_batches(4, seed=0, num_updates=1)))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == str(np.random.get_state())  # noqa: NPY002


def test_a_dataset_that_draws_nothing_is_read_once() -> None:
    data = Drawing(lambda: 0.0)
    task = op.Task.from_datasets(data, loss="mse")
    before = data.num_reads
    list(task.train_batches(8, seed=0, num_updates=20))
    assert data.num_reads == before
    assert not any("draw" in note for note in task.notes if "random numbers" in note)
