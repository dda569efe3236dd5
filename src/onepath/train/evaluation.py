"""Loss and metric of a network on one split."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from onepath.nn.carried import carrying
from onepath.train.memory import keep_freed_memory
from onepath.train.recipe import Precision
from onepath.tree import call, first_tensor, float_outputs, to_device

if TYPE_CHECKING:
    from onepath.data import Split, Task


class Evaluation(NamedTuple):
    """Metric and loss of a network on some examples.

    Attributes:
        metric: the task's metric; `Task.higher_is_better` says its direction. NaN without batches.
        loss: mean loss per target, lower is better.
        num: number of targets: one for each image, one for each word of a text.
    """

    metric: float
    loss: float
    num: int


@contextlib.contextmanager
def evaluation_mode(model: object) -> Iterator[None]:
    """Put every module of `model` in eval mode inside, and back in its former mode afterwards.

    A plain callable is left as it is.
    """
    training = [m for m in model.modules() if m.training] if isinstance(model, nn.Module) else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context that runs operations on `device` in bfloat16, or that does nothing for "float32"."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def score_batches(
    model: Callable[..., Any],
    task: Task,
    batches: Iterable[tuple[Any, Any]],
    *,
    device: torch.device,
    precision: Precision,
) -> Evaluation:
    """Evaluate `model`, in the mode that it is in, on the given batches; see `evaluate`.

    A network that carries a state carries it from batch to batch; afterwards its state is the one before the call.
    """
    tally: Tensor | None = None
    num = 0
    loss = torch.zeros((), dtype=torch.float64, device=device)
    with torch.inference_mode(), autocast(device, precision), carrying(model) as advance:
        for batch in batches:
            inputs, targets = to_device(batch[0], device), to_device(batch[1], device)
            outputs = float_outputs(call(model, inputs))
            num_targets = first_tensor(targets).numel()
            loss += task.loss(outputs, targets).double() * num_targets
            part = task.tally(outputs, targets)
            tally = part if tally is None else tally + part
            num += num_targets
            advance()
    metric = math.nan if tally is None else task.metric(tally)
    return Evaluation(metric, loss.item() / max(num, 1), num)


def evaluate(
    model: Callable[..., Any],
    task: Task,
    split: Split,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 256,
    num_examples: int | None = None,
    precision: Precision = "float32",
    seed: int = 0,
) -> Evaluation:
    """Evaluate `model` on one split, in eval mode and without gradients; the split is not augmented.

    Args:
        model: a module (moved to `device`; its modes are restored) or any function of the inputs, such as
            `lambda x: supernet(x, architecture)`. A network that carries a state from batch to batch must be given as
            a module; its state is restored afterwards.
        task: gives batches, loss and metric.
        split: "train", "validation" or "test".
        device: where to run.
        batch_size: examples per batch; changes speed and memory, but the result only by rounding.
        num_examples: size of a fixed random subset of the split, drawn from `seed`; None evaluates all examples.
        precision: "bfloat16" runs the forward pass under autocast.
        seed: seed of the random subset.

    Returns:
        The metric, the mean loss without label smoothing, and the number of targets.
    """
    device = torch.device(device)
    if device.type == "cpu":
        keep_freed_memory()
    if isinstance(model, nn.Module):
        model.to(device)
    batches = task.batches(split, batch_size, num_examples=num_examples, seed=seed)
    with evaluation_mode(model):
        return score_batches(model, task, batches, device=device, precision=precision)
