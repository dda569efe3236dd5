"""The copy of a network that a morphism changes, and the layer that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from onepath.conversion.running import copied, run
from onepath.errors import ConfigurationError, shown
from onepath.nn.copying import whole_copy
from onepath.nn.finite import check_finite
from onepath.nn.selection import has_choices
from onepath.space.choice import nearest

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)


class Draft:
    """A copy of a network, in evaluation mode, and the layer of it that a morphism is about.

    The copy computes in double precision if it can, so that a small change of what it computes is told from rounding.

    Args:
        model: the network; not changed.
        layer: path of a linear layer or a convolution in it.
        example_inputs: what the network is called with: a tuple holds its arguments, anything else is the only one.

    Raises:
        ConfigurationError: `model` is no plain network with finite weights, or `layer` names no layer of it that has a
            weight of its own and is not a grouped convolution.

    Attributes:
        model: the copy.
        inputs: the positional arguments of a call, copied.
        path: path of the layer; if the network holds it under several paths, the first of them.
        layer: the layer, in the copy.
    """

    def __init__(self, model: nn.Module, layer: str, example_inputs: Any) -> None:
        _check(model)
        self.inputs = copied(example_inputs if isinstance(example_inputs, tuple) else (example_inputs,))
        self.model = copy_of(model)
        self._modes = {module: module.training for module in self.model.modules()}
        self._types = {
            (module, name): tensor.dtype
            for module in self.model.modules()
            for name, tensor in (*module._parameters.items(), *module._buffers.items())
            if tensor is not None and tensor.is_floating_point()
        }
        self.model.eval()
        self._make_precise()
        self.path, self.layer = _found(self.model, layer)
        if isinstance(self.layer, (*CONVOLUTIONS, *TRANSPOSED)):
            check_groups(self.path, self.layer)

    def finished(self) -> nn.Module:
        """Return the changed copy, its modules in the modes and with the types of their originals."""
        for module, mode in self._modes.items():
            module.training = mode
        self._restore_types()
        return self.model

    def accept(self, module: nn.Module, like: nn.Module) -> None:
        """Note that a new module, with all modules in it, gets the mode of an old one and the type of the layer."""
        own = self._types[self.layer, "weight"]
        for found in module.modules():
            self._modes.setdefault(found, self._modes[like])
            for name, tensor in (*found._parameters.items(), *found._buffers.items()):
                if tensor is not None and tensor.is_floating_point():
                    self._types.setdefault((found, name), own)

    def _make_precise(self) -> None:
        """Convert the copy and its inputs to double precision, unless the network's code needs another type."""

        def double(value: Any) -> Any:
            return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

        inputs: tuple[Any, ...] = tree_map(double, self.inputs)
        try:
            self.model.double()
            run(self.model, inputs)
        except Exception:  # noqa: BLE001 - the network may run without it, and is checked more coarsely then
            self._restore_types()
        else:
            self.inputs = inputs

    def _restore_types(self) -> None:
        for (module, name), dtype in self._types.items():
            tensors = module._parameters if name in module._parameters else module._buffers
            tensor = tensors[name]
            assert tensor is not None
            tensor.data = tensor.data.to(dtype)


def copy_of(model: nn.Module) -> nn.Module:
    """Return a copy of a network that shares nothing with it."""
    return whole_copy(model, lambda tensor: tensor.detach().clone(), apart=True)


@contextmanager
def hooked(module: nn.Module, hook: Any) -> Iterator[None]:
    """Context in which a module calls a forward hook."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def check_groups(path: str, layer: nn.Module) -> None:
    """Raise if a convolution has groups of several channels; a depthwise one has a group for each input channel.

    Raises:
        ConfigurationError: it has.
    """
    groups, num = getattr(layer, "groups", 1), getattr(layer, "in_channels", 1)
    if groups not in (1, num):
        raise ConfigurationError(
            f"a grouped convolution must be depthwise to be widened or deepened, but {shown(path)} has {groups} groups "
            f"of {num} channels; choose a layer whose channels do not reach it"
        )


def _check(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"model must be an nn.Module, but got {shown(model)}; build it, and give the module itself"
        )
    if any(has_choices(module) for module in model.modules()):
        raise ConfigurationError(
            f"a network must be free of choices to be changed, but {type(model).__name__} has some; extract one of its "
            "networks first"
        )
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise ConfigurationError(
            f"a network must be made of Python modules to be changed, but {type(model).__name__} has a script module; "
            "give the module that it was made of"
        )
    check_finite(model)


def _found(model: nn.Module, layer: object) -> tuple[str, nn.Module]:
    """Return the first path of the layer that `layer` names, and the layer."""
    every = dict(model.named_modules(remove_duplicate=False))
    known = [path for path, module in model.named_modules() if isinstance(module, LAYERS)]
    if not known:
        raise ConfigurationError(
            f"a network must have a linear layer or a convolution to be changed, but {type(model).__name__} has none; "
            "give another one"
        )
    if not isinstance(layer, str) or layer not in every:
        raise ConfigurationError(
            f"layer must be the path of a module of the network, but got {shown(layer)}; {nearest(layer, known)}"
        )
    module = every[layer]
    if not isinstance(module, LAYERS):
        raise ConfigurationError(
            f"layer must name a linear layer or a convolution, but {shown(layer)} is a {type(module).__name__}; "
            f"{nearest(layer, known)}"
        )
    if not isinstance(module._parameters.get("weight"), Tensor):
        raise ConfigurationError(
            f"a layer must hold its own weight to be changed, but that of {shown(layer)} is computed from others; "
            "remove the parametrization first"
        )
    return next(path for path, other in model.named_modules() if other is module), module
