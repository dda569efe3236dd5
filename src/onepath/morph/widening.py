"""Net2Wider: more channels in a layer of a trained network, which computes the same.

Source: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016 (arXiv 1511.05641), section 2.2.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onepath.conversion.families import Place
from onepath.errors import ConfigurationError, shown
from onepath.morph.agreement import check_agreement, trials_of
from onepath.morph.channels import Channels, Vector, find_channels, grow, grown_channels, replace_tensor
from onepath.morph.draft import LAYERS, Draft
from onepath.randomness import generator


def widen(
    model: nn.Module, layer: str, width: int, example_inputs: Any, *, noise: float = 0.0, seed: int = 0
) -> nn.Module:
    """Return a copy of a network in which a layer has more outputs, and which computes the same.

    Each new channel is a copy of an old one, chosen uniformly at random. Where the next layer adds the channels up, the
    weights of a channel are divided by the number of its copies, itself included. All layers whose channels must agree
    are widened with the layer, by the same copies: those that are joined by sums or products, the parameters and
    statistics of a normalisation, depthwise convolutions, and all that takes the channels, also behind a concatenation,
    a flattening or a change of their order. Torch's own layers and other modules stay what they are, with other sizes.

    The result equals the network but for rounding, in evaluation mode and on the same batch in training mode. Random
    operations in training, such as dropout, draw other numbers for more channels. Without noise, the copies of a
    channel have equal gradients and stay equal until dropout or noise tells them apart. The optimizer of the network
    does not fit the result; make a new one.

    Args:
        model: a plain network without choices, such as one that a supernet's `extract` returns; it is not changed.
        layer: path in the network of a linear layer or a convolution.
        width: number of outputs that this layer gets, larger than now. A multiple of the unit if the channels can only
            be copied in units, as those of a `GroupNorm`. A multiple of the present width if they reach a `LayerNorm`,
            because its mean and variance stay only if each channel is copied equally often.
        example_inputs: what the network is called with: a tuple holds its arguments, anything else is the only one.
        noise: standard deviation of the normal noise that is added to the weights and biases by which linear layers and
            convolutions compute the copies, in proportion to that of the whole tensor. With noise the result does not
            compute the same. EAS takes 0.01.
        seed: seed of the copies and of the noise, 0 or more; the same seed gives the same network.

    Returns:
        A new network of the same classes, whose modules are in the same modes and under the same paths.

    Raises:
        ConfigurationError: there is no such layer; the width, the noise or the seed is out of range; the layer's
            channels reach the output, an operation without a rule, a size that the code states, or a grouped
            convolution that is not depthwise; or the result would not compute the same.

    Source: Chen et al., "Net2Net", ICLR 2016 (arXiv 1511.05641), Net2WiderNet; through branches and with noise: Cai et
    al., "Efficient Architecture Search by Network Transformation", AAAI 2018 (arXiv 1707.04873). Differs from both: the
    layers that must agree are found in a trace of the network and are not stated by the caller; noise is on the outputs
    of the copies alone, so that the old channels compute what they did.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> wider = op.morph.widen(model, "0", 6, torch.zeros(1, 8))
        >>> wider[0].weight.shape, wider[2].weight.shape
        (torch.Size([6, 8]), torch.Size([2, 6]))
    """
    _check(width, noise, seed)
    draft = Draft(model, layer, example_inputs)
    trials = trials_of(draft.model, draft.inputs)
    channels = find_channels(draft)
    num = _num_units(draft, channels, width)
    origins = _origins(draft, channels, num, seed)
    grow(draft, channels, num)
    grown = grown_channels(draft, channels, num)
    _fill(draft, channels, grown, origins)
    check_agreement(trials, draft.model, f"widening {shown(draft.path)}")
    if noise:
        _add_noise(draft, channels, grown, noise, seed)
    return draft.finished()


def _check(width: object, noise: object, seed: object) -> None:
    if isinstance(width, bool) or not isinstance(width, int):
        raise ConfigurationError(f"width must be a whole number, but got {shown(width)}; change it")
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise ConfigurationError(
            f"noise must be a finite number of 0 or more, but got {shown(noise)}; give some such as 0.01"
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigurationError(
            f"seed must be a whole number of 0 or more, but got {shown(seed)}; change it"
        )


def _num_units(draft: Draft, channels: Channels, width: int) -> int:
    """Return the number of units that make up `width` outputs of the layer."""
    now, unit = channels.num * channels.unit, channels.unit
    if width <= now:
        raise ConfigurationError(
            f"width must be larger than now, but {shown(draft.path)} has {now} outputs and got width={width}; raise it"
        )
    if width % unit:
        raise ConfigurationError(
            f"width must be a multiple of {unit} for {shown(draft.path)}, whose channels can only be copied {unit} at "
            f"a time, but got width={width}; take {width + -width % unit}"
        )
    return width // unit


def _origins(draft: Draft, channels: Channels, num: int, seed: int) -> Vector:
    """Return the old unit that each unit is or copies, (num,): first all old units, then copies of random ones."""
    old = channels.num
    rng = generator(seed, "morph.widen.copies")
    normalised = _layer_norms(channels)
    if not normalised:
        return np.concatenate([np.arange(old), rng.integers(old, size=num - old)])
    for path, is_alone in normalised.items():
        if num % old or not is_alone:
            what = f"take a multiple of {old * channels.unit}" if is_alone else "choose another layer"
            mixed = "" if is_alone else " together with other channels"
            raise ConfigurationError(
                f"each channel must be copied equally often where {shown(path)} normalises over them{mixed}, but "
                f"{shown(draft.path)} would go from {old * channels.unit} to {num * channels.unit} outputs; {what}"
            )
    return np.concatenate([np.arange(old), *(rng.permutation(old) for _ in range(num // old - 1))])


def _layer_norms(channels: Channels) -> dict[str, bool]:
    """Return path of each normalisation over these channels -> whether it is over nothing else."""
    found = {}
    for (path, attribute), labels in channels.trace.notes.items():
        if attribute == "normalized_shape":
            mine = [root in channels.ranks for root in channels.trace.units.roots(labels).tolist()]
            if any(mine):
                found[path] = all(mine)
    return found


def _fill(draft: Draft, channels: Channels, grown: Channels, origins: Vector) -> None:
    """Write old entries and copies into the tensors that have grown, in place."""
    num_copies = torch.from_numpy(np.bincount(origins))
    for number, dims in _dimensions(channels).items():
        tensor = channels.layout.sources[number].tensor.detach()
        for dim in dims:
            place = number, dim
            index, ranks = _index(channels, grown, place, origins)
            tensor = tensor.index_select(dim, torch.from_numpy(index).to(tensor.device))
            if channels.is_weighed(place):
                times = torch.where(ranks < 0, 1, num_copies[torch.from_numpy(origins)[ranks.clamp(min=0)]])
                shape = [-1 if other == dim else 1 for other in range(tensor.dim())]
                tensor = tensor / times.to(tensor).reshape(shape)
        replace_tensor(draft.model, grown, number, tensor)


def _dimensions(channels: Channels) -> dict[int, list[int]]:
    """Return number of a source -> its dimensions along which the channels lie."""
    found: dict[int, list[int]] = defaultdict(list)
    for number, dim in channels.num_places:
        found[number].append(dim)
    return found


def _index(channels: Channels, grown: Channels, place: Place, origins: Vector) -> tuple[Vector, Tensor]:
    """Return the old entry that each entry along a place copies, and the number of its unit, -1 for others; (size,).

    A unit may lie in a place several times, as a channel does after flattening, once for each pixel. The times
    correspond in their order, and so do the entries of other channels.
    """
    before, after = channels.ranks_at(place), grown.ranks_at(place)
    entries = [np.flatnonzero(before == rank) for rank in range(channels.num)]
    index = np.empty(len(after), dtype=np.int64)
    index[after < 0] = np.flatnonzero(before < 0)
    for rank, origin in enumerate(origins):
        index[after == rank] = entries[origin]
    return index, torch.from_numpy(after)


def _add_noise(draft: Draft, channels: Channels, grown: Channels, noise: float, seed: int) -> None:
    """Add noise to what computes the copies in linear layers and convolutions, in place."""
    modules = dict(draft.model.named_modules())
    for number, dims in _dimensions(channels).items():
        source = grown.layout.sources[number]
        if not isinstance(modules[source.path], LAYERS):
            continue
        old = channels.layout.sources[number].tensor.detach()
        scale = noise * float(old.std(correction=0))
        tensor = getattr(modules[source.path], source.name)
        for dim in dims:
            if not channels.is_weighed((number, dim)):
                rng = generator(seed, "morph.widen.noise", number)
                drawn = torch.from_numpy(rng.standard_normal(tensor.shape)).to(tensor)
                is_copy = torch.from_numpy(grown.ranks_at((number, dim)) >= channels.num).to(tensor.device)
                shape = [-1 if other == dim else 1 for other in range(tensor.dim())]
                with torch.no_grad():
                    tensor += scale * drawn * is_copy.reshape(shape)
