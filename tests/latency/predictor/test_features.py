"""What predictors see of an architecture."""

from __future__ import annotations

import json

import numpy as np
import pytest
from latency.predictor.pairs_of_a_law import deep_space, small_supernet

import onepath as op
from onepath.counting import CostTable, CostTerm
from onepath.errors import DataError, SpaceError
from onepath.latency.predictor import EncodedFeatures, supernet_features
from onepath.latency.predictor.read_features import features_from_data


@pytest.mark.parametrize("encoding", ["one_hot", "ordinal"])
def test_encoding_is_the_spaces(encoding: str) -> None:
    space = deep_space()
    matrix = space.sample(50, np.random.default_rng(0))
    features = EncodedFeatures.of_space(space, encoding)
    values = features.values(space, matrix)
    assert np.array_equal(values, getattr(space, encoding)(matrix))
    assert values.shape[1] == len(features.names)


def test_supernet_has_its_costs() -> None:
    supernet = small_supernet()
    features = supernet_features(supernet, (3, 8, 8))
    assert features.names[-2:] == ("macs", "params")
    architecture = supernet.space.parse("2,1,0,2")
    row = features.values(supernet.space, supernet.space.matrix([architecture]))[0]
    assert row[-2] == op.cost.macs(supernet, architecture, (3, 8, 8))
    assert row[-1] == op.cost.params(supernet, architecture)


@pytest.mark.parametrize("encoding", ["one_hot", "ordinal"])
def test_additive_table_equals_the_weighted_sum(encoding: str) -> None:
    space = deep_space()
    cost = CostTable(3, [CostTerm(("depth", "blocks.0"), np.arange(12).reshape(3, 4))], "macs")
    features = EncodedFeatures.of_space(space, encoding, [cost])
    weights = np.random.default_rng(1).normal(size=len(features.names))
    matrix = space.enumerate_matrix()
    table = features.additive_table(weights, 1.5)
    assert table.unit == "ms"
    expected = 1.5 + features.values(space, matrix) @ weights
    assert np.allclose(table.costs(space, matrix), expected, rtol=1e-6)


def test_data_round_trip() -> None:
    space = deep_space()
    cost = CostTable(3, [CostTerm("depth", [1, 2, 3])], "macs")
    features = EncodedFeatures.of_space(space, "ordinal", [cost])
    again = features_from_data(json.loads(json.dumps(features.to_data())))
    matrix = space.enumerate_matrix()
    assert again.names == features.names
    assert np.array_equal(again.values(space, matrix), features.values(space, matrix))


@pytest.mark.parametrize("data", [{"kind": "other"}, {}, {"kind": "encoded", "choices": [1]}])
def test_other_data_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(DataError, match="features must be"):
        features_from_data(data)


def test_another_space_is_refused() -> None:
    features = EncodedFeatures.of_space(deep_space())
    space = small_supernet().space
    with pytest.raises(SpaceError, match="of the space they encode"):
        features.values(space, space.sample(2, np.random.default_rng(0)))
