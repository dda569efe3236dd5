"""Runs under a limit in milliseconds: held by measuring, resumed without measuring again, several in one go."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from run_processes import OPTIONS, TINY, Runner, without_times

from onepath import runs
from onepath.cli import main
from onepath.errors import ConfigurationError, InfeasibleError, RunDirectoryError, UserError
from onepath.latency import device, profile
from onepath.latency.catalogue import DEVICES
from onepath.latency.predictor import MlpRecipe
from onepath.nn import Supernet
from onepath.own_code import load_own
from onepath.record import RunRecord
from onepath.report.page import content
from onepath.runs.latencies import Latencies
from onepath.runs.progress import SilentProgress
from onepath.runs.run_job import RunJob
from onepath.spaces import build

pytestmark = pytest.mark.usefixtures("one_thread")

FAKE = Path(__file__).parents[1] / "latency" / "fake_device.py"
LIMITED: dict[str, Any] = {
    **OPTIONS,
    "max_macs": None,
    "retrain_from": "scratch",
    "device_threads": 1,
}
# The stem has 9 weights of a kernel; a block 0, 1 or 9: from 0.19 to 0.46 ms.
SMALLEST_MS = 0.19


def law_of(architecture: str) -> float:
    """What the fake device takes for a network of the tiny space."""
    return SMALLEST_MS + sum((0.0, 0.01, 0.09)[int(option)] for option in architecture.split(","))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the device and its latency table."""
    path = tmp_path_factory.mktemp("device")
    shutil.copy(FAKE, path / "fake_device.py")
    supernet = build(TINY, 10, in_channels=1)
    fake = device(f"{path}/fake_device.py:Fake", threads=1)
    profile(supernet, fake, (1, 8, 8), path=path / "table.json", space_name="tiny")
    return path


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of it whose device notes what it prepares."""
    path = tmp_path / "device"
    shutil.copytree(folder, path)
    (path / "log.txt").touch()
    return path


def options(path: Path, limit: object, kind: str = "Fake", **more: Any) -> dict[str, Any]:
    named = f"{path}/fake_device.py:{kind}"
    return {**LIMITED, "device": named, "latency_table": path / "table.json", "max_latency_ms": limit, **more}


def searched(out: Path, given: dict[str, Any]) -> RunRecord:
    """A run up to the end of its search, in this process."""
    config = runs.make_config(
        {
            **{name: str(value) if isinstance(value, Path) else value for name, value in given.items()},
            "out": str(out),
        }
    )
    with runs.Run(config) as run:
        for stage in ("train", "search"):
            runs.run_stage(run, stage)
    return RunRecord.load(out)


def too_hopeful(path: Path, factor: float) -> None:
    """Let the table of the folder predict so many times less than is true."""
    table = json.loads((path / "table.json").read_text())
    calibration = {name: value / factor for name, value in table["calibration"].items()}
    (path / "table.json").write_text(json.dumps({**table, "calibration": calibration}))


class Told(SilentProgress):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def num_prepared(path: Path) -> int:
    return len((path / "log.txt").read_text().splitlines())


@pytest.fixture(scope="module")
def limited(runner: Runner, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An uninterrupted run under two limits without a table, and the folder of its device."""
    own = tmp_path_factory.mktemp("limited") / "device"
    shutil.copytree(folder, own)
    (own / "log.txt").touch()
    out = own.parent / "run"
    assert runner(out, **options(own, "0.305,0.215", latency_table=None)) == 0
    (own / "num.txt").write_text(str(num_prepared(own)))
    return out, own


def test_the_winner_is_measured_within_its_limit(limited: tuple[Path, Path]) -> None:
    out, _ = limited
    record = RunRecord.load(out)
    result = record.result
    winner = record.networks[0].architecture
    assert result["constraints"]["max_latency_ms"] == 0.305
    assert result["constraints"]["device"].endswith("fake_device.py:Fake")
    assert result["cost"]["latency_ms"] == pytest.approx(law_of(winner))
    assert result["cost"]["latency_predicted_ms"] == pytest.approx(law_of(winner))
    assert result["cost"]["latency_device"] == "fake"
    legal = [trial for trial in record.trials if law_of(trial.architecture) <= 0.305]
    assert legal == record.trials
    best = max(legal, key=lambda trial: (trial.accuracy, -(trial.loss or 0), -trial.number))
    assert winner == best.architecture
    measured = record.stages["latency"]["record"]["measured"]
    assert set(measured) == {row.architecture for row in record.networks}
    assert all(law_of(row.architecture) <= 0.305 for row in record.networks)
    assert record.stages["profile"]["record"]["error_ms_95"] == pytest.approx(0, abs=1e-9)
    assert (out / "latency-table.json").is_file()


