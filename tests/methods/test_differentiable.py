"""The differentiable methods from Python: they finish, within their limits, and say the same for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import onepath as op
from onepath.data import ImageTask
from onepath.errors import InfeasibleError
from onepath.methods import Derived, derive_within, feasible_set
from onepath.nn.relaxations import SoftmaxRelaxation, derive

LIMIT = 300_000


@pytest.fixture(scope="module")
def data() -> ImageTask:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (rng.integers(0, 60, (120, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    return op.load_data((images, labels), validation_fraction=0.3)


def supernet() -> op.Supernet:
    return op.spaces.build("nasbench201", 3, 8, in_channels=1, width=0.25, num_cells=1)


METHODS: dict[str, Any] = {
    "darts": lambda *a, **k: op.darts(*a, **k, order="second", batch_size=16),
    "gdas": lambda *a, **k: op.gdas(*a, **k, batch_size=16),
    "full": lambda *a, **k: op.proxyless(*a, **k, warmup_epochs=1, every=1, batch_size=16),
    "two-path": lambda *a, **k: op.proxyless(
        *a, **k, warmup_epochs=1, every=1, batch_size=16, gates="two-path", form="multiply-log"
    ),
    "reinforce": lambda *a, **k: op.proxyless(
        *a, **k, warmup_epochs=1, every=1, batch_size=16, gates="reinforce"
    ),
}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_finish_within_the_limit(name: str, data: ImageTask) -> None:
    def search() -> tuple[op.Supernet, Derived]:
        own = supernet()
        return own, METHODS[name](own, data, epochs=1, constraints=[op.MaxMacs(LIMIT)], seed=1)

    own, found = search()
    assert op.cost.macs(own, found.best, data.input_shape) <= LIMIT
    assert found.points
    again = search()[1]
    assert (again.best, again.points) == (found.best, found.points)


def test_several_limits_are_all_met(data: ImageTask) -> None:
    own = supernet()
    relaxation = SoftmaxRelaxation(own, deviation=1.0)
    limits = feasible_set(own, data.input_shape, [op.MaxMacs(LIMIT), op.MaxParams(7_000)]).limits
    found = derive_within(relaxation, limits)
    assert op.cost.macs(own, found, data.input_shape) <= LIMIT
    assert op.cost.params(own, found) <= 7_000
    low = feasible_set(own, data.input_shape, [op.MaxMacs(1000)]).limits
    with pytest.raises(InfeasibleError):
        derive_within(relaxation, low)


def test_a_cell_without_a_way_from_input_to_output_is_passed_over(data: ImageTask) -> None:
    own = supernet()
    relaxation = SoftmaxRelaxation(own, deviation=0.0)
    with torch.no_grad():
        for name, logits in zip(relaxation.names, relaxation.logits, strict=True):
            logits[0] = 3.0  # none
            logits[3] = {"0->3": 1.0, "2->3": 2.0}.get(name, 0.0)  # nor_conv_3x3
    found = derive(relaxation)
    # The way over node 2 is stronger at its end, but needs a second edge.
    assert own.space.format(found) == "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    low = feasible_set(own, data.input_shape, [op.MaxMacs(120_000)]).limits
    cheap = derive_within(relaxation, low)
    assert own.space.is_connected(cheap)
    assert op.cost.macs(own, cheap, data.input_shape) <= 120_000
    both = feasible_set(own, data.input_shape, [op.MaxMacs(LIMIT), op.MaxParams(7_000)]).limits
    assert own.space.is_connected(derive_within(relaxation, both))
