"""Make the stand-alone network of the active options."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import BindingError
from onepath.nn.adapted import Adapted
from onepath.nn.copying import Copier, scripted_copy
from onepath.nn.selection import has_choices

_HOOKS = (
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_backward_pre_hooks", "_backward_hooks"),
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
)


def extract_module(
    module: nn.Module, *, inherit: bool, origins: dict[nn.Module, str] | None = None
) -> nn.Module:
    """Copy a module tree, with plain modules in place of all elastic layers and choice blocks.

    A parameter that several layers share stays shared, also between elastic layers that use the same part of it. Other
    references between the modules lead to the copies, see `Copier`.

    Args:
        module: module of a supernet, with an active architecture; not changed.
        inherit: whether to copy the statistics and affine parameters of normalisation. If not, normalisation is that of
            the network that is trained from scratch. Other weights are copied either way.
        origins: filled with extracted module -> path of the module that it was made from.

    Returns:
        The copy, which shares no tensor with `module`.

    Raises:
        BindingError: a module holds others in a way that cannot be copied; the message names the attribute.
    """
    return _Extraction(module, inherit, {} if origins is None else origins).run()


class _Extraction:
    """One extraction, with a record of each module's copy and path."""

    def __init__(self, root: nn.Module, inherit: bool, origins: dict[nn.Module, str]) -> None:
        self.root, self.inherit, self.origins = root, inherit, origins
        self.copier = Copier(root, lambda tensor: tensor.detach().clone())
        # Active parts of the parameters that elastic layers may share, by the parameter's id and the part's shape.
        self.parts: dict[tuple[int, torch.Size], Tensor] = {}
        self.hooked: list[
            tuple[nn.Module, nn.Module]
        ] = []  # layers and blocks with hooks, inner before outer ones

    def run(self) -> nn.Module:
        with torch.no_grad():
            result = self.extract(self.root, "")
            self.copier.finish(self.extract)
            for module, plain in self.hooked:
                self.add_hooks(module, plain)
            self.copier.finish(self.extract)
        return result

    def extract(self, module: nn.Module, path: str) -> nn.Module:
        """Return the plain form of a module, made on the first call; references in it are copied only by `finish`."""
        found: nn.Module | None = self.copier.known(module)
        if found is not None:
            return found
        if isinstance(module, Adapted) and module.is_present:
            plain, names = self.cut_down(module), None
        elif has_choices(module):
            plain = module.extracted(inherit=self.inherit)
            names = {id(child): name for name, child in module.named_modules()} if plain._modules else {}
            name = next((name for name, child in module.named_modules() if child is plain), None)
            if name is not None:
                is_new = self.copier.known(plain) is None
                result = self.extract(plain, _joined(path, name))
                self.copier.note(module, result)
                self.hook(module, result, path, is_new=is_new)
                return result
            self.copier.note(module, plain)
            self.hook(module, plain, path)
            self.share(module, plain)
        elif isinstance(module, torch.jit.ScriptModule):
            plain, names = scripted_copy(module), {}
            self.copier.note(module, plain)
        else:
            plain, names = self.copier.shell(module), None
        self.origins[plain] = path
        for name, child in plain._modules.items():
            if child is None:
                continue
            own_name = name if names is None else names.get(id(child))
            if own_name is None:  # made by `extracted`, and plain already
                self.origins.update(dict.fromkeys(child.modules(), path))
            else:
                plain._modules[name] = self.extract(child, _joined(path, own_name))
        return plain

    def cut_down(self, module: Adapted) -> nn.Module:
        """Return a copy of an adapted module with its plain class and copies of the active parts of its tensors."""

        def part(name: str, tensor: Tensor) -> Tensor | None:
            active = module.active(name, tensor)
            if active is tensor:
                return None  # copied whole, once for all that hold it
            known = self.parts.get((id(tensor), active.shape))
            if known is None:
                known = active.detach().clone(memory_format=torch.contiguous_format)
                if isinstance(tensor, nn.Parameter):
                    known = nn.Parameter(known, requires_grad=tensor.requires_grad)
                self.parts[id(tensor), active.shape] = known
            return known

        plain = self.copier.shell(module, without=("path", "selection", "_written"), part=part)
        module.make_plain(plain)
        return plain

    def hook(self, module: nn.Module, plain: nn.Module, path: str, *, is_new: bool = True) -> None:
        """Note that the hooks of a layer or block shall run around the plain module in its place."""
        if not any(module.__dict__[name] for name in _HOOKS):
            return
        if not is_new:
            raise BindingError(
                f"{path or 'root'}: a block with hooks must have candidates of its own to be extracted, but one stands "
                "elsewhere too; remove the hooks, or hold each candidate once"
            )
        self.hooked.append((module, plain))

    def add_hooks(self, module: nn.Module, plain: nn.Module) -> None:
        """Put the hooks of a block around those of its candidate."""
        for name in _HOOKS:
            if own := self.copier.mapped(module.__dict__[name]):
                inner = plain.__dict__[name]
                plain.__dict__[name] = OrderedDict({**own, **inner} if "pre" in name else {**inner, **own})

    def share(self, module: nn.Module, plain: nn.Module) -> None:
        """Let a plain layer share a tensor with an earlier layer if both are the same part of the same tensor."""
        pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
            (module._parameters, plain._parameters),
            (module._buffers, plain._buffers),
        ]
        for originals, made in pairs:
            for name, tensor in made.items():
                original = originals.get(name)
                if original is None or tensor is None:
                    continue
                if tensor.shape != original.shape:
                    made[name] = self.parts.setdefault((id(original), tensor.shape), tensor)
                elif (known := self.copier.known(original)) is not None:
                    made[name] = known
                else:
                    self.copier.note(original, tensor)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
