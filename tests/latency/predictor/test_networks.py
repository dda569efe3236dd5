"""Measured pairs: kept, continued, never mixed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from latency.predictor.pairs_of_a_law import Counting, deep_space, small_supernet

import onepath as op
from onepath.errors import ConfigurationError, DataError, SpaceError
from onepath.latency.predictor import (
    NetworkPredictor,
    hat_space,
    measure_pairs,
    profile_networks,
    random_architectures,
    read_pairs,
)

SHAPE = (3, 8, 8)


def test_measures_what_the_device_says(tmp_path: Path) -> None:
    supernet = small_supernet()
    pairs = measure_pairs(supernet, Counting(), SHAPE, 10, path=tmp_path / "p.json", space_name="small")
    assert len(set(pairs.labels)) == 10
    for label, latency_ms in zip(pairs.labels, pairs.latencies_ms, strict=True):
        assert latency_ms == pytest.approx(0.01 * op.cost.params(supernet, supernet.space.parse(label)))
    assert pairs.device["name"] == "counting"
    assert (pairs.space_name, pairs.input_shape) == ("small", SHAPE)
    stored = json.loads((tmp_path / "p.json").read_text())
    assert stored["pairs"][0].keys() == {
        "architecture",
        "latency_ms",
        "iqr_ms",
        "repeats",
        "threads",
        "is_noisy",
        "reference_ms",
    }


def test_continues_after_a_kill(tmp_path: Path) -> None:
    supernet, whole, killed = small_supernet(), tmp_path / "whole.json", tmp_path / "killed.json"
    measure_pairs(supernet, Counting(), SHAPE, 11, path=whole, num_together=4)
    with pytest.raises(KeyboardInterrupt):
        measure_pairs(supernet, Counting(stop_after=7), SHAPE, 11, path=killed, num_together=4)
    assert len(json.loads(killed.read_text())["pairs"]) == 4
    second = Counting()
    measure_pairs(supernet, second, SHAPE, 11, path=killed, num_together=4)
    # Two groups are left, each with the network that is measured every time.
    assert second.num_prepared == 7 + 2
    assert killed.read_bytes() == whole.read_bytes()


def test_continues_with_more_networks(tmp_path: Path) -> None:
    supernet, device, path = small_supernet(), Counting(), tmp_path / "p.json"
    first = measure_pairs(supernet, device, SHAPE, 5, path=path)
    second = measure_pairs(supernet, device, SHAPE, 9, path=path)
    assert second.labels[:5] == first.labels
    assert device.num_prepared == 9 + 2
    measure_pairs(supernet, device, SHAPE, 9, path=path)
    assert device.num_prepared == 9 + 2


def test_a_machine_that_slows_down_does_not_change_the_pairs(tmp_path: Path) -> None:
    """Each group of networks at a speed of its own: latencies are those of the median speed."""
    supernet, speeds = small_supernet(), (1.0, 1.7, 2.0)
    device = Counting()
    for number, speed in enumerate(speeds):
        device.slowness = speed
        pairs = measure_pairs(supernet, device, SHAPE, 5 * (number + 1), path=tmp_path / "p.json")
    exact = [0.01 * op.cost.params(supernet, supernet.space.parse(label)) for label in pairs.labels]
    assert np.allclose(pairs.latencies_ms, 1.7 * np.array(exact))


def test_noisy_networks_are_kept_but_not_used(tmp_path: Path) -> None:
    pairs = measure_pairs(small_supernet(), Counting(noisy=True), SHAPE, 12, path=tmp_path / "p.json")
    rows = json.loads((tmp_path / "p.json").read_text())["pairs"]
    flagged = [row["architecture"] for row in rows if row["is_noisy"]]
    assert len(rows) == 12
    assert 0 < len(flagged) < 12
    assert pairs.num_noisy == len(flagged)
    assert not set(pairs.labels) & set(flagged)


def test_too_few_steady_networks_are_measured_again_by_a_later_call(tmp_path: Path) -> None:
    supernet, path = small_supernet(), tmp_path / "p.json"
    first = measure_pairs(supernet, Counting(noisy=True), SHAPE, 12, path=path)
    quiet = Counting()
    second = measure_pairs(supernet, quiet, SHAPE, 12, path=path)
    assert first.num_noisy > 0 == second.num_noisy
    assert first.num_noisy < quiet.num_prepared < 12, "only the noisy ones, and the reference with them"
    labels = [row["architecture"] for row in json.loads(path.read_text())["pairs"]]
    assert labels == [str(one) for one in random_architectures(supernet.space, 12, 0)]


def test_refuses_to_continue_another_measurement(tmp_path: Path) -> None:
    path, supernet = tmp_path / "p.json", small_supernet()
    measure_pairs(supernet, Counting(threads=1), SHAPE, 4, path=path, space_name="small")
    with pytest.raises(DataError, match=r"the same space; it holds small \(.*\), and now there is large \("):
        measure_pairs(small_supernet(5), Counting(threads=1), SHAPE, 8, path=path, space_name="large")
    with pytest.raises(DataError, match="the same space"):
        measure_pairs(small_supernet(4, width=6), Counting(threads=1), SHAPE, 8, path=path)
    with pytest.raises(DataError, match=r"the same device; .*'threads': 1.*'threads': 2"):
        measure_pairs(supernet, Counting(threads=2), SHAPE, 8, path=path)
    with pytest.raises(DataError, match="the same input_shape"):
        measure_pairs(supernet, Counting(threads=1), (3, 9, 9), 8, path=path)
    with pytest.raises(DataError, match="the same seed"):
        measure_pairs(supernet, Counting(threads=1), SHAPE, 8, path=path, seed=1)
    with pytest.raises(SpaceError, match="is of small, not of"):
        read_pairs(path, space=deep_space())
    path.write_text("[]")
    with pytest.raises(DataError, match="cannot be read"):
        measure_pairs(supernet, Counting(threads=1), SHAPE, 8, path=path)


@pytest.mark.parametrize("space", [deep_space(), hat_space()], ids=["small", "large"])
def test_architectures_are_distinct_and_a_prefix_of_more(space: op.SearchSpace) -> None:
    few, many = random_architectures(space, 30, 0), random_architectures(space, 80, 0)
    assert len(set(many)) == 80
    assert many[:30] == few
    assert random_architectures(space, 80, 1) != many


def test_a_small_space_is_measured_whole(tmp_path: Path) -> None:
    supernet = small_supernet(2)
    pairs = measure_pairs(supernet, Counting(), SHAPE, 9, path=tmp_path / "p.json")
    assert len(set(pairs.labels)) == 9
    with pytest.raises(ConfigurationError, match="it has 9, not 10"):
        measure_pairs(supernet, Counting(), SHAPE, 10, path=tmp_path / "q.json")


def test_profile_writes_predictor_pairs_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onepath.latency.predictor import network_predictor

    recipe = network_predictor.MlpRecipe(width=8, num_steps=5)
    monkeypatch.setattr(network_predictor, "MlpRecipe", lambda: recipe)
    monkeypatch.setattr("onepath.latency.predictor.mlp.MlpRecipe", lambda: recipe)
    supernet, path, seen = small_supernet(), tmp_path / "p.safetensors", []
    predictor = profile_networks(
        supernet, Counting(), SHAPE, 60, path=path, progress=lambda done, num: seen.append((done, num))
    )
    assert {file.name for file in tmp_path.iterdir()} == {
        "p.safetensors",
        "p.pairs.json",
        "p.report.json",
        "p.report.html",
    }
    assert seen[0] == (0, 60)
    assert seen[-1] == (60, 60)
    space = supernet.space
    matrix = space.sample(20, np.random.default_rng(0))
    exact = [0.01 * op.cost.params(supernet, found) for found in space.architectures(matrix)]
    assert predictor.winner == "ridge"
    assert np.allclose(NetworkPredictor.load(path).predict(space, matrix), exact, rtol=1e-6)
    assert predictor.error_ms_95 < 1e-5
    predictor.check_network(small_supernet())
    with pytest.raises(ConfigurationError, match="wider has the same choices and other layers"):
        NetworkPredictor.load(path).check_network(small_supernet(4, width=6), "wider")
    with pytest.raises(ConfigurationError, match="20 networks or more, but got 19"):
        profile_networks(supernet, Counting(), SHAPE, 19, path=path)
    with pytest.raises(ConfigurationError, match=r"end in \.safetensors"):
        profile_networks(supernet, Counting(), SHAPE, 60, path=tmp_path / "p.json")
