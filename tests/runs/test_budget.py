"""A budget of time: what is planned in it, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import onepath as op
from onepath.errors import ConfigurationError
from onepath.methods import METHODS, make_method
from onepath.most import EPOCHS
from onepath.option_types import parse_duration
from onepath.record import RunDirectory
from onepath.runs import Run, make_config
from onepath.runs import budget as budgets
from onepath.runs.finishing_time import Finishing, played
from onepath.runs.retraining import keep_plan
from onepath.search.halving import longest
from onepath.train.timing import UpdateSeconds, update_seconds

RESERVED = 14 + 0.01 * 600
PART, TEST = 0.5, 1.0


class Plan:
    """A run whose times are given: seconds of an epoch of the supernet, of an evaluation and of a network's epoch.

    Attributes:
        profile: seconds of the latency table that is to be made.
        is_loadable: whether worker processes can load the data.
    """

    profile, is_loadable = 0.0, True

    def __init__(self, patch: pytest.MonkeyPatch, epoch: float, evaluation: float, network: float) -> None:
        self.notes: list[str] = []
        self.network, self.epoch = network, epoch
        patch.setattr(budgets, "finishing", self._finishing)
        patch.setattr(
            budgets,
            "_evaluations",
            lambda run, job, method: (evaluation, method.num_planned if evaluation else 0),
        )
        patch.setattr(budgets.time, "perf_counter", lambda: 0.0)

    def _finishing(self, run: Any, architectures: Any, num_finalists: int) -> Finishing:
        return played(run, Finishing(self.network, 1.0, PART, 1, TEST), num_finalists)

    def __call__(self, **options: Any) -> dict[str, Any]:
        config = make_config({"budget": "10m", "method": "spos", **options})
        method = make_method(METHODS[config.method], config.options.model_dump())
        if method.trains_supernet:
            lengths = {"epochs": 12, "warmup_epochs": 6}
            own = {name: value for name, value in lengths.items() if hasattr(method, name)}
            method = method.filled(population=16, generations=5, **own)
        config = config.with_method(method)
        space = op.spaces.build("nasbench-macro", num_classes=10, in_channels=1).space
        run = SimpleNamespace(
            config=config,
            opened_at=0.0,
            blank=SimpleNamespace(space=space),
            progress=SimpleNamespace(note=self.notes.append),
            usual_epochs=13,
            latencies=SimpleNamespace(expected_seconds=self.profile),
            is_loadable=self.is_loadable,
        )
        job = SimpleNamespace(
            loosest=SimpleNamespace(sample=space.sample),
            timed_training=lambda method, timed_seconds: self.epoch * method.total_epochs,
        )
        found, _ = budgets.planned(run, job)  # type: ignore[arg-type]
        return found


class Slow:
    """An estimator that counts what it is asked for."""

    def __init__(self) -> None:
        self.num = 0

    def estimate(self, _: Any) -> None:
        self.num += 1


@pytest.mark.parametrize(
    ("name", "options"), [("eas", {"num": 7}), ("rl", {"num": 7}), ("spos", {"num": 7}), ("fixed", {})]
)
def test_what_is_timed_is_the_estimator_of_the_method(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method with short trainings of its own is not planned as if it asked a supernet; one without any has none."""
    kind, asked = METHODS[name], Slow()
    if name != "fixed":
        monkeypatch.setattr(kind, "estimator", lambda self, job, trained: asked)
    space = op.spaces.build("eas", num_classes=10, in_channels=1, input_size=8).space
    run = SimpleNamespace(
        blank=SimpleNamespace(space=space),
        config=SimpleNamespace(seed=0, budget=600.0),
        supernet_to_train=lambda: SimpleNamespace(space=space),
    )
    job = SimpleNamespace(loosest=SimpleNamespace(sample=space.sample))
    seconds, num = budgets._evaluations(run, job, make_method(kind, options))  # type: ignore[arg-type]
    assert (num, asked.num) == ((0, 0) if name == "fixed" else (7, 5))
    assert (seconds == 0) == (name == "fixed")


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    return lambda *times: Plan(monkeypatch, *times)