def test_every_limit_has_a_winner_as_a_run_of_its_own(
    limited: tuple[Path, Path], runner: Runner, tmp_path: Path
) -> None:
    out, own = limited
    result = json.loads((out / "result.json").read_text())
    inner = json.loads((out / "limit-0.215ms" / "result.json").read_text())
    assert [winner["max_latency_ms"] for winner in result["winners"]] == [0.305, 0.215]
    assert [winner["path"] for winner in result["winners"]] == [".", "limit-0.215ms"]
    for winner, whole in zip(result["winners"], (result, inner), strict=True):
        for key in ("architecture", "cost", "accuracy", "random_baseline", "files"):
            assert winner[key] == whole[key]
        assert winner["cost"]["latency_ms"] <= winner["max_latency_ms"]
        assert (out / winner["path"] / "model.onnx").is_file()
    alone = tmp_path / "alone"
    assert runner(alone, **options(own, 0.215)) == 0
    expected, found = without_times(alone), without_times(out / "limit-0.215ms")
    assert found["weights"] == expected["weights"]
    assert found["trials"] == expected["trials"]
    assert found["networks"] == expected["networks"]


def test_the_report_shows_predictions_measurements_and_the_front(limited: tuple[Path, Path]) -> None:
    out, _ = limited
    shown = content(RunRecord.load(out))
    section = shown["latency"]
    assert "The limit was 0.305\u00a0ms on fake, 1 thread." in section["text"]
    assert [row.name for row in section["rows"]] == ["Winner", "Random 1", "Random 2"]
    assert all(row.is_within and row.predicted_ms is not None for row in section["rows"][:1])
    figures = {figure["id"]: figure for figure in shown["figures"]}
    stars = figures["front-of-limits"]["data"][0]
    assert stars["text"] == ["≤ 0.215 ms", "≤ 0.305 ms"]
    points = figures["score-against-latency"]["data"][0]
    trials = RunRecord.load(out).trials
    assert points["x"] == pytest.approx([law_of(trial.architecture) for trial in trials])
    page = (out / "report.html").read_text()
    assert "The winners of all limits" in page
    assert "within the limit" in page
    assert "The winners of all limits" not in (out / "limit-0.215ms" / "report.html").read_text()
    assert "--max-latency-ms 0.305,0.215" in page
    card = next(card for card in shown["cards"] if card.title == "Latency")
    assert "limit 0.305\u00a0ms" in card.note


def test_a_killed_run_measures_nothing_again(
    limited: tuple[Path, Path], runner: Runner, folder: Path, tmp_path: Path
) -> None:
    finished, other = limited
    own = tmp_path / "device"
    shutil.copytree(folder, own)
    (own / "log.txt").touch()
    out = tmp_path / "run"
    given = options(own, "0.305,0.215", latency_table=None)
    runner.evaluated()
    moments = [
        ("measuring the latency table", 0),
        ("training", 3),
        ("measuring on", 1),
        ("measuring the random baseline", 1),
        ("exporting", 3),
        ("writing the report", 1),
    ]
    for moment in moments:
        assert runner(out, moment, **given) == -9, f"not killed at {moment}"
        if moment[0] == "measuring the latency table":
            # The candidates are timed in rounds side by side: after a kill all are prepared again.
            (own / "log.txt").write_text("")
    assert runner(out, **given) == 0
    assert num_prepared(own) == int((other / "num.txt").read_text())
    for path in (".", "limit-0.215ms"):
        first, second = without_times(out / path), without_times(finished / path)
        for found in (first, second):
            found["result"].pop("constraints")
            found["result"].pop("winners")
        assert first == second
        costs = [json.loads((run / path / "result.json").read_text())["cost"] for run in (out, finished)]
        assert costs[0] == costs[1]


