"""`onepath rank --proxy-task` on a run of the tiny space: figures by hand, a kill, the page, mistakes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onepath.cli import main
from onepath.errors import ConfigurationError
from onepath.estimate import Estimate
from onepath.estimate.proxy import Proxy
from onepath.record import EstimateStore
from onepath.report.study_pages import table_of
from onepath.runs import Run, SilentProgress, TrainedNetwork, make_config, trainings
from onepath.studies import proxy_trainings, standalone_truth
from onepath.studies.comparison import RankOptions, Table
from onepath.studies.rank_proxies import rank_proxies

SPACE = f"{Path(__file__).parents[1] / 'runs' / 'tiny_space.py'}:build"
OPTIONS: dict[str, Any] = {"space": SPACE, "method": "random", "num": 1, "retrain_epochs": 4, "workers": 1}
FAST = RankOptions(num=6, num_resamples=50)
BOTH = Proxy(epochs=1, subset=0.5)

Score = Callable[[Proxy, float], float]


def opened(path: Path, **changes: Any) -> Run:
    return Run(make_config({**OPTIONS, "out": str(path), **changes}))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with opened(tmp_path / "run") as run:
        yield run


def table(run: Run, path: Path) -> Table:
    rows = [f'"{each}",{50 + place}' for place, each in enumerate(run.blank.space.enumerate())]
    path.write_text("\n".join(["architecture,test_accuracy", *rows]))
    return Table(path)


class Made:
    """Stands in for the trainings: the score of a network is a function of the proxy and of its truth in the table."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, score: Score, stop_after: int | None = None) -> None:
        self.trained: list[tuple[Proxy, str]] = []
        self._score, self._stop_after = score, stop_after
        monkeypatch.setattr(proxy_trainings, "standalone_of", lambda run, proxy: _Estimator(self, run, proxy))

    def estimate(self, run: Run, proxy: Proxy, architecture: Any) -> Estimate:
        if len(self.trained) == self._stop_after:
            raise KeyboardInterrupt
        self.trained.append((proxy, str(architecture)))
        truth = 50 + list(run.blank.space.enumerate()).index(architecture)
        score = self._score(proxy, truth)
        seconds = 2.0 * (proxy.epochs or 0) * proxy.subset
        return Estimate(0.1 if math.isnan(score) else score, score, seconds, 10)


class _Estimator:
    def __init__(self, made: Made, run: Run, proxy: Proxy) -> None:
        self._made, self._run, self._proxy = made, run, proxy

    def estimate(self, architecture: Any) -> Estimate:
        return self._made.estimate(self._run, self._proxy, architecture)


def by_hand(proxy: Proxy, truth: float) -> float:
    """Fewer epochs keep the order, a part of the data reverses it, both together fail on the best network."""
    if proxy == Proxy(1, subset=0.5):
        return math.nan if truth > 70 else truth / 100
    return -truth if proxy.subset < 1 else truth / 100


def test_the_table_has_the_figures_worked_out_by_hand(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch, by_hand)
    found = rank_proxies(run, BOTH, FAST, table=table(run, tmp_path / "t.csv"), num_whole=3)
    assert len(made.trained) == len(set(made.trained)) == 6 * 3 + 3
    assert [proxy for proxy, _ in made.trained[:4]] == [Proxy(1), Proxy(4, 0.5), BOTH, Proxy(4)]
    scores = found["evidence"]["scores"]
    taus = {name: figures["kendall_tau"]["value"] for name, figures in scores.items()}
    assert taus["epochs 1"] == taus["whole"] == 1
    assert taus["subset 0.5"] == -1, "a reversed order is not hidden"
    assert list(taus) == ["whole", "epochs 1", "subset 0.5", "all together", "macs", "params"]
    num_best = sum(row["truth"] > 70 for row in found["networks"])
    assert 0 < num_best < 6, "the draw has networks of both kinds"
    assert scores["all together"]["num_not_finite"] == num_best
    # Pairs: the same order below 70, ties above it, the reverse between them.
    low = 6 - num_best
    kept, reversed_, tied = low * (low - 1) // 2, low * num_best, num_best * (num_best - 1) // 2
    expected = (kept - reversed_) / math.sqrt(15 * (15 - tied))
    assert taus["all together"] == pytest.approx(expected)
    timings = found["timings"]
    assert {name: each["num"] for name, each in timings.items()} == dict.fromkeys(timings, 6) | {"whole": 3}
    assert [timings[name]["seconds"] for name in ("whole", "epochs 1", "subset 0.5")] == [8, 2, 4]
    assert [each["times_faster"] for each in timings.values()] == [1, 4, 2, 8, None, None]
    heads, rows = table_of(found["evidence"], timings)
    assert heads[0] == "proxy"
    assert [row[0] for row in rows] == [
        *("whole training", "epochs 1", "subset 0.5", "all together", "MACs", "parameters")
    ]
    assert rows[1][1:4] == ["6", "1.000 [1.000, 1.000]", "1.000 [1.000, 1.000]"]
    assert rows[2][2].startswith("-1.000")
    assert rows[3][4:] == [str(num_best), "1", "8"]
    assert rows[4][5:] == ["no training", "–"]
    assert [name for name in found["networks"][0] if name == "whole"], "it is drawn, too"
    assert "whole" not in found["networks"][3]


