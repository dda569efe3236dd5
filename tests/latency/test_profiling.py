"""A table profiled on a device whose latencies are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency.networks import EMPTY_MS, MS_PER_MAC, SHAPE, Counting, CountingRun, blocks

from onepath import cost
from onepath.errors import ConfigurationError, DataError, UserError
from onepath.latency import LatencyTable, profile
from onepath.latency.profiling import calibrated, draw_networks
from onepath.latency.rounds import Rounds


def small(device: Counting, path: Path, **settings: Any) -> LatencyTable:
    return profile(
        blocks(), device, SHAPE, path=path, **{"num_calibration": 5, "num_validation": 19, **settings}
    )


def test_entries_are_what_the_candidates_take_without_an_empty_network(tmp_path: Path) -> None:
    device = Counting()
    table = small(device, tmp_path / "table.json")
    assert len(table.entries) == 4
    macs = {"k1": 4 * 4 * 64, "k3": 9 * 4 * 4 * 64, "k5": 25 * 4 * 4 * 64, "stem": 9 * 4 * 64}
    for key, entry in table.entries.items():
        assert entry.mean == pytest.approx(MS_PER_MAC * macs[key.split("-input")[0]], rel=1e-9)
        assert entry.n == 20
    assert table.calibration.slope == pytest.approx(1.0, rel=1e-9)
    assert table.calibration.intercept == pytest.approx(EMPTY_MS, rel=1e-6)
    assert table.errors["mape_percent"] < 1e-6
    assert table.errors["spearman"] > 0.98  # less than 1: networks of equal cost
    assert table.errors["num"] == 19
    assert device.num_closed == device.num_prepared == 24 + 2 + 4


def test_it_predicts_every_network_of_the_space_on_an_uneven_machine(tmp_path: Path) -> None:
    table = small(Counting(speeds=0.3, noise=0.02), tmp_path / "table.json", seed=3)
    supernet = blocks()
    matrix = supernet.space.enumerate_matrix()
    counts = cost.table(supernet, SHAPE, "macs").costs(supernet.space, matrix)
    ratio = table.predict(supernet.space, matrix) / (EMPTY_MS + MS_PER_MAC * counts)
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=0.04)
    assert table.errors["mape_percent"] < 2
    assert table.errors["spearman"] > 0.98


def test_the_errors_are_those_of_networks_that_took_no_part(tmp_path: Path) -> None:
    table = small(Counting(noise=0.02), tmp_path / "table.json")
    rows = table.evidence["networks"]
    assert [row["use"] for row in rows] == 5 * ["calibration"] + 19 * ["validation"]
    assert len({row["architecture"] for row in rows}) == 24
    fresh = [row for row in rows if row["use"] == "validation"]
    shares = [abs(row["predicted_ms"] / row["measured_ms"] - 1) for row in fresh]
    assert table.errors["mape_percent"] == pytest.approx(100 * np.mean(shares))
    assert table.error_ms_95 == pytest.approx(max(abs(r["predicted_ms"] - r["measured_ms"]) for r in fresh))


def test_a_killed_profile_goes_on_and_a_finished_one_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onepath.latency.profiling._SAVE_SECONDS", 0.0)
    path = tmp_path / "table.json"
    with pytest.raises(KeyboardInterrupt):
        small(Counting(noise=0.02, fail_after=8_000), path)
    assert not path.exists()
    partial = json.loads((tmp_path / "table.json.part").read_text())
    kept = Rounds(**partial["rounds"])
    assert 0 < len(kept) < 20
    device = Counting(noise=0.02)
    table = small(device, path, precision=1.0)
    assert table.evidence["rounds"] == 20
    assert {entry.n for entry in table.entries.values()} == {20}
    assert not (tmp_path / "table.json.part").exists()
    assert "Whole networks" in (tmp_path / "table.html").read_text()
    prepared = device.num_prepared
    assert small(device, path).to_data() == table.to_data()
    assert device.num_prepared == prepared


def test_other_settings_are_refused_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    small(Counting(), path)
    with pytest.raises(ConfigurationError, match="seed 0 there, 1 now"):
        small(Counting(), path, seed=1)
    with pytest.raises(ConfigurationError, match=r'"threads": 1.* there, .*"threads": 2.* now'):
        small(Counting(threads=2), path)
    assert small(Counting(), path, seed=1, fresh=True).evidence["settings"]["seed"] == 1


def test_a_partial_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.json.part").write_text("{}")
    with pytest.raises(DataError, match="must be a measurement in progress"):
        small(Counting(), tmp_path / "table.json")


class Jumpy(Counting):
    """Some whole networks take another time at every block; after a while none do, unless it is `always` so."""

    always = False

    def prepare(self, model: Any, input_shape: Any) -> CountingRun:
        run = super().prepare(model, input_shape)
        if self.always or self.num_prepared in (1, 7, 8):
            run.run = lambda: float(np.exp(3 * self.rng.standard_normal()))  # type: ignore[method-assign]
        return run


def test_networks_that_are_too_noisy_are_left_out_and_counted(tmp_path: Path) -> None:
    table = small(Jumpy(), tmp_path / "table.json", num_validation=22)
    assert [i for i, row in enumerate(table.evidence["networks"]) if row["is_noisy"]] == [0, 6, 7]
    assert table.errors["num"] == 20
    assert table.errors["mape_percent"] < 0.1


def test_too_noisy_a_time_is_tried_again_and_not_kept(tmp_path: Path) -> None:
    table = small(Jumpy(), tmp_path / "table.json")  # 19 are needed, and first 17 are steady
    assert table.errors["num"] == 19
    always = Jumpy()
    always.always = True
    with pytest.raises(UserError, match=r"the error of \d+ of 24 is over 5% of their latency, in 2 tries"):
        small(always, tmp_path / "other.json")
    assert not (tmp_path / "other.json.part").exists()


@pytest.mark.parametrize(("what", "number"), [("num_validation", 18), ("num_calibration", 2)])
def test_too_few_networks_are_an_error(tmp_path: Path, what: str, number: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{what} must be"):
        small(Counting(), tmp_path / "table.json", **{what: number})


def test_the_line_is_that_of_least_squares_and_never_falls() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert calibrated(x, 0.5 + 3 * x) == pytest.approx((3.0, 0.5))
    assert calibrated(np.full(4, 2.0), x) == pytest.approx((1.0, 0.5))
    assert calibrated(x, 5 - x).slope == 1.0


def test_networks_are_distinct_where_there_are_enough() -> None:
    space = blocks().space
    drawn = draw_networks(space, 300, 0)
    assert len(np.unique(drawn, axis=0)) == 300
    np.testing.assert_array_equal(drawn, draw_networks(space, 300, 0))
    assert len(draw_networks(space, 800, 0)) == 800


@pytest.mark.slow
def test_a_real_device(tmp_path: Path) -> None:
    from onepath.latency import device

    table = profile(
        blocks(), device("onnxruntime-cpu", threads=1), SHAPE, path=tmp_path / "t.json", num_validation=19
    )
    assert table.errors["mape_percent"] < 25
    assert all(entry.mean >= 0 for entry in table.entries.values())
