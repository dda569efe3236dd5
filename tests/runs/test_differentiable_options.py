"""Options of the differentiable methods: which go together, what they are by default, what they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from refusals import assert_refused
from run_processes import OPTIONS

from onepath import runs
from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.nn.relaxations import BinaryRelaxation, SoftmaxRelaxation, TwoPathRelaxation
from onepath.record import CurvePoint
from onepath.runs.run_job import RunJob
from onepath.train import ArchitectureTraining, Guard, Phase

LATENCY = {"max_latency_ms": "0.5", "device": "torch-cpu"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "second"}, "order is an option of method darts, but method is spos; leave order out"),
        ({"method": "gdas", "order": "second"}, "order is an option of method darts, but method is gdas"),
        ({"method": "darts", "gates": "full"}, "gates is an option of method proxyless, but method is darts"),
        ({"method": "spos", "num_seeds": 2}, "num_seeds is an option of method darts or gdas or proxyless"),
        (
            {"method": "darts", "order": "third"},
            "order must be 'first', 'second', 'exact' or 'second-exact', but got 'third'",
        ),
        ({"method": "proxyless", "gates": "half"}, "gates must be 'full', 'two-path' or 'reinforce'"),
        ({"method": "gdas", "rule": "weight"}, "rule must be 'weights' or 'logits', but got 'weight'"),
        ({"rule": "logits"}, "rule is an option of method darts or gdas or proxyless, but method is spos"),
        ({"method": "darts", "num_seeds": 0}, "num_seeds must be greater than or equal to 1, but got 0"),
        ({"method": "darts", "skip_dropout": 1.0}, "skip_dropout must be less than 1"),
        ({"method": "darts", "warmup_epochs": -1}, "warmup_epochs must be greater than or equal to 0"),
        ({"method": "darts", "max_skips": 2}, "max_skips is what the guard lets pass, but guard is off"),
        (
            {"method": "gdas", "guard": "watch"},
            "guard 'watch' records the eigenvalue that only method darts computes",
        ),
        ({"method": "proxyless", "cost_loss": "add-linear"}, "needs a cost to aim at, but no limit came"),
        (
            {"method": "proxyless", "cost_loss": "multiply-log", **LATENCY},
            "needs a limit above 1 ms, but got 0.5; use cost_loss add-linear",
        ),
        (
            {"method": "proxyless", "cost_loss": "reward", "max_macs": "1M"},
            "'reward' and gates 'reinforce' must be used together, but got cost_loss reward with gates full",
        ),
    ],
)
def test_a_wrong_option_is_one_line(
    options: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(options, message, capsys)


def resolved(tmp_path: Path, **options: Any) -> dict[str, Any]:
    """The options that a run begins with."""
    given = {
        **OPTIONS,
        "max_macs": None,
        "epochs": 9,
        "finish": "scratch",
        "out": str(tmp_path / "run"),
        **options,
    }
    given = {name: value for name, value in given.items() if name != "retrain_from"}
    with runs.Run(runs.make_config(given), fresh=True) as run:
        return run.config.as_dict()


@pytest.mark.parametrize(
    ("options", "warmup_epochs", "cost_loss"),
    [
        ({"method": "darts", "max_macs": "25k"}, 0, "none"),
        ({"method": "gdas", "max_macs": "25k"}, 0, "none"),
        ({"method": "proxyless"}, 4, "none"),
        ({"method": "proxyless", "max_macs": "25k"}, 4, "add-linear"),
        ({"method": "proxyless", **LATENCY}, 4, "add-linear"),
        ({"method": "proxyless", "max_macs": "25k", "gates": "reinforce"}, 4, "reward"),
        ({"method": "proxyless", "max_macs": "25k", "cost_loss": "none", "warmup_epochs": 1}, 1, "none"),
    ],
)
def test_defaults(options: dict[str, Any], warmup_epochs: int, cost_loss: str, tmp_path: Path) -> None:
    config = resolved(tmp_path, **options)
    assert (config["warmup_epochs"], config["cost_loss"]) == (warmup_epochs, cost_loss)


def test_a_warm_up_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="warmup_epochs < epochs must hold, but got warmup_epochs=9"):
        resolved(tmp_path, method="gdas", warmup_epochs=9)
    assert not (tmp_path / "run").exists()


def phases(tmp_path: Path, **options: Any) -> list[Phase]:
    given = {**OPTIONS, "epochs": 4, "retrain_from": "scratch", "out": str(tmp_path / "run"), **options}
    with runs.Run(runs.make_config(given)) as run:
        return list(run.config.options.phases(RunJob(run)))


def training(tmp_path: Path, **options: Any) -> ArchitectureTraining:
    found = phases(tmp_path, **options)[-1].before
    assert isinstance(found, ArchitectureTraining)
    return found


def test_options_of_darts_reach_the_training(tmp_path: Path) -> None:
    options = {"order": "exact", "skip_dropout": 0.3, "warmup_epochs": 2, "guard": "stop"}
    warmup, search = phases(tmp_path, method="darts", **options)
    assert (warmup.name, warmup.until, search.name, search.until) == ("warm-up", 0.5, "search", 1.0)
    found = search.before
    assert isinstance(found, ArchitectureTraining)
    assert isinstance(found.relaxation, SoftmaxRelaxation)
    assert (found.recipe.order, found.relaxation.skip_dropout) == ("second-exact", 0.3)
    assert (found.recipe.warmup_epochs, found.guard) == (2, Guard(1, 0.75))  # half of three choices
    assert found.cost is None
    found.kept_epoch = 3
    assert found.record()["kept_epoch"] == 3
    # The look ahead clips as the training does: at the norm that the recipe of small data has.
    assert found.recipe.clip_norm == 2.0


def test_the_papers_recipe_has_the_papers_rates(tmp_path: Path) -> None:
    paper = phases(tmp_path, method="darts", recipe="paper")[-1]
    assert (paper.recipe.learning_rate, paper.recipe.schedule, paper.recipe.epochs) == (0.025, "cosine", 4)
    assert isinstance(paper.before, ArchitectureTraining)
    assert paper.before.recipe.learning_rate == 3e-4


@pytest.mark.parametrize("method", ["darts", "gdas", "proxyless"])
def test_the_rule_reaches_the_training(method: str, tmp_path: Path) -> None:
    assert training(tmp_path / "default", method=method).rule == "weights"
    assert training(tmp_path, method=method, rule="logits").rule == "logits"


def test_options_of_proxyless_reach_the_training(tmp_path: Path) -> None:
    found = training(tmp_path, method="proxyless", gates="two-path", guard="stop", max_skips=2)
    assert isinstance(found.relaxation, TwoPathRelaxation)
    assert found.guard == Guard(2, None)
    assert found.cost is not None
    assert (found.cost.reference, found.cost.form, found.reinforce) == (25_000, "add-linear", None)


def test_rewards_have_the_cost_of_the_limit(tmp_path: Path) -> None:
    found = training(tmp_path, method="proxyless", gates="reinforce")
    assert isinstance(found.relaxation, BinaryRelaxation)
    assert found.reinforce is not None
    assert found.cost is None
    assert (found.reinforce.reference, found.reinforce.table is not None) == (25_000, True)


def test_another_rule_is_another_run(tmp_path: Path) -> None:
    given = {
        **OPTIONS,
        "method": "darts",
        "epochs": 4,
        "retrain_from": "scratch",
        "out": str(tmp_path / "run"),
    }
    with runs.Run(runs.make_config(given)) as run:
        run.directory.store.add_point(CurvePoint("supernet", 0, 1, 0.1, 2.0, 0.1, 0.1, 1.0))
    with (
        pytest.raises(RunDirectoryError, match="rule: weights -> logits"),
        runs.Run(runs.make_config({**given, "rule": "logits"})),
    ):
        pass


def test_an_unfinished_run_of_another_form_is_refused_with_one_line(tmp_path: Path) -> None:
    given = {
        **OPTIONS,
        "method": "darts",
        "epochs": 4,
        "retrain_from": "scratch",
        "out": str(tmp_path / "run"),
    }
    with runs.Run(runs.make_config(given)) as run:
        facts = {name: value for name, value in run.directory.facts().items() if name != "format"}
        run.directory.begin(run.config.as_dict(), facts)
    with (
        pytest.raises(RunDirectoryError, match="was begun by an older one and has not finished"),
        runs.Run(None, tmp_path / "run", space=OPTIONS["space"]),
    ):
        pass
