"""Keys tell structures apart, and a missing one names its neighbours."""

from __future__ import annotations

import pytest
from torch import nn

from onepath.errors import ConfigurationError
from onepath.latency.keys import candidate_key, find_entry, nearest_keys, shape_text, structure_digest


def test_shapes_are_written_as_in_the_papers() -> None:
    assert shape_text((3, 224, 112)) == "224x112x3"
    assert shape_text((1280,)) == "1280"


def test_a_key_has_the_fields_of_the_grammar() -> None:
    key = candidate_key("k3", (4, 8, 8), (6, 4, 4), nn.Conv2d(4, 6, 3, 2, 1))
    assert key.startswith("k3-input:8x8x4-output:4x4x6-layers:")


def test_equal_structures_have_equal_digests_whatever_their_weights() -> None:
    assert structure_digest(nn.Conv2d(4, 6, 3)) == structure_digest(nn.Conv2d(4, 6, 3))
    assert structure_digest(nn.Conv2d(4, 6, 3)) == structure_digest(nn.Conv2d(4, 6, 3).to("meta").train())


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding=1)),
        (nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=2)),
        (nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, bias=False)),
        (nn.ReLU(), nn.GELU()),
        (nn.Sequential(nn.ReLU(), nn.Identity()), nn.Sequential(nn.Identity(), nn.ReLU())),
        (nn.MaxPool2d(2), nn.MaxPool2d(3)),
        (Scaled(1.0), Scaled(2.0)),
    ],
)
def test_different_structures_have_different_digests(first: nn.Module, second: nn.Module) -> None:
    assert structure_digest(first) != structure_digest(second)


def test_the_nearest_keys_differ_in_the_fewest_fields_and_the_closest_numbers() -> None:
    keys = [
        "conv-input:8x8x4-output:8x8x4-kernel:7",
        "conv-input:8x8x4-output:8x8x4-kernel:5",
        "conv-input:8x8x5-output:8x8x4-kernel:5",
        "pool-input:8x8x4-output:8x8x4",
    ]
    assert nearest_keys("conv-input:8x8x4-output:8x8x4-kernel:3", keys, 3) == [keys[1], keys[0], keys[2]]


def test_a_missing_key_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(
        ConfigurationError, match=r"conv-kernel:4 has none; the nearest are conv-kernel:5 and"
    ):
        find_entry({"conv-kernel:9": 1, "conv-kernel:5": 2, "pool": 3}, "conv-kernel:4")
    with pytest.raises(ConfigurationError, match="the nearest are none"):
        find_entry({}, "conv")
