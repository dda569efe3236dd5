"""Options of the differentiable methods: which go together, what they are by default, what they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onepath.runs.relaxed import Derivation, architecture_record, architecture_training
from refusals import assert_refused
from run_processes import OPTIONS

from onepath import methods, runs
from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.nn.relaxations import BinaryRelaxation, SoftmaxRelaxation, TwoPathRelaxation
from onepath.record import StageRow
from onepath.runs import seeds
from onepath.runs.resolving import resolve
from onepath.train import ArchitectureTraining, Guard

FACTS = {"train": 1150, "validation": 287, "classes": 10, "input_shape": [1, 8, 8], "fitted_width": 0.2}
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
            "order must be 'first', 'second' or 'exact', but got 'third'",
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
            "guard 'watch' notes an eigenvalue that only method darts has",
        ),
        ({"method": "proxyless", "cost_loss": "add-linear"}, "needs a cost to aim at, but no limit came"),
        (
            {"method": "proxyless", "cost_loss": "multiply-log", **LATENCY},
            "needs a limit above 1 ms, but got 0.5; use cost_loss add-linear",
        ),
        (
            {"method": "proxyless", "cost_loss": "reward", "max_macs": "1M"},
            "'reward' is for gates 'reinforce', and no other is, but got reward with gates full",
        ),
        (
            {
                "method": "proxyless",
                "cost_loss": "add-linear",
                "max_latency_ms": "2",
                "latency_table": "a.safetensors",
            },
            "needs a cost to aim at",
        ),
    ],
)
def test_a_wrong_option_is_one_line(
    options: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(options, message, capsys)


def resolved(**options: Any) -> runs.RunConfig:
    return resolve(runs.make_config({"workers": 1, "epochs": 9, **options}), FACTS)[0]


@pytest.mark.parametrize(
    ("options", "warmup_epochs", "cost_loss"),
    [
        ({"method": "darts", "max_macs": "1M"}, 0, "none"),
        ({"method": "gdas", "max_macs": "1M"}, 0, "none"),
        ({"method": "proxyless"}, 3, "none"),
        ({"method": "proxyless", "max_macs": "1M"}, 3, "add-linear"),
        ({"method": "proxyless", **LATENCY}, 3, "add-linear"),
        ({"method": "proxyless", "max_params": "1M"}, 3, "none"),
        ({"method": "proxyless", "max_macs": "1M", "gates": "reinforce"}, 3, "reward"),
        ({"method": "proxyless", "max_macs": "1M", "cost_loss": "none", "warmup_epochs": 1}, 1, "none"),
        ({"method": "spos", "max_macs": "1M"}, None, None),
    ],
)
def test_defaults(options: dict[str, Any], warmup_epochs: int | None, cost_loss: str | None) -> None:
    config = resolved(**options)
    assert (config.warmup_epochs, config.cost_loss) == (warmup_epochs, cost_loss)


def test_a_warm_up_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="warmup_epochs < epochs must hold, but got warmup_epochs=9"):
        resolved(method="gdas", warmup_epochs=9)


def training(tmp_path: Path, **options: Any) -> ArchitectureTraining:
    given = {**OPTIONS, "epochs": 4, "retrain_from": "scratch", "out": str(tmp_path / "run"), **options}
    with runs.Run(runs.make_config(given)) as run:
        return architecture_training(run, run.blank, run.config.seed)


def test_options_of_darts_reach_the_training(tmp_path: Path) -> None:
    options = {"order": "exact", "skip_dropout": 0.3, "warmup_epochs": 2, "guard": "stop"}
    found = training(tmp_path, method="darts", **options)
    assert isinstance(found.relaxation, SoftmaxRelaxation)
    assert (found.recipe.order, found.relaxation.skip_dropout) == ("second-exact", 0.3)
    assert (found.recipe.warmup_epochs, found.guard) == (2, Guard(1, 0.75))  # half of three choices
    assert found.cost is None
    found.kept_epoch = 3
    assert architecture_record(found)["kept_epoch"] == 3
    # The look ahead clips as the training does: at the norm that the recipe of small data has.
    assert found.recipe.clip_norm == 2.0


@pytest.mark.parametrize("method", ["darts", "gdas", "proxyless"])
def test_the_rule_reaches_the_training_and_the_derivation(method: str, tmp_path: Path) -> None:
    assert resolved(method=method).rule == "weights"
    assert training(tmp_path, method=method, rule="logits").rule == "logits"
    asked: list[str] = []

    def derive_within(*_: Any, rule: str, **__: Any) -> None:
        asked.append(rule)
        raise InterruptedError

    options = {"method": method, "rule": "logits", "epochs": 4, "retrain_from": "scratch"}
    given = {**OPTIONS, **options, "out": str(tmp_path / "other")}
    with runs.Run(runs.make_config(given)) as run, pytest.MonkeyPatch.context() as patch:
        record = {"logits": {name: [0.0] * 3 for name in run.blank.space.names}}
        run.directory.store.put_stage(StageRow("train", done=True, record={"architecture": record}))
        patch.setattr(methods, "derive_within", derive_within)
        with pytest.raises(InterruptedError):
            Derivation(run, seed=0, num_random=0).ask(run.feasible)
        with pytest.raises(InterruptedError):
            seeds._derived(run, record, 0)
    assert asked == ["logits", "logits"]


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


def test_a_run_that_began_before_there_was_a_rule_goes_on(tmp_path: Path) -> None:
    given = {
        **OPTIONS,
        "method": "darts",
        "epochs": 4,
        "retrain_from": "scratch",
        "out": str(tmp_path / "run"),
    }
    with runs.Run(runs.make_config(given)) as run:
        old = run.config.model_dump(mode="json")
        del old["rule"]
        run.directory.write_config(old)
    with runs.Run(None, tmp_path / "run", space=OPTIONS["space"]) as run:
        assert run.config.rule == "weights"
    with (
        pytest.raises(RunDirectoryError, match="rule: weights -> logits"),
        runs.Run(runs.make_config({**given, "rule": "logits"})),
    ):
        pass
