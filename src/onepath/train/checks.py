"""Checks before a training for mistakes that would otherwise end it, or a later step, only after a long time."""

from __future__ import annotations

import contextlib
import inspect
import random
import warnings
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from onepath.errors import BindingError, ShapeError, UserError
from onepath.nn.binding import conditions_by_path
from onepath.nn.carried import carried_states
from onepath.nn.copying import whole_copy
from onepath.nn.failures import described, explained
from onepath.nn.finite import check_finite
from onepath.nn.fresh import needs_a_look
from onepath.nn.inputs import blank_inputs
from onepath.nn.shapes import dry_passes
from onepath.nn.supernet import Supernet
from onepath.tree import call, float_outputs, map_tensors, num_examples

if TYPE_CHECKING:
    from onepath.data import Task

_checked: weakref.WeakKeyDictionary[Supernet, set[tuple[Any, ...]]] = weakref.WeakKeyDictionary()


def check_supernet(supernet: Supernet, task: Task, *, adds: bool = False, batch: int = 2) -> None:
    """Raise unless every candidate of a supernet runs and the network's outputs fit the task.

    The passes run on a copy and on one or two training examples. Weights, statistics, modes and random states stay
    unchanged. (Torch's meta device, which computes no values, takes several times as long to dispatch.) A supernet that
    has passed is not run again.

    Args:
        supernet: the supernet to check; not changed.
        task: gives example inputs, and the number of outputs that a network must return.
        adds: whether the method adds the outputs of candidates, as differentiable methods and path dropout do. Other
            methods run one path, and candidates may then differ in shape if the following modules accept each of them.
        batch: number of examples per pass; 1 if the training has batches of one example.

    Raises:
        BindingError: the network takes other than one input.
        ConfigurationError: its shared weights are not finite.
        ShapeError: a candidate or a module does not accept its input, candidates that are added differ in shape, or
            the network's outputs do not fit the task. The message names module, candidate and shapes.
    """
    key = (tuple(task.input_shape), getattr(task, "num_classes", None), adds, batch)
    done = _checked.setdefault(supernet, set())
    if key in done or not isinstance(supernet, Supernet):  # another module that takes a path
        return
    if supernet.shares_weights:
        check_finite(supernet)
        _check_arguments(supernet.module, task)
        with _without_trace(supernet):
            inputs = _examples(supernet, task, batch)
            copied = supernet.copied()
            copied.hold_weights()
            for output in dry_passes(copied, inputs, adds=adds):
                _check_output(output, task, inputs)
    else:
        architecture = supernet.space.architecture([0] * supernet.space.num_choices)
        check_model(supernet.extract(architecture, inherit=False, seed=None), task, batch=batch)
    done.add(key)


def check_model(model: nn.Module, task: Task, *, batch: int = 2) -> None:
    """Raise unless a plain network runs and its outputs fit the task; see `check_supernet`.

    Args:
        model: the network to check; not changed.
        task: gives example inputs, and the number of outputs that a network must return.
        batch: number of examples of the pass.

    Raises:
        BindingError: the network takes other than one input.
        ShapeError: a module does not accept its input, or the network's outputs do not fit the task.
    """
    _check_arguments(model, task)
    with _without_trace(model):
        copy = whole_copy(model, lambda tensor: tensor.detach().clone(), apart=True).train()
        inputs = _examples(model, task, batch)
        for state in carried_states(copy):
            state.forget()
        try:
            output = call(copy, inputs)
        except UserError:
            raise
        except Exception as error:
            raise explained(error, copy) from error
        _check_output(output, task, inputs)


def warn_unless_fresh(supernet: Supernet) -> None:
    """Warn if the network that a search finds could not be trained from scratch; see `check_fresh`."""
    try:
        check_fresh(supernet)
    except BindingError as error:
        warnings.warn(f"what is found cannot be trained from scratch: {error}", stacklevel=3)


