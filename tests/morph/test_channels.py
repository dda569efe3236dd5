from __future__ import annotations

import numpy as np
import torch
from conversion import networks
from morph.changed import images, made
from torch import nn

from onepath.morph.channels import Channels, find_channels, grow, grown_channels
from onepath.morph.draft import Draft


def places(channels: Channels) -> dict[str, int]:
    """Name of a tensor and one of its dimensions -> how often each unit lies there."""
    sources = channels.layout.sources
    return {
        f"{sources[number].path}.{sources[number].name}.{dim}": num
        for (number, dim), num in channels.num_places.items()
    }


def test_the_places_of_channels_behind_flattening() -> None:
    channels = find_channels(Draft(made(networks.Flat()), "stem", images(2)))
    one = {f"bn.{name}.0": 1 for name in ("weight", "bias", "running_mean", "running_var")}
    assert places(channels) == {"stem.weight.0": 1, "stem.bias.0": 1, **one, "head.weight.1": 16}
    assert (channels.num, channels.unit) == (16, 1)
    weighed = {place for place in channels.num_places if channels.is_weighed(place)}
    assert [channels.layout.sources[number].path for number, _ in weighed] == ["head"]


def test_a_unit_holds_what_is_copied_together() -> None:
    channels = find_channels(Draft(made(networks.Gated()), "chunks", images(2)))
    assert (channels.num, channels.unit) == (16, 2)
    assert channels.ranks_at(channels.place).tolist() == [*range(16), *range(16)]


def test_a_trace_of_the_grown_network_tells_where_new_channels_lie() -> None:
    model = made(networks.Concat())
    draft = Draft(model, "one", images(2))
    channels = find_channels(draft)
    grow(draft, channels, 19)
    grown = grown_channels(draft, channels, 19)
    norm = next(
        place
        for place in grown.num_places
        if grown.layout.sources[place[0]].path == "norm" and grown.layout.sources[place[0]].name == "weight"
    )
    assert channels.ranks_at(norm).tolist() == [*range(16), *[-1] * 24]
    assert grown.ranks_at(norm).tolist() == [*range(19), *[-1] * 24]
    assert draft.model.get_submodule("one").out_channels == 19
    assert draft.model.get_submodule("norm").num_features == 43


def test_shuffled_channels_lie_in_another_order() -> None:
    draft = Draft(made(networks.Shuffled()), "stem", images(2))
    channels = find_channels(draft)
    grow(draft, channels, 40)
    grown = grown_channels(draft, channels, 40)
    (point,) = (place for place in grown.num_places if grown.is_weighed(place))
    halves = np.arange(32).reshape(2, 16), np.arange(40).reshape(2, 20)
    assert np.array_equal(channels.ranks_at(point), halves[0].T.flatten())
    assert np.array_equal(grown.ranks_at(point), halves[1].T.flatten())


def test_a_parameter_stays_a_parameter_and_a_buffer_a_buffer() -> None:
    draft = Draft(made(networks.PerChannel()), "stem", images(2))
    grow(draft, find_channels(draft), 17)
    model = draft.model
    assert isinstance(model.gamma, nn.Parameter)
    assert model.gamma.shape == (1, 17, 1, 1)
    assert "running_mean" in model.bn._buffers
    assert model.bn.num_batches_tracked.dtype == torch.int64
    assert model.instance.num_features == model.prelu.num_parameters == 17
