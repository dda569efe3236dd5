"""Making the stand-alone network of the active options."""

from __future__ import annotations

import copy

import torch
from torch import nn

from onepath.errors import BindingError
from onepath.nn.selection import has_choices


def extract_module(
    module: nn.Module, *, inherit: bool, origins: dict[nn.Module, str] | None = None, path: str = ""
) -> nn.Module:
    """Copy a module tree, with every elastic layer and choice block replaced by the plain module it stands
    for.

    Args:
        module: part of a supernet with an active architecture; not changed.
        inherit: copy statistics and affine parameters of normalisation; otherwise make those of the network
            that is trained from scratch. Other weights are copied either way.
        origins: filled with extracted module -> path of the module it came from.
        path: the path of `module` in the supernet.
    """
    return _extract(module, inherit, {} if origins is None else origins, path, {})


def _extract(
    module: nn.Module, inherit: bool, origins: dict[nn.Module, str], path: str, done: dict[int, nn.Module]
) -> nn.Module:
    """`extract_module` with the modules already met, so that a module used twice stays one."""
    if id(module) in done:
        return done[id(module)]
    if has_choices(module):
        plain = module.extracted(inherit=inherit)
        if not any(plain is child for child in module.modules()):
            result = (
                plain
                if not plain._modules
                else _extract_children(module, plain, inherit, origins, path, done)
            )
        else:
            name = next(name for name, child in module.named_modules() if child is plain)
            result = _extract(plain, inherit, origins, f"{path}.{name}" if path else name, done)
            done[id(module)] = result
            return result
    else:
        result = _extract_children(module, _shallow_copy(module), inherit, origins, path, done)
    done[id(module)] = result
    origins[result] = path
    return result


def _extract_children(
    module: nn.Module,
    clone: nn.Module,
    inherit: bool,
    origins: dict[nn.Module, str],
    path: str,
    done: dict[int, nn.Module],
) -> nn.Module:
    """Replace the children of `clone`, which are those of `module`'s tree, by their extracted forms."""
    for name, child in list(clone._modules.items()):
        if child is not None:
            own_name = name
            if module._modules.get(name) is not child:
                found = [path for path, other in module.named_modules() if other is child]
                if not found:
                    # Made by `extracted`, and plain already.
                    origins.update(dict.fromkeys(child.modules(), path))
                    continue
                own_name = found[0]
            child_path = f"{path}.{own_name}" if path else own_name
            clone._modules[name] = _extract(child, inherit, origins, child_path, done)
    return clone


def _shallow_copy(module: nn.Module) -> nn.Module:
    """The same module with copies of its own parameters and buffers and the same children."""
    clone = module.__class__.__new__(module.__class__)
    clone.__dict__ = {
        name: copy.copy(value) if isinstance(value, dict) else value
        for name, value in module.__dict__.items()
    }
    clone.__dict__["_compiled_call_impl"] = None
    with torch.no_grad():
        for name, parameter in clone._parameters.items():
            if parameter is not None:
                copied = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
                clone._parameters[name] = copied
        for name, buffer in clone._buffers.items():
            if buffer is not None:
                clone._buffers[name] = buffer.detach().clone()
    return clone


def unfilled_copy(module: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a tree of plain modules whose parameters and buffers are allocated on a device and not filled.

    Many times faster than building the modules, which draws weights, or than a deep copy.
    """
    clone = module.__class__.__new__(module.__class__)
    clone.__dict__ = {
        name: value.copy() if isinstance(value, dict) else value for name, value in module.__dict__.items()
    }
    for name, parameter in clone._parameters.items():
        if parameter is not None:
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
            clone._parameters[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    for name, buffer in clone._buffers.items():
        if buffer is not None:
            clone._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
    for name, child in clone._modules.items():
        if child is not None:
            clone._modules[name] = unfilled_copy(child, device)
    return clone


def reset_weights(module: nn.Module, seed: int) -> None:
    """Draw fresh weights in place: each module's own initialisation, children before their parents.

    A parent's `reset_parameters` therefore has the last word, which is where a space puts its paper's
    initialisation. The result depends on `seed` alone; torch's global generator is left as it was.

    Raises:
        BindingError: a module owns parameters and has no `reset_parameters`; names its path.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for path, child in reversed(list(module.named_modules())):
            reset = getattr(child, "reset_parameters", None) or getattr(child, "_reset_parameters", None)
            if reset is not None:
                reset()
            elif child._parameters:
                raise BindingError(
                    f"{path}: a module that owns parameters must have a method reset_parameters to be trained from "
                    f"scratch, but {type(child).__name__} has none. Add one that initialises its parameters."
                )
