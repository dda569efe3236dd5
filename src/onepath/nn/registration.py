"""Check the modules of a supernet before their choices are bound."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from onepath.errors import BindingError
from onepath.nn.copying import held
from onepath.nn.elastic import ElasticLayer
from onepath.nn.selection import Selection, has_choices
from onepath.space import Choice, Size
from onepath.space.choice import Expression

_REGISTRIES = ("_parameters", "_buffers", "_modules")
_PLAIN = frozenset({type(None), bool, int, float, str, Choice, Expression, Tensor, nn.Parameter, Selection})
_DEEPEST = 8


def check_modules(root: nn.Module) -> None:
    """Raise if a module's choices would not be found, or if a layer's active weights cannot be determined.

    Raises:
        BindingError: a module with choices is only held by a plain list, tuple, dict or set; the weight of an elastic
            layer is computed from other tensors; or two elastic layers share a parameter but not their sizes. The
            message names the path.
    """
    modules = dict(root.named_modules())
    registered = {id(module) for module in modules.values()}
    owners: dict[int, tuple[str, nn.Module]] = {}
    for path, module in modules.items():
        _check_held(path, module, registered)
        if _is_computed(module) and has_choices(module):
            raise BindingError(
                f"{path or 'root'}: an elastic layer must hold its weight itself, but that of {type(module).__name__} "
                "is computed by a weight norm or another parametrisation; use the plain layer, or none of these"
            )
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            other_path, other = owners.setdefault(id(parameter), (path, module))
            if not _takes_equal_parts(module, other):
                raise BindingError(
                    f"{path or 'root'}: elastic layers that share a parameter must have the same sizes, but {name!r} "
                    f"is also held by {other_path or 'root'}, which has others; give both the same choices, or "
                    "parameters of their own"
                )


def _check_held(path: str, module: nn.Module, registered: set[int]) -> None:
    for name, value in module.__dict__.items():
        if name in _REGISTRIES or type(value) in _PLAIN:
            continue
        for found in _modules_in(value):
            if any(has_choices(part) and id(part) not in registered for part in found.modules()):
                raise BindingError(
                    f"{path or 'root'}: modules with choices must be submodules, but attribute {name!r} of "
                    f"{type(module).__name__} holds {type(found).__name__} in a plain {type(value).__name__}; use "
                    "nn.ModuleList or nn.ModuleDict"
                )


def _modules_in(value: object) -> Iterator[nn.Module]:
    """Iterate over the modules that an attribute leads to, but not over their submodules."""
    seen: set[int] = set()
    left = [(value, 0)]
    while left:
        item, depth = left.pop()
        if id(item) in seen or type(item) in _PLAIN:
            continue
        seen.add(id(item))
        if isinstance(item, nn.Module):
            yield item
        elif depth < _DEEPEST:
            left.extend((part, depth + 1) for part in held(item))


def _is_computed(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks.values()
    return parametrize.is_parametrized(module) or any(
        isinstance(hook, (WeightNorm, SpectralNorm, BasePruningMethod)) for hook in hooks
    )


def _takes_equal_parts(module: nn.Module, other: nn.Module) -> bool:
    """Tell whether two layers use the same part of a parameter that they share, under every architecture."""
    first, second = (
        m.own_sizes() if isinstance(m, ElasticLayer) and m.is_elastic else None for m in (module, other)
    )
    return _is_same(first, second)


def _is_same(first: Size | tuple[Size, ...] | object, second: object) -> bool:
    """Tell whether two sizes, or tuples of sizes, are the same numbers or the same expressions of the same choices."""
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(_is_same, first, second))
    if isinstance(first, Expression) and isinstance(second, Expression):
        return first.function == second.function and _is_same(first.arguments, second.arguments)
    return first is second if isinstance(first, Choice) else first == second