def test_the_supernet_gets_its_share_and_the_networks_the_rest(plan: Callable[..., Plan]) -> None:
    made = plan(10.0, 0.5, 2.0)
    found = made(num_baselines=3)
    left = 600 - RESERVED - 96 * 0.5
    assert found["epochs"] == int(0.45 * left / 10)
    # The winner and three baselines.
    fixed = 4 * PART + TEST
    assert found["retrain_epochs"] == pytest.approx((left - 10 * found["epochs"] - fixed) / 8, abs=0.01)
    (note,) = made.notes
    assert note.startswith("budget of 10.0 min: 23 epochs of the supernet")
    assert "96 evaluations (48 s)" in note


def test_what_is_given_stays(plan: Callable[..., Plan]) -> None:
    found = plan(10.0, 0.5, 2.0)(epochs=5, num_baselines=0)
    assert "epochs" not in found
    # 16 * 6 evaluations of half a second, five epochs of ten.
    assert found["retrain_epochs"] == pytest.approx((600 - RESERVED - 48 - 50 - PART - TEST) / 2, abs=0.01)
    found = plan(10.0, 0.5, 2.0)(retrain_epochs=20)
    assert "retrain_epochs" not in found


def test_a_search_that_takes_too_long_evaluates_fewer(plan: Callable[..., Plan]) -> None:
    found = plan(10.0, 4.0, 2.0)()
    assert found["num"] == int(0.2 * (600 - RESERVED) / 4.0)


def test_random_networks_are_as_many_as_can_be_trained_as_usual(plan: Callable[..., Plan]) -> None:
    found = plan(0.0, 0.0, 2.0)(method="random", num_baselines=0)
    # Each is trained by 13 epochs of 2 seconds, and the winner begins once more, to its end.
    num = int((600 - RESERVED - PART - TEST) / (2 * 13 + PART))
    assert found["num"] == found["finalists"] == num
    epochs = (600 - RESERVED - (num + 1) * PART - TEST) / 2 / num
    assert found["retrain_epochs"] == pytest.approx(epochs, abs=0.01)


def test_halving_leaves_an_epoch_to_the_first_round(plan: Callable[..., Plan]) -> None:
    found = plan(0.0, 0.0, 2.0)(method="random", finish="halving", num_baselines=0)
    num = found["finalists"]

    def first_round(num: int) -> float:
        passes, parts = longest(num, "halving", 0, 1)
        epochs = (600 - RESERVED - parts * PART - TEST) / 2 / passes
        return epochs / 2 ** (num - 1).bit_length()

    assert first_round(num) >= 1 > first_round(num + 1)


def test_a_budget_without_time_for_an_epoch_is_refused(plan: Callable[..., Plan]) -> None:
    with pytest.raises(ConfigurationError, match="must have time for an epoch of every training"):
        plan(400.0, 0.5, 200.0)()


