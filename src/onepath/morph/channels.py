"""The channels that are widened together with those of a layer, and how their tensors grow."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from onepath.conversion.adaptations import Adaptations
from onepath.conversion.families import Layout, Place, find_layout
from onepath.conversion.trace import Trace
from onepath.conversion.tracing import trace_passes
from onepath.errors import ConfigurationError, shown
from onepath.morph.draft import CONVOLUTIONS, TRANSPOSED, Draft, check_groups
from onepath.space import Choice

Vector = npt.NDArray[np.int64]
_SIZES = ("num_features", "num_parameters")  # attributes of torch's layers that count the entries of a vector


@dataclass(eq=False)
class Channels:
    """The channels of a layer, in every tensor of a traced network that they lie in.

    A unit is what can only be copied as a whole. It is one channel, unless the code splits the layer's outputs into
    equal parts or normalises them in groups.

    Attributes:
        trace, layout: the trace of the network, and the places of all its units.
        place: the place of the layer's outputs.
        ranks: root of a unit -> its number, in the order of the layer's outputs.
        num_places: place -> how often each unit lies in it.
    """

    trace: Trace
    layout: Layout
    place: Place
    ranks: dict[int, int]
    num_places: dict[Place, int]

    @property
    def num(self) -> int:
        """Number of units."""
        return len(self.ranks)

    @property
    def unit(self) -> int:
        """Number of outputs of the layer in one unit."""
        return self.num_places[self.place]

    def ranks_at(self, place: Place) -> Vector:
        """Return the number of the unit of each entry along a place, -1 for an entry of other channels; (size,)."""
        return np.array(
            [self.ranks.get(int(root), -1) for root in self.layout.vectors[place]], dtype=np.int64
        )

    def is_weighed(self, place: Place) -> bool:
        """Whether a layer adds up products over this place: a matrix's dimension other than that of its outputs."""
        made = self.layout.sources[place[0]].made
        return made is not None and made != place[1]


def find_channels(draft: Draft) -> Channels:
    """Trace a network and find the channels that belong together with those of the layer.

    Raises:
        ConfigurationError: the network or the layer does not run on the example inputs, or the layer's outputs are
            fixed, are not used alike, or reach a grouped convolution.
    """
    trace = trace_passes(draft.model, draft.inputs).trace
    layout = find_layout(trace, _kept_whole(draft.model))
    channels = _channels(draft, trace, layout)
    roots = list(channels.ranks)
    fixed = next((layout.reasons[root] for root in roots if root in layout.reasons), None)
    if fixed is None and 0 in channels.ranks:
        fixed = "there is only one" if len(layout.vectors[channels.place]) == 1 else "the code fixes some"
    if fixed is not None:
        raise ConfigurationError(
            f"the number of a layer's outputs must be free to be widened, but that of {shown(draft.path)} is fixed: "
            f"{fixed}; choose another layer"
        )
    if len({layout.family_of[root] for root in roots}) > 1:
        raise ConfigurationError(
            f"the outputs of a layer must all be used in the same way to be widened, but those of {shown(draft.path)} "
            "go to different places; choose another layer"
        )
    modules = dict(draft.model.named_modules())
    for number, _ in channels.num_places:
        holders = {path: modules[path] for path, _ in layout.sources[number].holders}
        for path, module in holders.items():
            if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
                check_groups(path, module)
        if len({_outputs_dim(module) for module in holders.values()}) > 1:
            first, second = list(holders)[:2]
            raise ConfigurationError(
                f"a weight must be used in one way to be widened, but the channels of {shown(draft.path)} reach one "
                f"that {shown(first)} and {shown(second)} use in two ways; give each its own, or choose another layer"
            )
    return channels


def grown_channels(draft: Draft, channels: Channels, num: int) -> Channels:
    """Trace a network whose tensors have grown, and return its channels.

    Raises:
        ConfigurationError: the network's code does not take the new size, or does not treat all channels as before.
    """
    refused = (
        f"a network's code must take another number of channels, but it does not where {shown(draft.path)} "
        "has more outputs"
    )
    try:
        trace = trace_passes(draft.model, draft.inputs).trace
    except ConfigurationError as error:
        cause = type(error.__cause__ or error).__name__
        raise ConfigurationError(f"{refused} ({cause}); choose another layer") from error
    layout = find_layout(trace, _kept_whole(draft.model))
    grown = _channels(draft, trace, layout)
    families = {layout.family_of.get(root) for root in grown.ranks}  # None: fixed
    if None in families or len(families) > 1 or grown.num != num or grown.num_places != channels.num_places:
        raise ConfigurationError(
            f"{refused} (its channels lie otherwise where there are more of them); choose another layer"
        )
    return grown


