"""`onepath rank` on a run of the tiny space: a table, stand-alone networks, a kill, mistakes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onepath.cli import main
from onepath.errors import ConfigurationError, DataError, RunDirectoryError
from onepath.estimate import Estimate, SupernetEstimator
from onepath.runs import Run, TrainedNetwork, make_config, run_stage, trainings
from onepath.studies import standalone_truth, supernet_estimates
from onepath.studies.comparison import RankOptions, Table
from onepath.studies.rank_run import rank_on_standalone, rank_on_table

SPACE = f"{Path(__file__).parents[1] / 'runs' / 'tiny_space.py'}:build"
OPTIONS = {"space": SPACE, "epochs": 1, "retrain_epochs": 1, "num_baselines": 1, "workers": 1}
FAST = RankOptions(num=12, num_resamples=20, similarity_paths=1, calibration_images=64, validation_images=64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose supernet is trained and nothing else; not to be changed."""
    path = tmp_path_factory.mktemp("ranked") / "run"
    with Run(make_config({**OPTIONS, "out": str(path)})) as run:
        run_stage(run, "train")
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Iterator[Run]:
    shutil.copytree(trained, tmp_path / "run")
    with Run(None, tmp_path / "run", space=SPACE) as opened:
        yield opened


def table(run: Run, path: Path) -> Path:
    rows = [
        f'"{architecture}",{50 + place}' for place, architecture in enumerate(run.blank.space.enumerate())
    ]
    path.write_text("\n".join(["architecture,test_accuracy", *rows]))
    return path