def test_a_budget_that_is_used_up_before_the_plan_is_refused(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(0.0, 0.0, 2.0)
    monkeypatch.setattr(budgets.time, "perf_counter", lambda: 700.0)
    with pytest.raises(ConfigurationError, match="must have time for an epoch of every training"):
        made(method="random", num_baselines=0)


def test_a_latency_table_that_is_to_be_made_has_its_time(plan: Callable[..., Plan]) -> None:
    made = plan(10.0, 0.5, 2.0)
    made.profile = 120.0
    left = 600 - RESERVED - 120 - 96 * 0.5
    assert made()["epochs"] == int(0.45 * left / 10)


def test_a_warm_up_keeps_its_share_unless_it_is_given(plan: Callable[..., Plan]) -> None:
    made = plan(10.0, 0.0, 2.0)  # ProxylessNAS with 12 epochs after a warm-up of 6
    total = int(0.45 * (600 - RESERVED) / 10)
    found = made(method="proxyless", num_baselines=0)
    assert (found["epochs"], found["warmup_epochs"]) == (total - total // 3, total // 3)
    found = made(method="proxyless", warmup_epochs=4, num_baselines=0)
    assert (found["epochs"], found["warmup_epochs"]) == (total - 4, 4)
    with pytest.raises(ConfigurationError, match="must have time for an epoch of every training"):
        made(method="proxyless", warmup_epochs=total)


def test_epochs_have_an_upper_end(plan: Callable[..., Plan]) -> None:
    found = plan(1e-4, 0.0, 1e-4)(num_baselines=0)
    assert (found["epochs"], found["retrain_epochs"]) == (EPOCHS, EPOCHS)
    assert make_config(found)


def test_networks_of_data_without_a_name_are_trained_one_after_another(plan: Callable[..., Plan]) -> None:
    made = plan(0.0, 0.0, 2.0)
    four = made(method="naswot", num_baselines=3, workers=4)["retrain_epochs"]
    made.is_loadable = False
    assert made(method="naswot", num_baselines=3, workers=4)["retrain_epochs"] == pytest.approx(
        four / 4, rel=0.02
    )


def test_halving_keeps_the_epochs_that_are_given(plan: Callable[..., Plan]) -> None:
    made, left = plan(0.0, 0.0, 2.0), 600 - RESERVED
    options = {"method": "random", "finish": "halving", "num_baselines": 0}
    for epochs in (100, 300):
        num = made(**options, retrain_epochs=epochs)["finalists"]
        passes, parts = longest(num, "halving", 0, 1)
        assert epochs * 2 * passes + parts * PART + TEST <= left or num == 1


def test_with_a_budget_the_search_needs_no_supernet() -> None:
    config = make_config({"budget": "10m"})
    assert (config.method, config.space, config.limits) == (
        "naswot",
        "nasbench-macro",
        {"max_macs": (500_000,)},
    )
    assert make_config({"budget": "10m", "method": "spos"}).method == "spos"
    assert make_config({"budget": "10m", "model": "torchvision:resnet18"}).method == "sandwich"
    assert make_config({}).method == "spos"


def test_a_search_by_a_score_gets_a_tenth(plan: Callable[..., Plan]) -> None:
    found = plan(0.0, 0.5, 2.0)(method="naswot", num_baselines=0)
    assert found["num"] == int(0.1 * (600 - RESERVED) / 0.5)
    left = 600 - RESERVED - 0.5 * found["num"] - PART - TEST
    assert found["retrain_epochs"] == pytest.approx(left / 2, abs=0.01)


class Left:
    """A run whose search has finished after 100 seconds of planning and 50 of the search."""

    def __init__(self, num_found: int, **options: Any) -> None:
        self.notes: list[str] = []
        space = op.spaces.build("nasbench-macro", num_classes=10, in_channels=1).space
        record = {"finalists": ["0"] * num_found} if num_found > 1 else {}
        stage = SimpleNamespace(seconds=50.0, record=record)
        store = SimpleNamespace(stages=lambda: {"search": stage})
        self.run = SimpleNamespace(
            config=make_config({"budget": "10m", "num_baselines": 0, **options}),
            facts={"budget": {"seconds": 100.0, "plans_finish": "retrain_epochs" not in options}},
            directory=SimpleNamespace(store=store),
            blank=SimpleNamespace(space=space),
            progress=SimpleNamespace(note=self.notes.append),
            costs=lambda _: {"macs": 1},
            usual_epochs=13,
            is_loadable=True,
        )
        self.run.root = self.run
        self.architectures = [space.parse("1,1,1,1,1,1,1,1")] * num_found

    def __call__(self) -> Any:
        return budgets.planned_again(self.run, self.architectures)  # type: ignore[arg-type]


def test_the_time_that_is_left_is_shared_by_the_networks(plan: Callable[..., Plan]) -> None:
    plan(0.0, 0.0, 2.0)  # an epoch of a network takes two seconds
    left = 600 - RESERVED - 150
    one = Left(1)
    assert one() == (
        1,
        pytest.approx((left - PART - TEST) / 2, abs=0.01),
        pytest.approx(left - PART - TEST, abs=0.1),
    )
    assert one.notes == ["7.2 min of the budget are left for finishing: 214.25 epochs of the network"]
    # Two halves, and the winner's rest: one and a half trainings, three parts.
    found = Left(2, finish="halving", finalists=2)()
    assert found == (
        2,
        pytest.approx((left - 3 * PART - TEST) / 3, abs=0.01),
        pytest.approx((left - 3 * PART - TEST) / 1.5, abs=0.1),
    )


def test_random_networks_that_take_longer_are_fewer(plan: Callable[..., Plan]) -> None:
    plan(0.0, 0.0, 5.0)
    left = 600 - RESERVED - 150
    num = int((left - TEST - PART) / (5 * 13 + PART))
    asked = Left(20, method="random")
    found = asked()
    assert found.num == num == 6
    assert found.epochs == pytest.approx((left - (num + 1) * PART - TEST) / (5 * num), abs=0.01)
    assert Left(4, method="random")().num == 4
    assert Left(20, method="random", num=20)().num == 20
    assert Left(1, retrain_epochs=3)() is None


def test_a_further_limit_has_what_the_first_one_had_left(plan: Callable[..., Plan]) -> None:
    plan(0.0, 0.0, 2.0)
    rows = {
        name: SimpleNamespace(seconds=each)
        for name, each in (("profile", 20.0), ("train", 80.0), ("search", 9.0))
    }
    folder = Left(1)
    folder.run.root = SimpleNamespace(directory=SimpleNamespace(store=SimpleNamespace(stages=lambda: rows)))
    left = 600 - RESERVED - 150 - 100
    assert folder().epochs == pytest.approx((left - PART - TEST) / 2, abs=0.01)


def test_a_score_is_timed_without_workers_and_without_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a run begins there are no facts for its workers, and its directory holds nothing."""
    config = make_config(
        {
            "method": "naswot",
            "proxy": "zen",
            "prefilter": "nwot:0.5",
            "space": "nasbench-macro",
            "width": 0.2,
            "budget": "10m",
            "workers": 2,
            "out": str(tmp_path / "run"),
        }
    )
    found: list[set[str]] = []
    begin = RunDirectory.begin

    def noted(self: RunDirectory, *given: Any) -> None:
        found.append({file.name for file in self.path.iterdir()})
        begin(self, *given)

    monkeypatch.setattr(RunDirectory, "begin", noted)
    with Run(config) as run:
        assert run.facts["budget"]["planned"]["search"] > 0
    assert "estimates.sqlite" not in found[0]


def test_what_was_planned_last_is_kept() -> None:
    record = {"epochs": 7.5, "training_seconds": 30.0}
    stages = {"retrain": SimpleNamespace(record=record)}
    run: Any = SimpleNamespace(
        config=make_config({"budget": "10m"}),
        directory=SimpleNamespace(store=SimpleNamespace(stage=stages.__getitem__)),
    )
    assert keep_plan(run) == 30.0
    assert run.config.retrain_epochs == 7.5
    record.clear()
    assert keep_plan(run) is None
    assert run.config.retrain_epochs == 7.5


def test_several_limits_have_no_budget() -> None:
    with pytest.raises(ConfigurationError, match="a budget is planned for one winner"):
        make_config({"budget": "10m", "max_macs": "1M,2M"})


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("45m", 2700), ("1.5h", 5400), ("600", 600)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert make_config({"budget": text}).budget == seconds


@pytest.mark.parametrize("text", ["1x", "", "-5m", "10", "100d"])
def test_other_times_are_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError, match="budget must be"):
        make_config({"budget": text})


def test_an_update_is_timed_without_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("onepath.train.timing.time.perf_counter", lambda: now[0])
    done = []

    def train(on_update: Callable[[int, int], None]) -> None:
        for update in range(1, 100):
            now[0] += 5.0 if update == 1 else 0.3
            done.append(update)
            on_update(update, 100)

    assert update_seconds(train) == (pytest.approx(4.7), pytest.approx(0.3))
    assert len(done) == 5  # more than four updates, and over a second after the first
    assert update_seconds(train, 2.9).each == pytest.approx(0.3)
    assert len(done) == 5 + 11


def test_a_training_of_one_update_is_timed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("onepath.train.timing.time.perf_counter", lambda: now[0])

    def train(on_update: Callable[[int, int], None]) -> None:
        now[0] += 2.0
        on_update(1, 1)

    assert update_seconds(train) == UpdateSeconds(0.0, 2.0)
