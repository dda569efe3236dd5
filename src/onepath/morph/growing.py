"""A larger network of a space takes over what a smaller one computes: wider layers and further blocks at once.

Source: Chen et al., "Net2Net", ICLR 2016 (arXiv 1511.05641); Cai et al., "Efficient Architecture Search by Network
Transformation", AAAI 2018 (arXiv 1707.04873).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onepath.conversion.running import run
from onepath.errors import ConfigurationError, shown
from onepath.morph.agreement import check_agreement, in_mode, trials_of
from onepath.morph.deepening import set_identity
from onepath.morph.draft import CONVOLUTIONS, LAYERS, copy_of, hooked
from onepath.morph.widening import widen


def grow(
    parent: nn.Module, child: nn.Module, example_inputs: Any, *, noise: float = 0.0, seed: int = 0
) -> nn.Module:
    """Return the child with weights by which it computes what the parent computes.

    Both are networks of one space, so that their modules have the same paths, and the child has layers with more
    outputs, larger kernels or further blocks. The parent is widened layer by layer (`widen`) until it has the child's
    outputs, and kernels get zeros around them.
    A further block that is a chain of layers becomes the identity, as in `deepen`; any other block is taken for
    residual, and its last layer or normalisation becomes zero.

    Args:
        parent: the smaller network, trained; not changed.
        child: the larger network; not changed.
        example_inputs: a batch of real examples, on whose statistics new normalisations are the identity in training
            mode: a tuple holds the arguments of the networks, anything else is the only one.
        noise: see `widen`.
        seed: seed of the copies and of the noise.

    Returns:
        A copy of the child, in the mode of the parent.

    Raises:
        ConfigurationError: the child is not a larger network of the same kind, or would not compute the same.
    """
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    grown, widened = copy_of(child), _widened(parent, child, example_inputs, noise, seed)
    own = grown.state_dict()
    known = {name: _centred(tensor, own.get(name, tensor)) for name, tensor in widened.state_dict().items()}
    new = sorted(set(own) - set(known))
    try:
        grown.load_state_dict({**own, **known})
    except RuntimeError as error:
        raise ConfigurationError(
            f"a child must be a larger network of its parent's space, but their tensors do not fit: "
            f"{shown(str(error).splitlines()[-1].strip(), 160)}; give both networks of one space"
        ) from error
    for path in _topmost(grown, set(new)):
        _make_identity(grown, path, inputs)
    if not noise:
        trials = [
            trial for trial in trials_of(widened, inputs) if not (trial.is_training and trial.is_varied)
        ]
        check_agreement(trials, grown, "growing")
    return grown.train(parent.training)


def _widened(parent: nn.Module, child: nn.Module, inputs: Any, noise: float, seed: int) -> nn.Module:
    """Return the parent with as many outputs in each of its layers as the child has there."""
    wanted = {path: module for path, module in child.named_modules() if isinstance(module, LAYERS)}
    widened = parent
    for path, _ in list(parent.named_modules()):
        layer = dict(widened.named_modules()).get(path)
        if not isinstance(layer, LAYERS) or path not in wanted:
            continue
        now, then = (_num_outputs(each) for each in (layer, wanted[path]))
        if then > now:
            widened = widen(widened, path, then, inputs, noise=noise, seed=seed)
    return widened


def _centred(tensor: Tensor, larger: Tensor) -> Tensor:
    """Return a kernel with zeros around it, of the size of a larger one; any other tensor as it is."""
    rises = [then - now for now, then in zip(tensor.shape, larger.shape, strict=False)]
    is_kernel = tensor.dim() == larger.dim() > 2 and not any(rises[:2])
    if not is_kernel or any(rise < 0 or rise % 2 for rise in rises):
        return tensor
    sides = [rise // 2 for rise in reversed(rises[2:]) for _ in range(2)]
    return nn.functional.pad(tensor, sides)


def _num_outputs(layer: nn.Module) -> int:
    num: int = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels  # type: ignore[assignment]
    return num


def _topmost(model: nn.Module, absent: set[str]) -> list[str]:
    """Return the paths of the largest modules all of whose tensors are absent from the parent, in their order."""
    found: list[str] = []
    for path, module in model.named_modules():
        names = {f"{path}.{name}" for name in module.state_dict()}
        if names and names <= absent and not any(path.startswith(f"{other}.") for other in found):
            found.append(path)
    return found


def _make_identity(model: nn.Module, path: str, inputs: tuple[Any, ...]) -> None:
    """Set the parameters of a block so that the block returns its input, in place."""
    block = model.get_submodule(path)
    parts = list(block.children()) if isinstance(block, nn.Sequential) else []
    layers = [part for part in parts if isinstance(part, LAYERS)]
    norms = [part for part in parts if isinstance(part, _BatchNorm)]
    if len(layers) == 1 and len(norms) <= 1:
        _set_unit(layers[0])
        for norm in norms:
            set_identity(norm, _input_of(model, path, inputs))
        return
    last = [
        part
        for part in block.modules()
        if isinstance(part, (*LAYERS, _BatchNorm)) and part._parameters["weight"] is not None
    ]
    if not last:
        raise ConfigurationError(
            f"a further block must be a chain of a layer and its normalisation, or residual, but {shown(path)} has "
            "no layer; take another space"
        )
    with torch.no_grad():
        for parameter in last[-1].parameters(recurse=False):
            parameter.zero_()


@torch.no_grad()
def _set_unit(layer: nn.Module) -> None:
    """Let a layer return its input, in place."""
    weight, bias = layer._parameters["weight"], layer._parameters.get("bias")
    assert weight is not None
    if isinstance(layer, CONVOLUTIONS):
        nn.init.dirac_(weight, layer.groups)
    else:
        nn.init.eye_(weight)
    if bias is not None:
        bias.zero_()


def _input_of(model: nn.Module, path: str, inputs: tuple[Any, ...]) -> Tensor:
    """Run a copy of a network in training mode, and return the input of a block."""
    found: list[Tensor] = []
    scratch = in_mode(copy_of(model), is_training=True)
    with hooked(scratch.get_submodule(path), lambda _, given, __: found.append(given[0].detach().clone())):
        run(scratch, inputs)
    return found[0]
