from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.estimate import SupernetEstimator, recalibrate_batchnorm
from onepath.estimate import supernet as estimator_file
from onepath.nn import ChoiceBlock, Supernet


def by_hand(supernet: Supernet, task: Task, text: str, *, recalibrate: bool = True) -> tuple[float, float]:
    """Accuracy and loss of an architecture, computed in the plainest way."""
    model = supernet.extract(supernet.space.parse(text))
    if recalibrate:
        recalibrate_batchnorm(model, (batch.inputs for batch in task.batches("train", 640)))
    model.eval()
    batch = next(task.batches("validation", 1000))
    with torch.no_grad():
        outputs = model(batch.inputs)
    accuracy = (outputs.argmax(1) == batch.targets).float().mean().item()
    return accuracy, nn.functional.cross_entropy(outputs, batch.targets).item()


@pytest.mark.parametrize("recalibrate", [True, False])
def test_scores_the_extracted_network(supernet: Supernet, task: Task, recalibrate: bool) -> None:
    estimator = SupernetEstimator(supernet, task, batch_size=640, recalibrate=recalibrate)
    for text in ("0,0", "1,2"):
        estimate = estimator.estimate(supernet.space.parse(text))
        accuracy, loss = by_hand(supernet, task, text, recalibrate=recalibrate)
        assert estimate.accuracy == pytest.approx(accuracy, abs=1e-6)
        assert estimate.loss == pytest.approx(loss, rel=1e-4)
        assert estimate.num_validation == 160
        assert estimate.seconds > 0


def test_recalibration_repairs_wrong_statistics(supernet: Supernet, task: Task) -> None:
    architecture = supernet.space.parse("1,1")
    right, wrong = (
        SupernetEstimator(supernet, task, recalibrate=recalibrate).estimate(architecture)
        for recalibrate in (True, False)
    )
    assert abs(right.loss - wrong.loss) > 1e-3


def test_the_supernet_is_untouched(supernet: Supernet, task: Task) -> None:
    before = copy.deepcopy(supernet.state_dict())
    supernet.module[0].eval()
    modes = [m.training for m in supernet.modules()]
    estimator = SupernetEstimator(supernet, task)
    for architecture in supernet.space.enumerate():
        estimator.estimate(architecture)
    for name, value in supernet.state_dict().items():
        assert torch.equal(value, before[name]), name
        assert value.is_contiguous()
    assert [m.training for m in supernet.modules()] == modes


def test_an_architecture_is_evaluated_once(
    supernet: Supernet, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_extracted = 0
    extract = supernet.extract

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal num_extracted
        num_extracted += 1
        return extract(*arguments, **options)

    monkeypatch.setattr(supernet, "extract", counted)
    estimator = SupernetEstimator(supernet, task)
    first = estimator.estimate(supernet.space.parse("1,0"))
    assert estimator.estimate(supernet.space.parse("1,0")) is first
    assert num_extracted == 1
    estimator.clear()
    again = estimator.estimate(supernet.space.parse("1,0"))
    assert (again.accuracy, again.loss) == (first.accuracy, first.loss)
    assert num_extracted == 2


def test_data_are_prepared_once(supernet: Supernet, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    batches = task.batches

    def counted(split: Any, *arguments: Any, **options: Any) -> Any:
        asked.append((split, options["num_examples"]))
        return batches(split, *arguments, **options)

    monkeypatch.setattr(task, "batches", counted)
    estimator = SupernetEstimator(
        supernet, task, calibration_images=300, validation_images=50, batch_size=100
    )
    for text in ("0,0", "1,1", "2,2"):
        assert estimator.estimate(supernet.space.parse(text)).num_validation == 50
    assert asked == [("train", 300), ("validation", 50)]
    monkeypatch.setattr(estimator_file, "_MOST_KEPT_BYTES", 0)
    estimator = SupernetEstimator(supernet, task, calibration_images=300, batch_size=100)
    for text in ("0,0", "1,1"):
        estimator.estimate(supernet.space.parse(text))
    assert len(asked) == 6


def test_folding_changes_no_estimate(supernet: Supernet, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = supernet.space.parse("1,2")
    plain = SupernetEstimator(supernet, task).estimate(architecture)
    folds: list[int] = []
    fold = estimator_file.fold_batchnorm
    monkeypatch.setattr(estimator_file, "_LEAST_FOLDED", 1)
    monkeypatch.setattr(estimator_file, "fold_batchnorm", lambda *arguments: folds.append(fold(*arguments)))
    folded = SupernetEstimator(supernet, task).estimate(architecture)
    assert folds == [3]
    assert folded.accuracy == plain.accuracy
    assert folded.loss == pytest.approx(plain.loss, rel=1e-5)


def test_the_calibration_subset_follows_from_the_seed(supernet: Supernet, task: Task) -> None:
    architecture = supernet.space.parse("2,1")
    losses = [
        SupernetEstimator(supernet, task, calibration_images=100, seed=seed).estimate(architecture).loss
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_bfloat16_is_close(supernet: Supernet, task: Task) -> None:
    architecture = supernet.space.parse("1,1")
    exact = SupernetEstimator(supernet, task).estimate(architecture)
    half = SupernetEstimator(supernet, task, precision="bfloat16").estimate(architecture)
    assert half.loss == pytest.approx(exact.loss, rel=0.02)
    assert half.loss != exact.loss


def test_outputs_that_are_not_finite_rank_last(supernet: Supernet, task: Task) -> None:
    with torch.no_grad():
        supernet.module[6].weight.fill_(float("nan"))
    assert SupernetEstimator(supernet, task).estimate(supernet.space.parse("0,0")).loss == float("inf")


def test_a_last_batch_of_one_image_is_no_error(task: Task) -> None:
    candidates = [nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten()) for _ in range(2)]
    supernet = Supernet(nn.Sequential(ChoiceBlock(candidates)))
    estimator = SupernetEstimator(supernet, task, calibration_images=101, batch_size=50)
    assert estimator.estimate(supernet.space.parse("0")).num_validation == 160


def test_wrong_sizes_are_named(supernet: Supernet, task: Task) -> None:
    with pytest.raises(ConfigurationError, match="got 0 and 500"):
        SupernetEstimator(supernet, task, calibration_images=0)
