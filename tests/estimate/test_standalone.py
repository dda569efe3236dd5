from __future__ import annotations

import torch

from onepath.data import Task
from onepath.estimate import StandaloneEstimator
from onepath.nn import Supernet
from onepath.train import Recipe


def test_trains_from_scratch_once_and_leaves_the_supernet_alone(supernet: Supernet, task: Task) -> None:
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    recipe = Recipe(epochs=8, batch_size=64, learning_rate=0.1)
    architecture = supernet.space.parse("1,1")
    estimator = StandaloneEstimator(supernet, task, recipe=recipe)
    estimate = estimator.estimate(architecture)
    assert estimate.accuracy > 0.7
    assert estimate.num_validation == 160
    assert estimator.estimate(architecture) is estimate
    with torch.no_grad():
        for p in supernet.parameters():
            p.normal_()
    again = StandaloneEstimator(supernet, task, recipe=recipe).estimate(architecture)
    assert (again.accuracy, again.loss) == (estimate.accuracy, estimate.loss)
    for name, value in supernet.state_dict().items():
        if "running" in name:
            assert torch.equal(value, before[name])
