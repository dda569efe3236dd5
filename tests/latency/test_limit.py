"""The limit in milliseconds: bound to a supernet, refused where the predictor is of something else; confirmation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))

from fake_device import Fake, Noisy, law_ms
from tiny_space import build

from onepath import MaxLatency
from onepath.errors import ConfigurationError, InfeasibleError, RunDirectoryError, UserError
from onepath.latency import LatencyTable, OnnxDevice, Reference, confirm, load_predictor, profile
from onepath.latency.confirm import PAUSES_SECONDS
from onepath.latency.limit import known_network
from onepath.latency.predictor import MlpRecipe, NetworkPredictor, fit_predictor, measure_pairs
from onepath.methods.supernet_search import feasible_set
from onepath.nn import Supernet
from onepath.space import Choice, SearchSpace

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return Supernet(build(10))


@pytest.fixture(scope="module")
def table(supernet: Supernet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.json"
    profile(supernet, Fake(), SHAPE, path=path, space_name="tiny")
    return path


def matrix_of(supernet: Supernet) -> Any:
    return supernet.space.matrix(list(supernet.space.enumerate()))


def measured(supernet: Supernet) -> np.ndarray[Any, Any]:
    networks = [supernet.extract(found, inherit=False) for found in supernet.space.enumerate()]
    return np.array([law_ms(network) for network in networks])


def test_the_bound_is_additive_and_its_sampling_exact(supernet: Supernet, table: Path) -> None:
    matrix, truth = matrix_of(supernet), measured(supernet)
    bound = MaxLatency(Fake(), 0.3, table).bind(supernet, SHAPE)
    assert (bound.name, bound.unit, bound.maximum) == ("max_latency_ms", "ms", 0.3)
    np.testing.assert_allclose(bound.costs(matrix), truth, rtol=1e-6)
    legal = feasible_set(supernet, SHAPE, [MaxLatency(Fake(), 0.305, table)])
    drawn = legal.sample(500, np.random.default_rng(0))
    allowed = {row.tobytes() for row in matrix[truth <= 0.305]}
    assert {row.tobytes() for row in drawn} == allowed
    assert bound.table is not None
    assert supernet.space.count_within(bound.table, None, 0.305) == len(allowed) < len(matrix)


def test_without_a_predictor_a_table_is_profiled_once(supernet: Supernet) -> None:
    class Counting(Fake):
        num = 0

        def prepare(self, model: Any, input_shape: Sequence[int]) -> Any:
            type(self).num += 1
            return super().prepare(model, input_shape)

    limit = MaxLatency(Counting(), 0.3)
    bound = limit.bind(supernet, SHAPE)
    num = Counting.num
    assert limit.bind(supernet, SHAPE).costs(matrix_of(supernet)) == pytest.approx(measured(supernet))
    assert bound.table is not None
    assert Counting.num == num > 50


def test_a_network_predictor_screens_too(supernet: Supernet, tmp_path: Path) -> None:
    pairs = measure_pairs(supernet, Fake(), SHAPE, 27, path=tmp_path / "pairs.json")
    fit_predictor(pairs, recipe=MlpRecipe(num_steps=20)).save(tmp_path / "predictor.safetensors")
    predictor = load_predictor(tmp_path / "predictor.safetensors")
    assert isinstance(predictor, NetworkPredictor)
    bound = MaxLatency(Fake(), 0.3, tmp_path / "predictor.safetensors").bind(supernet, SHAPE)
    matrix = matrix_of(supernet)
    np.testing.assert_allclose(bound.costs(matrix), predictor.predict(supernet.space, matrix), rtol=1e-9)
    legal = feasible_set(supernet, SHAPE, [MaxLatency(Fake(), 0.3, predictor)])
    assert legal.is_legal(legal.sample(50, np.random.default_rng(0))).all()


def test_an_unreachable_limit_names_the_smallest_prediction(supernet: Supernet, table: Path) -> None:
    smallest = measured(supernet).min()
    with pytest.raises(
        InfeasibleError, match=r"max_latency_ms must be at least the smallest.*got 0.05 ms"
    ) as e:
        feasible_set(supernet, SHAPE, [MaxLatency(Fake(), 0.05, table)]).sample(1, np.random.default_rng(0))
    assert f"{smallest:.4g}"[:4] in str(e.value)
    assert "\n" not in str(e.value)


def test_what_does_not_fit_is_refused_with_both_names(supernet: Supernet, table: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"it is of fake, and now it is noisy"):
        MaxLatency(Noisy(), 0.3, table).bind(supernet, SHAPE)
    with pytest.raises(ConfigurationError, match=r"fake with threads \d+, and now it is 7"):
        MaxLatency(Fake(threads=7), 0.3, table).bind(supernet, SHAPE)
    with pytest.raises(ConfigurationError, match="it is of tiny, and this network has other sizes"):
        MaxLatency(Fake(), 0.3, table).bind(Supernet(build(10, channels=4)), SHAPE)
    with pytest.raises(ConfigurationError, match="it is of 8x8x1, and now it is 9x9x1"):
        MaxLatency(Fake(), 0.3, table).bind(supernet, (1, 9, 9))
    loaded = LatencyTable.load(table)
    with pytest.raises(ConfigurationError, match=r"it is of tiny .*, and now it is a space of 1 choices"):
        loaded.check(SearchSpace([Choice("a", [1, 2])]))
    energy = LatencyTable.from_data({**loaded.to_data(), "unit": "mJ"})
    with pytest.raises(ConfigurationError, match="needs a table in ms, but that of tiny is in mJ"):
        MaxLatency(Fake(), 0.3, energy).bind(supernet, SHAPE)


def test_mistakes_in_the_arguments(tmp_path: Path) -> None:
    for ms in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="max_latency_ms must be finite and over 0"):
            MaxLatency(Fake(), ms)
    with pytest.raises(ConfigurationError, match="did you mean onnxruntime-cpu"):
        MaxLatency("onnxruntime-cp", 1)
    with pytest.raises(RunDirectoryError, match="no such file"):
        MaxLatency(Fake(), 1, tmp_path / "absent.json")
    assert repr(MaxLatency(Fake(), 1.5)) == "MaxLatency('fake', 1.5)"


def test_the_slowest_session_counts() -> None:
    class Slowing(Fake):
        sessions = 0

        def prepare(self, model: Any, input_shape: Sequence[int]) -> Any:
            type(self).sessions += 1
            prepared = super().prepare(model, input_shape)
            factor = 1 + 0.1 * (type(self).sessions % 3)
            run = prepared.run
            prepared.run = lambda: factor * run()  # type: ignore[method-assign]
            return prepared

    found = confirm(Slowing(), nn.Conv2d(1, 1, 3), SHAPE)
    assert found.median_ms == pytest.approx(1.2 * 0.19)
    assert not found.is_noisy
    assert Slowing.sessions == 3


def test_a_network_over_the_limit_is_measured_once() -> None:
    class Counting(Fake):
        sessions = 0

        def prepare(self, model: Any, input_shape: Sequence[int]) -> Any:
            type(self).sessions += 1
            return super().prepare(model, input_shape)

    found = confirm(Counting(), nn.Conv2d(1, 1, 3), SHAPE, limit_ms=0.18)
    assert (found.median_ms, Counting.sessions) == (pytest.approx(0.19), 1)
    confirm(Counting(), nn.Conv2d(1, 1, 3), SHAPE, limit_ms=0.2)
    assert Counting.sessions == 1 + 1 + 3


def test_a_slow_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)

    class Recovering(Fake):
        """Twice as slow until it has been waited for twice."""

        def prepare(self, model: Any, input_shape: Sequence[int]) -> Any:
            prepared = super().prepare(model, input_shape)
            run = prepared.run
            prepared.run = lambda: run() * (2 if len(slept) < 2 else 1)  # type: ignore[method-assign]
            return prepared

    network, known = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 1)
    waits: list[tuple[float, float]] = []
    found = confirm(
        *(Recovering(), network, SHAPE),
        limit_ms=0.2,
        reference=Reference(known, law_ms(known)),
        on_wait=lambda *wait: waits.append(wait),
    )
    assert waits == [(pytest.approx(2), seconds) for seconds in PAUSES_SECONDS[:2]]
    assert found.median_ms == pytest.approx(law_ms(network))
    assert slept == list(PAUSES_SECONDS[:2])
    slept.clear()
    assert confirm(Recovering(), network, SHAPE, limit_ms=0.2).median_ms == pytest.approx(2 * law_ms(network))


@pytest.mark.parametrize("slowness", [0.5, 1.0, 3.0])
def test_a_reference_that_scales_takes_the_speed_of_the_machine_out(
    slowness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("nothing is waited for"))

    class Machine(Fake):
        def prepare(self, model: Any, input_shape: Sequence[int]) -> Any:
            prepared = super().prepare(model, input_shape)
            run = prepared.run
            prepared.run = lambda: slowness * run()  # type: ignore[method-assign]
            return prepared

    network, known = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 1)
    reference = Reference(known, law_ms(known), scales=True)
    found = confirm(Machine(), network, SHAPE, limit_ms=1.1 * law_ms(network), reference=reference)
    assert found.median_ms == pytest.approx(law_ms(network))
    assert found.is_within(1.01 * law_ms(network))
    assert not found.is_within(0.99 * law_ms(network))


def test_a_machine_that_stays_slow_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    network = nn.Conv2d(1, 1, 3)
    with pytest.raises(
        UserError, match=r"a network of 0.15 ms on fake takes 0.19 ms now; run the same"
    ) as caught:
        confirm(Fake(), network, SHAPE, reference=Reference(network, 0.15))
    assert "\n" not in str(caught.value)
    assert slept == list(PAUSES_SECONDS)
    faster = confirm(Fake(), network, SHAPE, reference=Reference(network, 0.3))
    assert faster.median_ms == pytest.approx(0.19)


def test_the_known_network_is_a_measured_one_in_the_middle(supernet: Supernet, table: Path) -> None:
    loaded = LatencyTable.load(table)
    known = known_network(loaded)
    assert known is not None
    assert known[1] == pytest.approx(law_ms(supernet.extract(supernet.space.parse(known[0]), inherit=False)))
    levels = sorted(row["measured_ms"] for row in loaded.evidence["networks"])
    assert known[1] == levels[len(levels) // 2]
    assert known_network(LatencyTable.from_data({**loaded.to_data(), "evidence": {}})) is None


def test_noise_is_flagged() -> None:
    found = confirm(Noisy(), nn.Conv2d(1, 1, 3), SHAPE, limit_ms=1.0)
    assert found.is_noisy
    assert found.iqr_ms > 0.1 * found.median_ms


def test_a_runtime_of_files_is_given_the_file_that_is_handed_over() -> None:
    import onnx

    class Files(OnnxDevice):
        name = "files"
        names: ClassVar[list[int]] = []

        def prepare_file(self, path: Path, input_shape: Sequence[int]) -> Any:
            graph = onnx.load(path).graph
            self.names.append(len(graph.input[0].type.tensor_type.shape.dim[0].dim_param))
            return Fake().prepare(nn.Conv2d(1, 1, 3), input_shape)

    confirm(Files(), nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), SHAPE)
    # A free batch, by name: the quick form for timing has it fixed.
    assert len(Files.names) == 3
    assert all(Files.names)
