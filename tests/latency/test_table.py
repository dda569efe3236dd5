"""A hand-made table: sums, limits in milliseconds, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency.networks import SHAPE, Blocks, Counting, blocks, convolutions
from torch import nn

from onepath import ConstrainedSampler, Supernet
from onepath.errors import ConfigurationError, DataError, RunDirectoryError
from onepath.latency import LatencyTable
from onepath.latency.keys import structure_digest
from onepath.latency.splitting import find_layout
from onepath.latency.table import Calibration, Entry
from onepath.search.feasible import FeasibleSet, Limit

MS = {"stem": 0.5, "k1": 0.1, "k3": 0.2, "k5": 0.45}


def hand_made(**changes: Any) -> LatencyTable:
    supernet = blocks()
    layout = find_layout(supernet, SHAPE)
    values: dict[str, Any] = {
        "entries": {key: Entry(MS[key.split("-input")[0]], 0.01, 20) for key in layout.shown},
        "constant": layout.constant,
        "terms": layout.terms,
        "calibration": Calibration(1.5, 0.25),
        "space": {
            "name": "blocks",
            "arguments": {"width": 4},
            "fingerprint": supernet.space.fingerprint,
            "network": structure_digest(supernet.module),
        },
        "device": Counting().settings(),
        "input_shape": SHAPE,
        "errors": {"num": 30, "mape_percent": 1.0, "rmse_ms": 0.1, "spearman": 0.9, "error_ms_95": 0.2},
    }
    return LatencyTable(**{**values, **changes})


def test_a_latency_is_the_calibrated_sum_of_the_entries() -> None:
    space, table = blocks().space, hand_made()
    assert table.predict(space, np.array([[0, 1, 2, 0, 1, 2]])) == pytest.approx(
        [0.25 + 1.5 * (0.5 + 2 * (0.1 + 0.2 + 0.45))]
    )
    assert table.sums.unit == table.table.unit == "ms"


def test_sampling_under_a_limit_in_milliseconds_is_exact() -> None:
    space, table = blocks().space, hand_made()
    limit = 3.0
    costs = table.cost_table(space)
    legal = int((table.predict(space, space.enumerate_matrix()) <= limit).sum())
    assert space.count_within(costs, None, limit) == legal
    rows = space.sample_within(costs, None, limit, 5000, np.random.default_rng(0))
    assert table.predict(space, rows).max() <= limit
    assert len(np.unique(rows, axis=0)) == legal
    found = FeasibleSet(
        space, [Limit("max_latency_ms", "ms", limit, lambda matrix: table.predict(space, matrix), costs)]
    )
    assert found.is_legal(found.sample(100, np.random.default_rng(0))).all()


def test_the_constrained_sampler_takes_milliseconds() -> None:
    space, table = blocks().space, hand_made()
    sampler = ConstrainedSampler(space, table.cost_table(space), 2.0, 2.2)
    rng = np.random.default_rng(0)
    paths = [path for update in range(50) for path in sampler.paths(update, rng)]
    latencies = table.predict(space, space.matrix(paths))
    assert 2.0 <= latencies.min() <= latencies.max() <= 2.2


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    table = hand_made()
    table.save(tmp_path / "table.json")
    read = LatencyTable.load(tmp_path / "table.json")
    assert read.to_data() == table.to_data()
    matrix = blocks().space.enumerate_matrix()
    np.testing.assert_array_equal(read.predict(blocks().space, matrix), table.predict(blocks().space, matrix))
    data = table.to_data()
    assert {"device", "batch", "dtype", "threads", "unit", "entries"} <= set(data)
    assert data["entries"][table.constant[0]] == {"mean": 0.5, "std": 0.01, "n": 20}


def test_another_cost_comes_in_the_same_format() -> None:
    table = LatencyTable.from_data({**hand_made().to_data(), "unit": "mJ"})
    assert table.cost_table(blocks().space).unit == "mJ"


def test_what_is_no_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="there is no such file"):
        LatencyTable.load(tmp_path / "none.json")
    for text in ("{", "[]", '{"format": "something else"}'):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(DataError, match="must be a latency table as onepath wrote it"):
            LatencyTable.load(tmp_path / "wrong.json")


def test_another_space_is_refused_with_both_names() -> None:
    other = Supernet(nn.Sequential(convolutions(4)))
    with pytest.raises(ConfigurationError, match=r"it is of blocks\(width=4\) .* a space of 1 choices"):
        hand_made().predict(other.space, np.zeros((1, 1), dtype=np.int64))


def test_another_width_of_the_same_choices_is_refused() -> None:
    table = hand_made()
    table.check_network(blocks())
    wide = Blocks()
    wide.stem = nn.Conv2d(1, 4, 5, padding=2)
    with pytest.raises(ConfigurationError, match=r"of blocks\(width=4\), and wide has other sizes"):
        table.check_network(Supernet(wide), "wide")


class Elsewhere(Counting):
    name = "elsewhere"


def test_another_device_or_shape_is_refused_with_both_names() -> None:
    table, space = hand_made(), blocks().space
    table.check(space, Counting(), SHAPE)
    with pytest.raises(ConfigurationError, match="it is of counting, and now it is elsewhere"):
        table.check(space, Elsewhere())
    with pytest.raises(ConfigurationError, match="counting with threads 1, and now it is 2"):
        table.check(space, Counting(threads=2))
    with pytest.raises(ConfigurationError, match="it is of 8x8x1, and now it is 9x9x1"):
        table.check(space, input_shape=(1, 9, 9))


def test_a_missing_entry_names_the_nearest() -> None:
    table = hand_made()
    entries = {key: entry for key, entry in table.entries.items() if not key.startswith("k3")}
    with pytest.raises(ConfigurationError, match=r"but k3-.* has none; the nearest are k"):
        hand_made(entries=entries).predict(blocks().space, np.zeros((1, 6), dtype=np.int64))


def test_a_table_that_was_never_validated_has_no_bound() -> None:
    assert hand_made().error_ms_95 == 0.2
    with pytest.raises(ConfigurationError, match="must be validated"):
        _ = hand_made(errors={}).error_ms_95