def check_fresh(supernet: Supernet) -> None:
    """Raise unless every module of the user's own can be given fresh weights.

    Stand-alone networks with fresh weights are extracted until each of these modules was in one of them.

    Raises:
        BindingError: a module cannot initialise its own parameters; the message names its path.
    """
    left = {path for path, module in supernet.module.named_modules() if needs_a_look(module)}
    conditions = conditions_by_path(supernet.module)
    while left:
        options: dict[str, Any] = {}
        reached = set()
        for path in sorted(left):
            wanted: dict[str, frozenset[Any]] = {}
            for choice, allowed in conditions.get(path, ()):
                wanted[choice.name] = wanted.get(choice.name, allowed) & allowed
            if all(options.get(name, next(iter(some), None)) in some for name, some in wanted.items()):
                options |= {name: options.get(name, next(iter(some))) for name, some in wanted.items()}
                reached.add(path)
        indices = [
            choice.index(options[choice.name]) if choice.name in options else 0
            for choice in supernet.space.choices
        ]
        supernet.extract(supernet.space.architecture(indices), inherit=False)
        left -= reached or left


def _check_arguments(module: nn.Module, task: Task) -> None:
    """Raise BindingError unless `forward` takes one input; tasks with several inputs are not checked."""
    try:
        signature = inspect.signature(module.forward)
    except (TypeError, ValueError):  # the signature is unknown, for example of a compiled function
        return
    several = not all(isinstance(size, int) for size in task.input_shape)
    try:
        if not several:
            signature.bind(None)
    except TypeError:
        names = ", ".join(signature.parameters)
        raise BindingError(
            f"{type(module).__name__}.forward must take one input, since a task gives one, but takes ({names}); give "
            "further ones a default, or let one tensor hold them all"
        ) from None


def _check_output(output: Any, task: Task, inputs: Any) -> None:
    """Raise ShapeError unless the output fits the task.

    It must be one row of numbers per example, or per word; for a `DatasetTask`, its loss and metric must take it.
    """
    from onepath.data import DatasetTask, ImageTask, TextTask

    if isinstance(task, DatasetTask):
        _check_loss(output, task, inputs)
        return
    num = getattr(task, "num_classes", None)
    if not isinstance(output, Tensor):
        raise ShapeError(
            f"the network must return one tensor, but returns {described(output)}; let forward return the logits alone"
        )
    lead = tuple(inputs.shape) if isinstance(task, TextTask) else tuple(inputs.shape[:1])
    is_wrong = num is not None and (output.dim() == 0 or output.shape[-1] != num)
    if isinstance(task, (ImageTask, TextTask)):
        is_wrong |= tuple(output.shape[:-1]) != lead
    elif output.dim() > 0 and num is not None:
        is_wrong |= output.shape[0] != lead[0]
    if is_wrong:
        raise ShapeError(
            f"the network must return {num} numbers per {'word' if isinstance(task, TextTask) else 'example'}, one for "
            f"each class, that is shape {(*lead, num)} for an input of {described(inputs)}, but returns "
            f"{described(output)}; change its last layer to num_classes={num} and keep the batch first"
        )


def _check_loss(output: Any, task: Task, inputs: Any) -> None:
    """Raise ShapeError unless the task's loss and metric take the output; both are computed on training examples."""
    num = num_examples(inputs)
    targets = next(iter(task.batches("train", num))).targets
    try:
        outputs = map_tensors(lambda tensor: tensor.cpu(), float_outputs(output))
        loss = task.loss(outputs, targets)
        task.tally(outputs, targets)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ShapeError(
            f"loss and metric must take what the network returns, but for an input of {described(inputs)} it returns "
            f"{described(output)} against targets of {described(targets)}, and they raised: "
            f"{str(error).splitlines()[0]}; change its last layer, or the loss"
        ) from error
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        raise ShapeError(f"a loss must return one number, but returns {described(loss)}; take its mean")


def _examples(model: nn.Module, task: Task, batch: int) -> Any:
    """Return inputs of training examples on the network's device; zeros if the task has no `example_inputs`."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if hasattr(task, "example_inputs"):
        given = task.example_inputs("train", batch)
        return map_tensors(lambda tensor: tensor[:batch].to(device), given)
    return blank_inputs(model, task.input_shape, batch, device)


@contextlib.contextmanager
def _without_trace(model: nn.Module) -> Iterator[None]:
    """Restore the state of all random generators afterwards, and compute no gradients inside."""
    devices = sorted({p.device for p in model.parameters() if p.device.type == "cuda"}, key=str)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's own
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