def test_a_killed_study_continues_and_none_is_trained_twice(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = table(run, tmp_path / "t.csv")
    with monkeypatch.context() as patch:
        first = Made(patch, by_hand, stop_after=7)
        with pytest.raises(KeyboardInterrupt):
            rank_proxies(run, BOTH, FAST, table=truth)
    with monkeypatch.context() as patch:
        rest = Made(patch, by_hand)
        found = rank_proxies(run, BOTH, FAST, table=truth)
    assert (len(first.trained), len(rest.trained), len({*first.trained, *rest.trained})) == (7, 11, 18)
    with monkeypatch.context() as patch:
        again = Made(patch, by_hand)
        assert rank_proxies(run, BOTH, FAST, table=truth) == found
        assert again.trained == []
        rank_proxies(run, Proxy(epochs=1, subset=0.25), FAST, table=truth, num_whole=1)
    assert {proxy for proxy, _ in again.trained} == {Proxy(4, 0.25), Proxy(1, 0.25), Proxy(4)}
    assert len(again.trained) == 6 + 6 + 1, "the proxy of fewer epochs was stored"


def test_without_whole_trainings_the_saved_time_is_not_known(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Made(monkeypatch, by_hand)
    found = rank_proxies(run, Proxy(epochs=1), FAST, table=table(run, tmp_path / "t.csv"))
    assert list(found["timings"]) == ["epochs 1", "macs", "params"]
    assert found["timings"]["epochs 1"]["times_faster"] is None
    assert "No whole training was timed" in found["notes"][-1]


def test_against_networks_trained_in_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from onepath.train import TrainingPoint

    Made(monkeypatch, by_hand)

    def train(_: Run, network: Any, **options: Any) -> TrainedNetwork:
        return TrainedNetwork(0.5, [TrainingPoint(9, 4.0, 0.1, 0.9, 0.1, 20.0)])

    monkeypatch.setattr(trainings, "train_network", train)
    monkeypatch.setattr(
        standalone_truth,
        "network_score",
        lambda run, network, _: float(sum(map(int, network.architecture.split(",")))),
    )
    found = rank_proxies(run, BOTH, FAST, num_whole=5)
    assert found["evidence"]["num"] == 5
    assert "whole" not in found["evidence"]["scores"]
    assert found["timings"]["whole"] == {"num": 5, "seconds": 20, "times_faster": 1}
    assert found["timings"]["epochs 1"]["times_faster"] == 10
    row = table_of(found["evidence"], found["timings"])[1][0]
    assert row == ["whole training", "5", "the truth", "–", "–", "20", "1"]
    assert "without recalibration and validation" in found["notes"][-1]
    with pytest.raises(ConfigurationError, match="3 networks or more"):
        rank_proxies(run, BOTH, FAST, num_whole=2)


class _Stopping(SilentProgress):
    """Interrupts as soon as so many trainings are stored."""

    def __init__(self, num: int) -> None:
        self._num = num

    def advance(self, done: int, detail: str = "") -> None:
        if done == self._num:
            raise KeyboardInterrupt


def test_real_trainings_in_two_processes_are_those_of_one(tmp_path: Path) -> None:
    options, proxy = RankOptions(num=2, num_resamples=0), Proxy(subset=0.1, resolution=6)
    with opened(tmp_path / "alone", retrain_epochs=1) as run:
        alone = rank_proxies(run, proxy, options, table=table(run, tmp_path / "t.csv"), num_whole=1)
    path = tmp_path / "together"
    with opened(path, workers=2, retrain_epochs=1) as run:
        truth = table(run, tmp_path / "t.csv")
        run.progress = _Stopping(3)
        with pytest.raises(KeyboardInterrupt):
            rank_proxies(run, proxy, options, table=truth, num_whole=1)
        stored = times(path)
        assert len(stored) == 3
        run.progress = SilentProgress()
        found = rank_proxies(run, proxy, options, table=truth, num_whole=1)
    assert len(times(path)) == 7
    assert {each: times(path)[each] for each in stored} == stored, "not made again"
    assert found["networks"] == alone["networks"]
    assert found["timings"]["all together"]["seconds"] > 0


def times(path: Path) -> dict[tuple[str, str], float]:
    with EstimateStore(path / "estimates.sqlite") as store:
        rows = store._read("SELECT setting, architecture, seconds FROM estimates")
    return {(setting, architecture): seconds for setting, architecture, seconds in rows}


def test_the_command_prints_and_writes_the_table(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Made(monkeypatch, by_hand)
    truth = table(run, tmp_path / "t.csv").path
    run.close()
    command = ["rank", str(run.path), "--space", SPACE, "--truth", str(truth), "--num", "6"]
    command += ["--resamples", "20", "--proxy-task", "epochs=1,subset=0.5"]
    assert main([*command, "--standalone", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (head,) = (line for line in lines if line.startswith("proxy"))
    assert "seconds a network" in head
    assert any(line.startswith("all together") for line in lines)
    page = (run.path / "ranking.html").read_text()
    assert "Proxy tasks against t.csv" in page
    assert "<th>times faster</th>" in page
    assert "no training" in page
    assert "<script src" not in page
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    stored = json.loads((run.path / "ranking.json").read_text())
    assert stored["proxy-task-truth"]["timings"] == found["timings"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("RUN", "--proxy-task", "epochs=1"), "one of --truth and --standalone, but got neither"),
        (("RUN", "--truth", "t.csv", "--proxy-task", "epoch=1"), "name=number"),
        (("RUN", "--truth", "t.csv", "--proxy-task", "epochs=1", "--score", "loss"), "--score is about"),
        (
            ("RUN", "--truth", "t.csv", "--proxy-task", "epochs=1", "--validation-images", "9"),
            "--validation-images is",
        ),
        (("--truth", "t.csv", "--proxy-task", "epochs=1"), "needs a run directory"),
        (
            ("--proxy", "params", "--space", "nasbench201", "--truth", "t.csv", "--proxy-task", "epochs=1"),
            "--proxy-task belongs to a run",
        ),
        (("missing", "--standalone", "4", "--proxy-task", "epochs=1"), "missing"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], word: str
) -> None:
    assert main(["rank", *arguments]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