def count_estimates(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[str]:
    """Architectures that are estimated from now on; the estimate after `stop_after` never ends."""
    asked: list[str] = []

    class Counted(SupernetEstimator):
        def estimate(self, architecture: Any) -> Estimate:
            if len(asked) == stop_after:
                raise KeyboardInterrupt
            asked.append(str(architecture))
            return super().estimate(architecture)

    monkeypatch.setattr(supernet_estimates, "SupernetEstimator", Counted)
    return asked


def test_a_killed_comparison_continues_and_ends_the_same(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = table(run, tmp_path / "table.csv")
    with monkeypatch.context() as patch:
        first = count_estimates(patch, stop_after=5)
        with pytest.raises(KeyboardInterrupt):
            rank_on_table(run, Table(truth), FAST)
    with monkeypatch.context() as patch:
        rest = count_estimates(patch)
        found = rank_on_table(run, Table(truth), FAST)
    assert (len(first), len(rest), len(set(first + rest))) == (5, 7, 12)
    with monkeypatch.context() as patch:
        again = count_estimates(patch)
        assert rank_on_table(run, Table(truth), FAST)["evidence"] == found["evidence"]
        more = rank_on_table(run, Table(truth), RankOptions(**{**vars(FAST), "num": 13}))
    assert len(again) == 1, "fewer rows are the first of more"
    assert [row["architecture"] for row in more["networks"][:12]] == [
        row["architecture"] for row in found["networks"]
    ]
    evidence = found["evidence"]
    assert set(evidence["scores"]) == {"accuracy", "loss", "macs", "params"}
    assert set(evidence["differences"]["loss"]) == {"macs", "params"}
    for row in found["networks"]:
        assert row["loss"] < 0, "a score: higher is better"
    stored = json.loads((run.path / "ranking.json").read_text())
    assert stored["truth"]["evidence"] == more["evidence"]
    layer = found["similarity"]["blocks.0"]
    assert layer["names"][0] == "skip"
    assert layer["matrix"][0][0] == pytest.approx(1.0)
    page = (run.path / "ranking.html").read_text()
    assert "tau-b" in page
    assert "http-equiv" in page
    assert "<script src" not in page


def test_other_settings_are_other_estimates(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = table(run, tmp_path / "table.csv")
    asked = count_estimates(monkeypatch)
    rank_on_table(run, Table(truth), FAST)
    rank_on_table(run, Table(truth), RankOptions(**{**vars(FAST), "validation_images": 100}))
    assert len(asked) == 24


def test_networks_are_trained_once_and_the_baseline_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    space = run.blank.space
    names = [str(space.architecture(indices)) for indices in ([0, 0, 0], [1, 1, 1])]
    from onepath.record import NetworkRow

    for role, name in zip(("winner", "baseline-0"), names, strict=True):
        run.directory.store.put_network(NetworkRow(role, "scratch", name, 0, {}, 0.5, 0.5, 0.75, 1.0))
    trained: list[str] = []

    def train(_: Run, network: Any, **options: Any) -> TrainedNetwork:
        if len(trained) == 1 and not allow:
            raise KeyboardInterrupt
        trained.append(network.architecture)
        return TrainedNetwork(0.5, [])

    monkeypatch.setattr(trainings, "train_network", train)
    monkeypatch.setattr(
        standalone_truth, "network_score", lambda _, network, split: float(np.mean(eval_indices(network)))
    )
    allow = False
    with pytest.raises(KeyboardInterrupt):
        rank_on_standalone(run, 4, FAST)
    allow = True
    found = rank_on_standalone(run, 4, FAST)
    assert len(trained) == len(set(trained)) == 3, "the fourth is the baseline"
    assert not {*names} & {*trained}
    rows = {row["architecture"]: row["truth"] for row in found["networks"]}
    assert rows[names[1]] == 0.75
    assert names[0] not in rows
    assert [row["architecture"] for row in found["chosen"]] == [names[0]]
    assert found["evidence"]["num"] == 4


def test_more_networks_continue_fewer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, int]] = []

    def train(_: Run, network: Any, **options: Any) -> TrainedNetwork:
        trained.append((network.architecture, network.seed))
        return TrainedNetwork(0.5, [])

    monkeypatch.setattr(trainings, "train_network", train)
    monkeypatch.setattr(standalone_truth, "network_score", lambda _, network, split: network.seed / 2**31)
    few, many = (rank_on_standalone(run, num, FAST)["networks"] for num in (3, 7))
    assert len(trained) == len({name for name, _ in trained}) == 7
    assert [row["architecture"] for row in many[:3]] == [row["architecture"] for row in few]
    assert [row["truth"] for row in many] == [seed / 2**31 for _, seed in trained]


def test_notes_count_the_images_there_are(run: Run, tmp_path: Path) -> None:
    options = replace(FAST, num=3, calibration_images=10**6, validation_images=10**6)
    notes = " ".join(rank_on_table(run, Table(table(run, tmp_path / "table.csv")), options)["notes"])
    for split in ("train", "validation"):
        assert f"{run.facts[split]:,} {'training' if split == 'train' else split} images" in notes
    assert "1,000,000" not in notes


def eval_indices(network: Any) -> list[int]:
    return [int(index) for index in network.architecture.split(",")]


def test_mistakes(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="3 networks or more"):
        rank_on_standalone(run, 2, FAST)
    (tmp_path / "other.csv").write_text("architecture,test_accuracy\n|none~0|,1\n")
    with pytest.raises(DataError, match="row 0 is not"):
        rank_on_table(run, Table(tmp_path / "other.csv"), FAST)


def test_an_untrained_run_is_told_what_to_do(tmp_path: Path) -> None:
    config = make_config({**OPTIONS, "out": str(tmp_path / "new")})
    with Run(config) as run, pytest.raises(RunDirectoryError, match="onepath train"):
        rank_on_table(run, Table(tmp_path / "table.csv"), FAST)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "needs a run directory"),
        (("RUN",), "one of --truth and --standalone, but got neither"),
        (("RUN", "--truth", "t.csv", "--standalone", "4"), "but got both"),
        (("RUN", "--truth", "t.csv", "--score", "f1"), "--score must be one of"),
        (("RUN", "--truth", "t.csv", "--space", "nasbench201"), "--space belongs to --proxy"),
        (("--proxy", "params", "--truth", "t.csv"), "got no --space"),
        (("--proxy", "zenn", "--space", "nasbench201", "--truth", "t.csv"), "zenn"),
        (("--proxy", "snip", "--space", "nasbench201", "--truth", "t.csv"), "give --data"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], word: str
) -> None:
    assert main(["rank", *arguments]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1


def test_scores_of_untrained_networks(capsys: pytest.CaptureFixture[str], run: Run, tmp_path: Path) -> None:
    truth = table(run, tmp_path / "table.csv")
    command = ("rank", "--proxy", "l2_norm,synflow", "--space", SPACE, "--truth", str(truth), "--num", "9")
    sizes = ("--num-classes", "10", "--input-size", "8", "--in-channels", "1", "--batch-size", "4")
    page = tmp_path / "page.html"
    assert main([*command, *sizes, "--resamples", "20", "--out", str(page), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["seconds"].keys() == {"l2_norm", "synflow"}
    assert set(first["evidence"]["scores"]) == {"l2_norm", "synflow", "macs", "params"}
    assert page.is_file()
    assert json.loads(page.with_suffix(".json").read_text())["evidence"] == first["evidence"]
    assert main([*command, *sizes, "--resamples", "20", "--out", str(page), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["seconds"] == {}, "all scores are stored"
    assert again["evidence"] == first["evidence"]
    assert main([*command, *sizes, "--resamples", "20", "--out", str(page), "--max-macs", "0.001k"]) == 2
    assert "no row of the table is left" in capsys.readouterr().err


def test_columns_of_other_names(capsys: pytest.CaptureFixture[str], run: Run, tmp_path: Path) -> None:
    truth = table(run, tmp_path / "table.csv")
    first, _, rest = truth.read_text().partition("\n")
    assert len(first.split(",")) == 2
    truth.write_text("network,top1\n" + rest)
    command = ("rank", "--proxy", "l2_norm", "--space", SPACE, "--truth", str(truth), "--num", "9")
    command += ("--num-classes", "10", "--input-size", "8", "--in-channels", "1", "--resamples", "0")
    command += ("--out", str(tmp_path / "page.html"), "--accuracy-column", "top1")
    assert main(command) == 2
    assert "architecture_column must be given" in capsys.readouterr().err
    assert main([*command, "--architecture-column", "network"]) == 0
