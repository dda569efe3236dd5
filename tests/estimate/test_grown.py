"""Networks that grow are trained on from what their parents compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import onepath as op
from onepath.estimate.grown import GrownEstimator
from onepath.record.kept_weights import FolderWeights, MemoryWeights
from onepath.search import Proposal

RECIPE = op.Recipe(1, 32, 0.1, clip_norm=2.0)


@pytest.fixture(scope="module")
def digits() -> op.Task:
    return op.load_data("digits").part(0.1)


def estimator(digits: op.Task, store: Any, **options: Any) -> GrownEstimator:
    supernet = op.spaces.build("eas", num_classes=10, input_size=8, in_channels=1)
    return GrownEstimator(supernet, digits, store, first=RECIPE, further=RECIPE, **options)


def test_a_child_begins_with_what_its_parent_computes(
    digits: op.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[torch.nn.Module] = []
    import onepath.estimate.grown as grown

    train = grown.train_model
    examples = digits.example_inputs("train", 256)

    def watched(model: torch.nn.Module, *arguments: Any, **options: Any) -> Any:
        with torch.no_grad():
            begun.append(model.train()(examples))
        return train(model, *arguments, **options)

    monkeypatch.setattr(grown, "train_model", watched)
    own = estimator(digits, MemoryWeights(), noise=0.0)
    space = own._supernet.space
    small, large = space.parse("0,0,0,0,0,0"), space.parse("1,1,0,1,0,0")
    own.estimate(Proposal(small, "given"))
    with torch.no_grad():
        parent = own.model(small).train()(examples)
    own.estimate(Proposal(large, "mutation", small))
    torch.testing.assert_close(begun[1], parent, atol=1e-3, rtol=1e-3)
    own.estimate(space.parse("0,2,0,0,0,0"))
    assert (begun[2] - parent).abs().max() > 0.05


def test_kept_weights_give_the_same_child_in_another_process(digits: op.Task, tmp_path: Path) -> None:
    first, second = FolderWeights(tmp_path / "kept"), FolderWeights(tmp_path / "kept")
    one = estimator(digits, first)
    space = one._supernet.space
    small, large = space.parse("0,0,0,0,0,0"), space.parse("1,0,0,0,1,0")
    one.estimate(Proposal(small, "given"))
    expected = one.estimate(Proposal(large, "mutation", small))
    (tmp_path / "kept" / second._path(str(large)).name).unlink()
    found = estimator(digits, second).estimate(Proposal(large, "mutation", small))
    assert (found.accuracy, found.loss) == (expected.accuracy, expected.loss)
    assert second.get("nothing") is None
    model = estimator(digits, second).model(large)
    assert model(digits.example_inputs("validation", 2)).shape == (2, 10)
