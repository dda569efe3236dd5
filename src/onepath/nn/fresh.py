"""Fresh weights for a network that is trained from scratch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from onepath.errors import BindingError, shown
from onepath.nn.selection import has_choices

Buffers = Mapping[str, Mapping[str, Tensor]]
"""Path of a module -> name of a buffer -> its value."""


class _Expected(NamedTuple):
    """A parameter that was filled with NaN and that a `reset_parameters` must initialise."""

    path: str
    module: nn.Module
    name: str
    parameter: nn.Parameter


def reset_weights(module: nn.Module, seed: int, origins: Mapping[nn.Module, str] | None = None) -> None:
    """Draw fresh weights in place by each module's own `reset_parameters`, children before their parents.

    So the `reset_parameters` of a parent is applied last, and a search space puts its paper's initialisation there. A
    weight under `weight_norm`, `spectral_norm`, pruning or any parametrisation is drawn as for the bare module, and the
    parametrisation then takes it over as when it was registered. The result depends on `seed` alone; torch's global
    generator is left as it was.

    Args:
        module: a network of plain layers; changed in place.
        seed: seed of all random draws.
        origins: module -> its path in the supernet, for messages; by default the path in the network.

    Raises:
        BindingError: a trained parameter is initialised neither by its module's `reset_parameters` nor by one of the
            modules around it, or a `reset_parameters` fails; the message names the path.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = [
            (path if origins is None else origins.get(m, path), m) for path, m in module.named_modules()
        ]
        expected = [found for path, child in modules for found in _marked(path, child)]
        for path, child in reversed(modules):
            if _reset_of(child) is None or isinstance(child, parametrize.ParametrizationList):
                continue
            try:
                _reset(child)
            except Exception as error:
                raise BindingError(
                    f"{path or 'root'}: reset_parameters must initialise a module that is trained from scratch, but "
                    f"that of {type(child).__name__} raised {type(error).__name__}: {shown(str(error), 200)}; fix it"
                ) from error
    for path, child, name, parameter in expected:
        if parameter.isnan().any():
            has = "leaves" if _reset_of(child) is not None else "has none, and none around it initialises"
            raise BindingError(
                f"{path or 'root'}: a module that owns parameters must have a method reset_parameters to be trained "
                f"from scratch, but {type(child).__name__} {has} {name!r}; add one that initialises its parameters"
            )


def first_buffers(module: nn.Module) -> Buffers:
    """Return copies of the buffers of all modules that are not torch's own, to be restored by `restore_buffers`.

    Call it right after the network is built. Modules with choices are left out.
    """
    return {
        path: {name: buffer.detach().clone() for name, buffer in child._buffers.items() if buffer is not None}
        for path, child in module.named_modules()
        if child._buffers and not _is_of_torch(child) and not has_choices(child)
    }


@torch.no_grad()
def restore_buffers(origins: Mapping[nn.Module, str], buffers: Buffers) -> None:
    """Restore the buffers that the modules of an extracted network had when the supernet was built; in place.

    Args:
        origins: extracted module -> its path in the supernet.
        buffers: result of `first_buffers` for the supernet; buffers of another shape are not restored.
    """
    for module, path in origins.items() if buffers else ():
        for name, first in buffers.get(path, {}).items():
            buffer = module._buffers.get(name)
            if buffer is not None and buffer.shape == first.shape:
                buffer.copy_(first)


def needs_a_look(module: nn.Module) -> bool:
    """Tell whether only a trial can show that fresh weights can be drawn for a module, as it is not torch's own."""
    has_own = isinstance(module, parametrize.ParametrizationList) or has_choices(module)
    return not has_own and not _is_reset_by_torch(module) and bool(module._parameters or _reset_of(module))


def _reset_of(module: nn.Module) -> Callable[[], Any] | None:
    found = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    return found if callable(found) else None


def _is_of_torch(module: nn.Module) -> bool:
    own = type(module).__bases__[0] if parametrize.is_parametrized(module) else type(module)
    return own.__module__.startswith("torch.nn.")


def _is_reset_by_torch(module: nn.Module) -> bool:
    """Tell whether a module is torch's own and initialises all its parameters."""
    return _is_of_torch(module) and _reset_of(module) is not None


@torch.no_grad()
def _marked(path: str, module: nn.Module) -> list[_Expected]:
    """Fill the trained parameters of a module that is not torch's own with NaN, and return them.

    Frozen parameters keep their values.
    """
    if _is_reset_by_torch(module) or isinstance(module, parametrize.ParametrizationList):
        return []
    found = []
    for name, parameter in module._parameters.items():
        if parameter is not None and parameter.requires_grad:
            parameter.fill_(torch.nan)
            found.append(_Expected(path, module, name, parameter))
    return found


def _reset(module: nn.Module) -> None:
    """Apply the module's own initialisation, also if its weights are computed from other parameters."""
    reset = _reset_of(module)
    assert reset is not None
    if parametrize.is_parametrized(module):
        _reset_parametrized(module)
    else:
        reset()
    for hook in module._forward_pre_hooks.values():
        _take_over(module, hook)


@torch.no_grad()
def _reset_parametrized(module: nn.Module) -> None:
    """Initialise the module without its parametrisations, and pass the weights to them as at their registration."""
    lists: Any = module.parametrizations
    parametrized = type(module)
    bare = {name: nn.Parameter(torch.empty_like(getattr(module, name))) for name in lists}
    module.__class__ = parametrized.__bases__[0]
    module._parameters.update(bare)
    try:
        reset = _reset_of(module)
        assert reset is not None
        reset()
    finally:
        for name in bare:
            del module._parameters[name]
        module.__class__ = parametrized
    for name, value in bare.items():
        fresh: Any = value.data
        for parametrization in reversed(lists[name]):
            if hasattr(parametrization, "right_inverse"):
                try:
                    fresh = parametrization.right_inverse(fresh)
                except NotImplementedError:  # as when it is registered
                    continue
        many = [("original", fresh)] if lists[name].is_tensor else enumerate(fresh)
        for key, tensor in many:
            getattr(lists[name], key if isinstance(key, str) else f"original{key}").copy_(tensor)
        for parametrization in lists[name]:
            if isinstance(parametrization, _SpectralNorm) and value.dim() > 1:
                for vector in (parametrization._u, parametrization._v):
                    _draw_direction(vector, parametrization.eps)
                parametrization._power_method(parametrization._reshape_weight_to_matrix(value.data), 15)


@torch.no_grad()
def _take_over(module: nn.Module, hook: object) -> None:
    """Write the fresh weight into the parameters from which a hook of `torch.nn.utils` computes the weight."""
    if isinstance(hook, WeightNorm):
        fresh = getattr(module, hook.name).detach()
        getattr(module, f"{hook.name}_v").copy_(fresh)
        getattr(module, f"{hook.name}_g").copy_(torch.norm_except_dim(fresh, 2, hook.dim))
    elif isinstance(hook, SpectralNorm):
        getattr(module, f"{hook.name}_orig").copy_(getattr(module, hook.name).detach())
        for vector in (getattr(module, f"{hook.name}_u"), getattr(module, f"{hook.name}_v")):
            _draw_direction(vector, hook.eps)
    elif isinstance(hook, BasePruningMethod):
        getattr(module, f"{hook._tensor_name}_orig").copy_(getattr(module, hook._tensor_name).detach())


def _draw_direction(vector: Tensor, eps: float) -> None:
    """Fill a vector with a random direction of length 1, in place."""
    vector.copy_(functional.normalize(torch.empty_like(vector).normal_(0, 1), dim=0, eps=eps))