def grow(draft: Draft, channels: Channels, num: int) -> None:
    """Enlarge all tensors and sizes of the draft for this many units, in place; the new entries are placeholders."""
    extra = num - channels.num
    _grow_sizes(draft, channels, num)
    sizes: dict[int, dict[int, int]] = defaultdict(dict)
    for (number, dim), times in channels.num_places.items():
        sizes[number][dim] = len(channels.layout.vectors[number, dim]) + times * extra
    for number, dims in sizes.items():
        tensor = channels.layout.sources[number].tensor.detach()
        for dim, size in dims.items():
            places = torch.arange(size, device=tensor.device) % tensor.shape[dim]
            tensor = tensor.index_select(dim, places)
        replace_tensor(draft.model, channels, number, tensor)


def replace_tensor(model: nn.Module, channels: Channels, number: int, tensor: Tensor) -> None:
    """Give a tensor to all modules that hold a source, as a parameter if the source is one."""
    source = channels.layout.sources[number]
    if isinstance(source.tensor, nn.Parameter):
        tensor = nn.Parameter(tensor, requires_grad=source.tensor.requires_grad)
    for path, name in source.holders:
        module = model.get_submodule(path)
        before = source.tensor.shape[0] if source.tensor.dim() else 0
        tensors: dict[str, Any] = module._parameters if name in module._parameters else module._buffers
        tensors[name] = tensor
        if tensor.dim() == 1 and type(module).__module__.startswith("torch.nn."):
            counting = [size for size in _SIZES if module.__dict__.get(size) == before]
            module.__dict__.update(dict.fromkeys(counting, tensor.shape[0]))


def _grow_sizes(draft: Draft, channels: Channels, num: int) -> None:
    """Enlarge the whole-number attributes that count these channels, such as `out_channels`, in place."""
    family = channels.layout.family_of[next(iter(channels.ranks))]
    choice = Choice("width", [channels.num, num], role="size")
    adaptations = Adaptations(draft.model, channels.trace, channels.layout, {family: (choice, 1)})
    for path, sizes in adaptations.sizes.items():
        attributes = adaptations.modules[path].__dict__
        for name, size in sizes.items():
            times = int((size.part.owners >= 0).sum()) // channels.num
            value = size.full * (size.part.full + times * (num - channels.num)) // size.part.full
            attributes[name] = (value,) if isinstance(attributes[name], tuple | list) else value


def _channels(draft: Draft, trace: Trace, layout: Layout) -> Channels:
    weight = draft.layer._parameters["weight"]
    number = next(index for index, source in enumerate(layout.sources) if source.tensor is weight)
    place = number, _outputs_dim(draft.layer)
    if place not in layout.vectors:
        raise ConfigurationError(
            f"a layer must run on the example inputs to be widened, but {shown(draft.path)} does not; give others, or "
            "choose a layer that runs"
        )
    ranks = {root: rank for rank, root in enumerate(dict.fromkeys(layout.vectors[place].tolist()))}
    num_places: dict[Place, int] = {}
    for other, roots in layout.vectors.items():
        found = Counter(root for root in roots.tolist() if root in ranks)
        if found:
            num_places[other] = max(found.values())
    return Channels(trace, layout, place, ranks, num_places)


def _outputs_dim(module: nn.Module) -> int:
    """Return the dimension of a module's weight along which its outputs lie."""
    is_turned = isinstance(module, TRANSPOSED) and module.groups == 1
    return 1 if is_turned or isinstance(module, nn.Embedding) else 0


def _kept_whole(model: nn.Module) -> dict[str, str]:
    """Return path -> why a module's sizes must stay, for modules whose code derives further sizes from them."""
    kept: dict[str, str] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            inside = [".".join(filter(None, (path, name))) for name, _ in module.named_modules()]
            kept |= dict.fromkeys(inside, f"{type(module).__name__} keeps its sizes")
    return kept
