"""Make a network elastic that was written without choices; its largest architecture is the network itself."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from onepath.conversion.adaptations import Adaptations, clear_caches
from onepath.conversion.blocks import depths_of, removable_runs
from onepath.conversion.checking import Whole
from onepath.conversion.families import Layout
from onepath.conversion.importance import (
    default_loss,
    orders_by,
    permute_units,
    taylor_importance,
    weight_importance,
)
from onepath.conversion.kernels import kernels_of
from onepath.conversion.report import Conversion, make_conversion
from onepath.conversion.resolutions import INSIDE, NAME, behind_resolution, check_resolutions
from onepath.conversion.running import copied
from onepath.conversion.settling import Settling
from onepath.conversion.tracing import Traced, each_candidate, trace_passes
from onepath.errors import ConfigurationError, shown
from onepath.nn.adapted import adapt
from onepath.nn.attention import HeadAttention
from onepath.nn.copying import whole_copy
from onepath.nn.finite import check_finite
from onepath.nn.selection import has_choices
from onepath.nn.supernet import Supernet
from onepath.space import Choice

if TYPE_CHECKING:
    from onepath.data import Task

_SORTED_ERROR = 1e-2  # largest change of an output by sorting, in proportion to its largest value
_BATCH, _NUM_EXAMPLES = 32, 256  # batch size and number of the examples that importance is measured on


def convert(
    model: nn.Module,
    example_inputs: Any,
    *,
    widths: Sequence[float] = (0.5, 0.75, 1.0),
    depth: bool = True,
    kernels: bool | Literal["learned"] = True,
    heads: bool = True,
    divisor: int = 8,
    pin: Iterable[str] = (),
    data: Task | Iterable[tuple[Any, Any]] | None = None,
    resolutions: Sequence[int] = (),
) -> Supernet:
    """Make a trained network elastic: a supernet whose largest architecture computes what the network computes.

    One forward pass in evaluation mode, and one in training mode if it succeeds, are recorded as operations. Channels
    that are added, normalised, concatenated or multiplied with each other belong together. Each group of such channels
    gets one choice of how many are kept. What the network's code does not allow to change is left alone, and the report
    gives the reason. The channels of a group are sorted by importance, and an architecture keeps the leading ones.

    Args:
        model: any module; it is copied and not changed.
        example_inputs: what the model is called with: a tuple holds its arguments, anything else is the only argument.
        widths: shares of a group's channels that may be kept, above 0 and at most 1.
        depth: whether residual blocks may be left out; of a run of consecutive blocks at least half stay, rounded down.
        kernels: whether depthwise kernels may be cut to their centre. With "learned", the centre is multiplied by a
            trained matrix that starts as the identity; see `onepath.nn.kernel_transform`.
        heads: whether attention heads may be left out.
        divisor: the numbers of channels that may be kept are rounded to multiples of it.
        pin: paths of modules whose sizes must not change, with all modules inside them; patterns such as "stem*" are
            allowed.
        data: labelled data on which importance is measured, to first order of the loss: a task, or batches of inputs
            and targets. None uses the absolute weights.
        resolutions: sides in pixels to which images may be resized before the network, as one more choice; the largest
            must be the side of the example's images. If empty, images are not resized.

    Returns:
        A supernet. Its attribute `conversion` is the report, a `Conversion`.

    Raises:
        ConfigurationError: an option is out of its range, `pin` names no module, the network does not run on the
            example inputs or at one of the resolutions, its weights are not finite, or nothing in it can be elastic.
        ShapeError: sorting the channels, or making layers elastic, changed what the network computes.

    Example:
        >>> supernet = op.convert(torchvision.models.resnet18(weights="DEFAULT"), torch.zeros(1, 3, 224, 224))
        >>> print(supernet.conversion)
    """
    _check(model, widths, divisor, resolutions, pin)
    for name, value in (("depth", depth), ("heads", heads)):
        if not isinstance(value, bool):
            raise ConfigurationError(f"{name} must be True or False, but got {shown(value)}; change it")
    if kernels not in (True, False, "learned"):
        raise ConfigurationError(
            f"kernels must be True, False or 'learned', but got {shown(kernels)}; change it"
        )
    inputs = copied(example_inputs if isinstance(example_inputs, tuple) else (example_inputs,))
    model = whole_copy(model, lambda tensor: tensor.detach().clone(), apart=True)
    model.eval()
    clear_caches(model)
    for module in model.modules():
        if heads and isinstance(module, nn.MultiheadAttention):
            HeadAttention.take_over(module)
    pinned = _pinned(model, pin)
    own = {path for path, module in model.named_modules() if has_choices(module)}
    scripted = [path for path, module in model.named_modules() if isinstance(module, torch.jit.ScriptModule)]
    whole = dict.fromkeys(scripted, "it is a script module") | dict.fromkeys(pinned, "it is pinned")
    whole |= dict.fromkeys(own, "it has choices of its own")
    if resolutions:
        check_resolutions(model, inputs, resolutions)
        clear_caches(model)
    for _ in each_candidate(model):
        pass  # the first candidate of every block stays active
    computed = Whole(model, inputs)
    clear_caches(model)
    traced = trace_passes(model, inputs)
    settling = Settling(
        model, inputs, traced.trace, whole, tuple(map(float, widths)), divisor, heads, computed.outputs
    )
    layout, adaptations = settling.settled()
    if depth:
        _add_depth(model, traced, adaptations, whole)
    if kernels:
        _add_kernels(adaptations, traced, whole)
        adaptations.learns_kernels = kernels == "learned"
    computed.drop_failing(model, adaptations)
    report = make_conversion(model, traced, adaptations, divisor, [NAME] if resolutions else [])
    if not any(row.choices for row in report.rows):
        raise _nothing_elastic(model, report)
    _sort(model, layout, adaptations, data)
    computed.check(model, "sorting channels")
    clear_caches(model)
    for path in adaptations.paths():
        adaptation = adaptations.of(path)
        assert adaptation is not None
        adapt(adaptations.modules[path], adaptation)
    computed.check(model, "making layers elastic")
    clear_caches(model)
    if resolutions:
        model = behind_resolution(model, resolutions)
        report.sorting.prefix = f"{INSIDE}."
    supernet = Supernet(model)
    supernet.conversion = report
    return supernet


def _check(
    model: object, widths: Iterable[float], divisor: int, resolutions: Iterable[int], pin: Iterable[str]
) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"model must be an nn.Module, but got {shown(model)}; build it, and give the module itself"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise ConfigurationError(
            f"a model must have a part that can be elastic, but {type(model).__name__} has none (it is a script "
            "module); convert the module that it was made of"
        )
    check_finite(model)
    for name, value in (("widths", widths), ("resolutions", resolutions), ("pin", pin)):
        if not isinstance(value, Iterable):
            raise ConfigurationError(f"{name} must be a list, but got {shown(value)}; give a list")
    widths = list(widths)
    wrong = [
        width
        for width in widths
        if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= 1
    ]
    if wrong or not widths:
        raise ConfigurationError(
            f"widths must be shares above 0 and at most 1, but got {shown(list(widths))}; give some such as 0.5 and 1"
        )
    if isinstance(divisor, bool) or not isinstance(divisor, int) or divisor < 1:
        raise ConfigurationError(
            f"divisor must be a whole number of 1 or more, but got {shown(divisor)}; change it"
        )


def _nothing_elastic(model: nn.Module, report: Conversion) -> ConfigurationError:
    reasons = list(dict.fromkeys(row.reason for row in report.rows if row.params))
    why = f" ({'; '.join(reasons[:3])})" if reasons else ""
    return ConfigurationError(
        f"a model must have a part that can be elastic, but {type(model).__name__} has none{why}; allow more widths, a "
        "smaller divisor, or fewer pins"
    )


def _pinned(model: nn.Module, patterns: Iterable[str]) -> set[str]:
    """Return the paths of the modules that match a pattern, and of all modules inside them."""
    paths = [path for path, _ in model.named_modules()]
    found: set[str] = set()
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        matching = {path for path in paths if isinstance(pattern, str) and fnmatch.fnmatchcase(path, pattern)}
        if not matching:
            raise ConfigurationError(
                f"pin must name modules of the model, but none is called {shown(pattern)}; see model.named_modules()"
            )
        inside = {path for path in paths for top in matching if top and path.startswith(f"{top}.")}
        found |= matching | inside
    return found


def _add_depth(model: nn.Module, traced: Traced, adaptations: Adaptations, whole: Mapping[str, str]) -> None:
    """Add a choice of how many blocks run, for each run of consecutive residual blocks."""
    seen: dict[str, int] = {}
    for holder, paths in removable_runs(traced.trace, model, traced.calls):
        if any(path in whole for path in paths):
            continue
        seen[holder] = seen.get(holder, 0) + 1
        name = ".".join(filter(None, (holder, "depth"))) + ("" if seen[holder] == 1 else str(seen[holder]))
        choice = Choice(name, depths_of(len(paths)), role="depth")
        for place, path in enumerate(paths):
            reaching = frozenset(option for option in choice.options if int(option) > place)
            adaptations.presences[path] = choice, reaching
    adaptations.take_more = {call.path for call in traced.calls if call.takes_more}


def _add_kernels(adaptations: Adaptations, traced: Traced, whole: Collection[str]) -> None:
    """Add a choice of the kernel's side for each depthwise convolution that allows several sides."""
    called = {call.path for call in traced.trace.calls}  # elsewhere the weight may be read in another way
    for path, module in adaptations.modules.items():
        sides = kernels_of(module) if path in called else ()
        if len(sides) > 1 and path not in whole:
            adaptations.kernels[path] = Choice(f"{path}.kernel", sides, role="size")


def _sort(model: nn.Module, layout: Layout, adaptations: Adaptations, data: Any) -> None:
    """Sort the channels of each family by importance."""
    if data is None:
        scores = weight_importance(layout)
    elif hasattr(data, "batches"):
        batches = data.batches("train", _BATCH, num_examples=_NUM_EXAMPLES)
        pairs = ((batch.inputs, batch.targets) for batch in batches)
        scores = taylor_importance(layout, model, pairs, data.loss)
    else:
        scores = taylor_importance(layout, model, data, default_loss)
    permute_units(layout, orders_by(layout, scores, adaptations.choices))
