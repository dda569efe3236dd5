"""The blocks of a supernet: modules without a common choice, each of which can be trained by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onepath.nn.binding import choices_by_path
from onepath.space import Choice

if TYPE_CHECKING:
    from onepath.nn.supernet import Supernet

_MOST_LEFT = 0.5


def blocks_of(supernet: Supernet) -> dict[str, tuple[Choice, ...]]:
    """Return path of each block -> the choices that only modules inside it depend on, in the order of the space.

    A block takes and returns tensors of the same shapes whatever its own choices are. The smallest module around
    everything that depends on a choice is a block, unless smaller blocks inside it do not depend on its choices and
    have at least half of its parameters. So a bottleneck with a width between its convolutions is a block, not its
    depthwise convolution alone, whose kernel is a choice; and a stage with a depth, or with the width of its residual
    stream, is none, and this choice belongs to no block.
    """
    choices_of = choices_by_path(supernet.module, supernet.space)
    sized = {path: {c for c in choices if c.role != "depth"} for path, choices in choices_of.items()}
    homes: dict[str, list[Choice]] = {}
    for choice in supernet.space.choices:
        paths = [path for path, choices in choices_of.items() if choice in choices]
        if paths:
            homes.setdefault(_common(paths), []).append(choice)
    modules = supernet.module.named_modules(remove_duplicate=False)
    sizes = {path: sum(p.numel() for p in module.parameters()) for path, module in modules}
    found: dict[str, tuple[Choice, ...]] = {}
    for home in sorted(homes, key=lambda path: path.count("."), reverse=True):
        inner = [path for path in found if _is_inside(path, home)]
        own = set(homes[home])
        depend = [own & c for path, c in sized.items() if c and any(_is_inside(path, i) for i in inner)]
        is_apart = not all(depend) and sum(sizes[path] for path in inner) >= _MOST_LEFT * sizes[home]
        if home and not is_apart:
            joined = {*homes[home], *(choice for path in inner for choice in found.pop(path))}
            found[home] = tuple(choice for choice in supernet.space.choices if choice in joined)
    return {path: found[path] for path in sizes if path in found}


def _is_inside(path: str, home: str) -> bool:
    return path == home or path.startswith(f"{home}.")


def _common(paths: list[str]) -> str:
    """Return the path of the smallest module that contains all of these modules."""
    parts = [path.split(".") if path else [] for path in paths]
    shared = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)