def test_a_finished_run_is_read_again_and_fresh_clears_every_limit(
    limited: tuple[Path, Path], runner: Runner, tmp_path: Path
) -> None:
    finished, own = limited
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    given = options(own, "0.305,0.215", latency_table=None)
    (own / "fake_device.py").rename(own / "gone.py")  # the device is not asked
    try:
        before = {file: file.stat().st_mtime_ns for file in out.rglob("*.json")}
        assert runs.run("digits", out=out, **given).result == json.loads((out / "result.json").read_text())
        assert {file: file.stat().st_mtime_ns for file in out.rglob("*.json")} == before
    finally:
        (own / "gone.py").rename(own / "fake_device.py")
    table = (out / "latency-table.json").stat().st_mtime_ns
    config = runs.make_config({**options(own, 0.305, latency_table=None), "out": str(out)})
    with runs.Run(config, fresh=True):
        assert not (out / "limit-0.215ms").exists()
        assert not (out / "result.json").exists()
        assert (out / "latency-table.json").stat().st_mtime_ns == table  # it took minutes, and fits
    with runs.Run(config.model_copy(update={"space_arguments": {"channels": 4}}), fresh=True):
        assert not (out / "latency-table.json").exists()


def test_a_table_that_promises_too_much_is_corrected_by_what_is_measured(
    own: Path, runner: Runner, tmp_path: Path
) -> None:
    too_hopeful(own, 1.25)
    given = options(own, 0.305)
    record = searched(tmp_path / "run", given)
    winner = record.stages["search"]["record"]["winner"]
    measured = record.stages["latency"]["record"]["measured"]
    assert list(measured)[-1] == winner
    assert measured[winner]["median_ms"] == pytest.approx(law_of(winner))
    assert measured[winner]["median_ms"] <= 0.305
    screen = record.stages["search"]["record"]["screen_ms"]
    if len(measured) > 1:
        assert all(found["median_ms"] > 0.305 for name, found in measured.items() if name != winner)
    # 0.305 ms are 0.244 ms of the table.
    assert screen in (0.305, pytest.approx(0.244))
    assert len({trial.architecture for trial in record.trials}) == len(record.trials)


def test_a_search_that_goes_on_is_resumed(own: Path, runner: Runner, tmp_path: Path) -> None:
    """Everything near the limit is over it: only a second search, under a tightened screen, finds a winner."""
    too_hopeful(own, 1.5)
    given = options(own, 0.195, population=3, generations=0)
    expected = searched(tmp_path / "one", given)
    record = expected.stages["search"]["record"]
    assert record["screen_ms"] == pytest.approx(0.195 / 1.5)
    assert record["winner"] == "0,0,0"
    num = num_prepared(own)
    (own / "log.txt").write_text("")
    out = tmp_path / "two"
    assert runner(out, ("measuring on", 2), **given) == -9
    assert runner(out, ("searching under", 1), **given) == -9
    found = searched(out, given)
    assert found.stages["search"]["record"] == record
    assert num_prepared(own) == num
    assert [replace(trial, seconds=0.0) for trial in found.trials] == [
        replace(trial, seconds=0.0) for trial in expected.trials
    ]


def test_a_limit_that_the_fastest_network_misses_is_an_error_before_training(
    own: Path, tmp_path: Path
) -> None:
    too_hopeful(own, 10)
    for limits in (0.15, "0.305,0.15"):
        out = tmp_path / f"run{limits}"
        for _ in range(2):
            with pytest.raises(InfeasibleError) as caught:
                searched(out, options(own, limits, population=4))
            assert str(caught.value) == (
                "a network must be measured within max_latency_ms on fake, but got 0.15 ms, and the one of the "
                "smallest predicted latency, 0.019 ms, takes 0.19 ms with its spread; raise max_latency_ms"
            )
        record = RunRecord.load(out)
        assert record.curves == {}
        assert not record.stages["profile"]["done"]
        assert list(record.stages["latency"]["record"]["measured"]) == ["0,0,0"]


