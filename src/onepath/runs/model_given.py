"""Compare a converted model with the network that was made from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from onepath.conversion.cuts import cuts
from onepath.cost import COSTS
from onepath.nn.alignment import widest_path
from onepath.tree import call

if TYPE_CHECKING:
    from onepath.data import Task
    from onepath.data.task import Split
    from onepath.latency import Device
    from onepath.nn import Supernet
    from onepath.runs.opened import Run

_BATCH = 256


def model_record(run: Run, winner: nn.Module, device: Device) -> dict[str, Any]:
    """Return the costs and scores of the converted model and how often the winner agrees with it, for the record.

    Args:
        run: a run over a space that a model was converted to; the model's weights are in the run directory.
        winner: the network that is exported.
        device: device on which both networks are timed side by side.
    """
    from onepath import latency
    from onepath.train import evaluate

    supernet = run.build_supernet()
    model = supernet.extract(widest_path(supernet)).eval()
    task, config = run.task, run.config
    splits: tuple[Split, ...] = ("validation", "test")
    scores: dict[str, float] = {
        split: task.score(
            evaluate(model, task, split, device=config.train_on, precision=config.precision).metric
        )
        for split in splits
    }
    own, found = latency.measure(device, [model, winner], run.input_shape)
    return {
        "name": Path(config.space).name,
        "costs": {name: cost.count(model, run.input_shape).total for name, cost in COSTS.items()},
        "winner_costs": {name: cost.count(winner, run.input_shape).total for name, cost in COSTS.items()},
        "layers": [cut._asdict() for cut in cuts(_inside(supernet, model), _inside(supernet, winner))],
        **scores,
        "latency_ms": own.median_ms,
        "winner_latency_ms": found.median_ms,
        "latency_device": device.name,
        "is_noisy": own.is_noisy or found.is_noisy,
        "agreement": agreement(model.cpu(), winner, task),
    }


@torch.no_grad()
def agreement(model: nn.Module, other: nn.Module, task: Task) -> float | None:
    """Return the share of the test examples that two networks put into the same class; None if they do not classify."""
    same = num = 0
    for batch in task.batches("test", _BATCH):
        first, second = call(model, batch.inputs), call(other, batch.inputs)
        if not isinstance(first, Tensor) or first.dim() != 2 or batch.targets.is_floating_point():
            return None
        same += int((first.argmax(1) == second.argmax(1)).sum())
        num += len(first)
    return same / num if num else None


def _inside(supernet: Supernet, network: nn.Module) -> nn.Module:
    """Return the part of an extracted network that has the module paths of the model that was converted."""
    prefix = "" if supernet.conversion is None else supernet.conversion.sorting.prefix
    return network.get_submodule(prefix.removesuffix("."))