def test_a_table_is_kept_for_later_runs_until_the_machine_changes(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEPATH_CACHE", str(tmp_path / "cache"))
    nums, notes = [], []
    for name, factor in (("first", 1.0), ("second", 1.05), ("third", 1.3), ("fourth", 1.3)):
        (own / "factor.txt").write_text(str(factor))
        (own / "log.txt").write_text("")
        given = options(own, 0.305 * factor, latency_table=None, seed=len(nums), out=str(tmp_path / name))
        progress = Told()
        with runs.Run(runs.make_config(given), progress=progress) as run:
            run.latencies.prepare()
        nums.append(num_prepared(own))
        notes.append([note for note in progress.notes if "latency table" in note])
    # Everything is prepared to profile; three known networks, and the fastest one, to use what is kept.
    assert nums[0] > 50
    assert nums[1] == nums[3] == 3 + 1
    assert nums[2] == nums[0] + 3 * 3  # three sessions
    old = r"it is \d+ seconds? old, and known networks take"
    assert notes[0] == []
    assert re.search(f"^using a latency table that was kept .*: {old} 1.05 times as long", *notes[1])
    assert re.search(f"^profiling anew, .*: {old} 1.30 times as long", *notes[2])
    assert re.search(f"^using a latency table that was kept .*: {old} 1.00 times as long", *notes[3])
    first, second, fourth = (tmp_path / name / "latency-table.json" for name in ("first", "second", "fourth"))
    assert first.read_bytes() == second.read_bytes() != fourth.read_bytes()
    assert second.with_suffix(".html").is_file()
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_fresh_run_of_another_seed_takes_the_table_that_is_there(own: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        given = options(own, 0.305, latency_table=None, seed=seed, out=str(tmp_path / "run"))
        with runs.Run(runs.make_config(given), fresh=seed == 1) as run:
            run.latencies.prepare()
        if seed == 0:
            table = (tmp_path / "run" / "latency-table.json").read_bytes()
    assert (tmp_path / "run" / "latency-table.json").read_bytes() == table


def test_noise_does_not_refuse_a_limit(own: Path, tmp_path: Path) -> None:
    table = json.loads((own / "table.json").read_text())
    (own / "table.json").write_text(json.dumps({**table, "device": "noisy"}))
    config = runs.make_config({**options(own, 0.2, "Noisy"), "latency_table": str(own / "table.json")})
    with runs.Run(config.model_copy(update={"out": str(tmp_path / "run")})) as run:
        run.latencies.prepare()
        assert run.is_done("profile")


def test_a_limit_that_nothing_measured_meets_is_an_error(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Latencies, "_check_fastest", lambda _: None)  # as where predictions are not additive
    too_hopeful(own, 10)
    for _ in range(2):
        with pytest.raises(InfeasibleError, match="smallest measured is") as caught:
            searched(tmp_path / "run", options(own, 0.15, population=4))
        num = num_prepared(own)
        assert "\n" not in str(caught.value)
        assert "got 0.15 ms" in str(caught.value)
    assert num_prepared(own) == num > 0
    measured = RunRecord.load(tmp_path / "run").stages["latency"]["record"]["measured"]
    smallest = min(found["median_ms"] for found in measured.values())
    assert f"smallest measured is {smallest:.4g} ms" in str(caught.value)
    assert smallest == pytest.approx(min(law_of(architecture) for architecture in measured))


def test_a_slow_machine_is_not_taken_for_slow_networks(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    given = options(own, 0.305)
    (own / "factor.txt").write_text("1.5")
    with pytest.raises(UserError, match=r"the machine must be as fast as when.*run the same command again"):
        searched(tmp_path / "run", given)
    assert "latency" not in RunRecord.load(tmp_path / "run").stages
    (own / "factor.txt").unlink()
    record = searched(tmp_path / "run", given)
    assert law_of(record.stages["search"]["record"]["winner"]) <= 0.305


def test_noise_decides_nothing(own: Path, tmp_path: Path) -> None:
    table = json.loads((own / "table.json").read_text())
    (own / "table.json").write_text(json.dumps({**table, "device": "noisy"}))
    for _ in range(2):
        with pytest.raises(UserError, match="all 4 networks measured on noisy spread by over a tenth"):
            searched(tmp_path / "run", options(own, 0.5, "Noisy", population=4, generations=0))
    assert RunRecord.load(tmp_path / "run").stages["latency"]["record"]["measured"] == {}


def test_an_unreachable_limit_ends_a_run_before_it_trains(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for limits in (0.1, "0.305,0.1"):
        with pytest.raises(
            InfeasibleError, match=r"max_latency_ms must be at least the smallest.*0\.19.*got 0\.1 ms"
        ):
            searched(out, options(own, limits))
        assert not out.exists()
    with pytest.raises(InfeasibleError, match=r"smallest cost of the space, 0\.19"):
        searched(out, options(own, 0.1, latency_table=None))
    record = RunRecord.load(out)
    assert record.curves == {}
    assert not record.stages.get("profile", {}).get("done")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"device_threads": 3}, "it is of fake with threads 1, and now it is 3"),
        ({"device": "torch-cpu"}, "it is of fake, and now it is torch-cpu"),
        ({"space_arguments": {"channels": 4}}, "it is of tiny, and .*tiny_space.py:build has other sizes"),
        ({"space": "shufflenet"}, "it is of tiny .*, and now it is a space of 20 choices"),
        ({"device": "phone"}, "a device must be one of torch-cpu"),
    ],
)
def test_a_table_of_something_else_is_refused(
    own: Path, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        searched(tmp_path / "run", {**options(own, 0.305), **more})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_device_and_its_threads_can_come_from_the_table(own: Path, tmp_path: Path) -> None:
    table = json.loads((own / "table.json").read_text())
    (own / "table.json").write_text(json.dumps({**table, "threads": 2, "device": "torch-cpu"}))
    given = options(own, 30.0)  # of torch on this machine, which is far below
    del given["device"], given["device_threads"]
    config = runs.make_config(
        {**given, "latency_table": str(own / "table.json"), "out": str(tmp_path / "run")}
    )
    with runs.Run(config) as run:
        assert (run.config.device, run.config.device_threads) == ("torch-cpu", 2)
        assert run.latencies.device.threads == 2
        run.latencies.prepare()
    (own / "table.json").unlink()
    with runs.Run(config) as run:  # it goes on with the copy in the run directory
        assert (run.config.device, run.config.device_threads) == ("torch-cpu", 2)
        assert run.latencies.predictor.device["threads"] == 2


def test_the_constrained_sampler_keeps_the_largest_limit(own: Path, tmp_path: Path) -> None:
    from onepath.randomness import generator

    given = options(own, "0.215,0.305", sampler="constrained", out=str(tmp_path / "run"))
    with runs.Run(runs.make_config({**given, "latency_table": str(given["latency_table"])})) as run:
        paths = run.config.options.phases(RunJob(run))[-1].sampler.paths
        drawn = {str(path) for update in range(200) for path in paths(update, generator(0, "x", update))}
    every = {str(found) for found in Supernet(build(TINY, 10, in_channels=1).module).space.enumerate()}
    assert drawn == {architecture for architecture in every if law_of(architecture) <= 0.305}


PROXYLESS: dict[str, Any] = {
    "method": "proxyless",
    "cost_loss": "add-linear",
    "warmup_epochs": 1,
    "generations": 0,
}


def test_the_expected_latency_of_the_table_is_in_the_loss_and_aims_at_the_limit(
    own: Path, tmp_path: Path
) -> None:
    given = options(own, "0.305,0.215", **PROXYLESS, out=str(tmp_path / "run"))
    with runs.Run(runs.make_config({**given, "latency_table": str(given["latency_table"])})) as run:
        cost = run.config.options.phases(RunJob(run))[-1].before.cost
    assert cost is not None
    assert (cost.reference, cost.form) == (0.305, "add-linear")
    relaxation = cost.cost.relaxation
    certain = {name: torch.eye(3)[index] for name, index in zip(relaxation.names, (0, 1, 2), strict=True)}
    assert float(cost.cost(certain)) == pytest.approx(law_of("0,1,2"), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["proxyless", "darts"])
def test_a_differentiable_run_keeps_its_limit_in_milliseconds(
    method: str, own: Path, runner: Runner, tmp_path: Path
) -> None:
    more = PROXYLESS if method == "proxyless" else {"method": "darts", "rule": "logits", "generations": 0}
    assert runner(tmp_path / "run", **options(own, 0.255, **more)) == 0
    record = RunRecord.load(tmp_path / "run")
    assert record.result["method"] == method
    winner = record.networks[0].architecture
    assert record.result["cost"]["latency_ms"] == pytest.approx(law_of(winner))
    assert law_of(winner) <= 0.255
    assert record.trials[0].origin == "derived"
    assert winner == record.trials[0].architecture
    assert all(law_of(trial.architecture) <= 0.255 for trial in record.trials)
    # The derived one is the most probable of the legal ones.
    logits = record.stages["train"]["record"]["architecture"]["logits"]

    def score(architecture: str) -> float:
        return sum(p[int(option)] for p, option in zip(logits.values(), architecture.split(","), strict=True))

    every = (",".join(row) for row in itertools.product("012", repeat=3))
    legal = [architecture for architecture in every if law_of(architecture) <= 0.255]
    assert 1 < len(legal) < 27
    assert winner == max(legal, key=score)


def test_a_device_without_a_limit_is_where_the_winner_is_measured(
    own: Path, runner: Runner, tmp_path: Path
) -> None:
    given = options(own, None, latency_table=None)
    assert runner(tmp_path / "run", **{**given, "max_macs": "25k"}) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    architecture = json.loads((tmp_path / "run" / "architecture.json").read_text())["architecture"]
    assert result["cost"]["latency_device"] == "fake"
    assert result["cost"]["latency_ms"] == pytest.approx(law_of(architecture))
    assert result["constraints"]["device"].endswith(":Fake")
    (winner,) = result["winners"]
    assert (winner["limits"], winner["max_latency_ms"]) == ({"max_macs": 25_000}, None)
    assert "latency_ms" not in winner["cost"]
    assert not (tmp_path / "run" / "latency-table.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-latency-ms", "1"], "give device, one of `onepath devices`"),
        (
            ["--max-latency-ms", "1;2", "--device", "torch-cpu"],
            "must be milliseconds, or several with commas",
        ),
        (["--max-latency-ms", "1", "--device", "torch-cpx"], "did you mean torch-cpu?"),
        (["--device", "torch-cuda"], "the device must be usable on this machine"),
        (["--max-latency-ms", "1", "--latency-table", "absent.json"], "there is no such file"),
        (["--latency-table", "absent.json"], "latency_table is for a limit on latency"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    import torch

    if "torch-cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert main(["run", "--out", str(tmp_path / "run"), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "run").exists()


def test_a_finished_limited_run_is_printed(
    limited: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = limited
    result = json.loads((out / "result.json").read_text())
    from onepath.cli.output import print_result

    print_result(out, result)
    shown = capsys.readouterr().out
    cost = result["cost"]
    assert f"latency    {cost['latency_ms']:.3f} ms (IQR 0.000 ms) measured on fake, predicted" in shown
    assert "limit 0.305 ms\n" in shown
    assert f"limit 0.215 ms: {out / 'limit-0.215ms'}" in shown


PAIRED = """
import torch
from torch import nn
import onepath as op
class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.blocks = nn.ModuleList([op.ChoiceBlock({f"k{s}": Sum(s) for s in (1, 3, 5)}) for _ in range(3)])
        self.head = nn.Linear(1, num_classes)
    def forward(self, x):
        y = x
        for block in self.blocks:
            y = block(y, x)
        return self.head(y.mean((2, 3)))
class Sum(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, side, padding=side // 2)
    def forward(self, x, y):
        return self.conv(x) + y
def build(num_classes, **_):
    return Net(num_classes)
"""


def test_where_no_table_is_possible_whole_networks_are_measured(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of two inputs cannot be measured alone; the limit is held by measuring all the same."""
    recipe = MlpRecipe(width=8, num_steps=5)  # of the candidate that is not taken here
    for place in ("network_predictor", "mlp"):
        monkeypatch.setattr(f"onepath.latency.predictor.{place}.MlpRecipe", lambda: recipe)
    (own / "paired.py").write_text(PAIRED)
    given = options(own, 0.4, latency_table=None, space=f"{own}/paired.py:build", seed=1)
    told = Told()
    config = runs.make_config(
        {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
        | {"out": str(tmp_path / "run")}
    )
    with runs.Run(config, progress=told) as run:
        for stage in ("train", "search"):
            runs.run_stage(run, stage)
    record = RunRecord.load(tmp_path / "run")
    assert (tmp_path / "run" / "latency-predictor.safetensors").is_file()
    assert any("27 whole networks are measured" in note for note in told.notes)
    winner = record.stages["search"]["record"]["winner"]
    assert record.stages["latency"]["record"]["measured"][winner]["median_ms"] <= 0.4
    before = num_prepared(own)
    searched(tmp_path / "run", {**given})
    assert num_prepared(own) == before


def test_a_run_that_began_without_a_device_is_asked_for_milliseconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is named once; what no network meets is told before a search, and leaves nothing behind."""
    kind = load_own(f"{FAKE}:Fake", what="device", known=(), forms="")[2]
    monkeypatch.setitem(cast(dict[str, Any], DEVICES), "fake", kind)
    out = tmp_path / "run"
    searched(out, {**LIMITED, "device_threads": None, "max_macs": 10**9})
    with pytest.raises(ConfigurationError, match="began without one; give device"):
        runs.search(out, limits={"max_latency_ms": 0.3}, space=TINY)
    with pytest.raises(InfeasibleError, match="at least the smallest cost"):
        runs.search(out, limits={"max_latency_ms": 0.1}, space=TINY, device="fake")
    assert not list(out.glob("limit-*"))
    runs.search(out, limits={"max_latency_ms": 0.3}, space=TINY, device="fake")
    with pytest.raises(ConfigurationError, match="asked on one device, fake, but got torch-cpu"):
        runs.search(out, limits={"max_latency_ms": 0.25}, space=TINY, device="torch-cpu")
    runs.search(out, limits={"max_latency_ms": 0.25}, space=TINY)
    for limit in (0.3, 0.25):
        record = RunRecord.load(out / f"limit-{limit}ms")
        found = record.result["cost"]
        assert found["latency_device"] == "fake"
        assert found["latency_ms"] <= limit
        assert record.stages["train"]["seconds"] == 0, "the supernet is that of the run"


def test_an_empty_run_takes_another_limit_and_keeps_the_table_that_it_profiled(
    own: Path, tmp_path: Path
) -> None:
    """A limit that no architecture meets is found when the table is there; the table is not made again."""
    given = {
        name: value for name, value in options(own, 0.1, latency_table=None).items() if value is not None
    }
    with pytest.raises(InfeasibleError, match=r"smallest cost of the space, 0\.19"):
        searched(tmp_path / "run", given)
    table, num = (tmp_path / "run" / "latency-table.json").read_bytes(), num_prepared(own)
    # What would lose the table is refused.
    for other in (
        {"max_latency_ms": 0.305, "device_threads": 2},
        {"max_latency_ms": None, "max_macs": "25k"},
    ):
        with pytest.raises(RunDirectoryError, match=r"has another \(.*max_latency_ms: 0.1 -> .*--fresh"):
            searched(tmp_path / "run", {**given, **other})
        assert (tmp_path / "run" / "latency-table.json").read_bytes() == table
    record = searched(tmp_path / "run", {**given, "max_latency_ms": 0.305})
    assert record.config["max_latency_ms"] == 0.305
    assert law_of(record.stages["search"]["record"]["winner"]) <= 0.305
    assert (tmp_path / "run" / "latency-table.json").read_bytes() == table
    assert num_prepared(own) - num < num / 4  # candidates are measured, and no part of the table
    with pytest.raises(RunDirectoryError, match=r"max_latency_ms: 0.305 -> 0.4"):
        searched(tmp_path / "run", {**given, "max_latency_ms": 0.4})


def test_an_empty_run_takes_another_limit_beside_the_table_that_was_given(own: Path, tmp_path: Path) -> None:
    """The fastest network has been measured, over the first limit; that is no result."""
    too_hopeful(own, 10)
    with pytest.raises(InfeasibleError, match="a network must be measured within max_latency_ms"):
        searched(tmp_path / "run", options(own, 0.15, population=4))
    shutil.copy(own / "table.json", own / "other.json")
    given = {**options(own, 0.305, population=4), "latency_table": own / "other.json"}
    record = searched(tmp_path / "run", given)
    assert record.config["latency_table"] == str(own / "other.json")
    assert law_of(record.stages["search"]["record"]["winner"]) <= 0.305


def test_a_profile_that_was_interrupted_is_not_lost(own: Path, tmp_path: Path) -> None:
    given = {
        name: value for name, value in options(own, 0.305, latency_table=None).items() if value is not None
    }
    config = runs.make_config({**given, "out": str(tmp_path / "run")})
    with runs.Run(config):
        pass
    (tmp_path / "run" / "latency-table.json.part").write_text("{}")
    with pytest.raises(RunDirectoryError, match=r"max_latency_ms: 0.305 -> 0.4"):
        searched(tmp_path / "run", {**given, "max_latency_ms": 0.4})
    assert (tmp_path / "run" / "latency-table.json.part").read_text() == "{}"
