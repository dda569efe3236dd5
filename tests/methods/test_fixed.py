"""A given architecture is trained as it is, or the one that a space has made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import onepath as op
from onepath import runs
from onepath.errors import ConfigurationError, InfeasibleError, UserError
from onepath.runs.continuing import changes
from onepath.runs.fitting import WIDTHS
from onepath.spaces.catalogue import HAND_MADE


def resolved(tmp_path: Path, **options: Any) -> runs.RunConfig:
    """The configuration that a run begins with."""
    with runs.Run(
        runs.make_config({"method": "fixed", "workers": 1, "out": str(tmp_path / "run"), **options})
    ) as run:
        return run.config


@pytest.mark.parametrize(
    ("space", "written", "options"),
    [
        ("nasbench-macro", "1,1,1,1,1,1,1,1", {"k3_e3"}),
        ("mobilenet", ",".join("3" * 19), {"k3_e6"}),
        ("proxylessnas", ",".join("3" * 21), {"k3_e6"}),
        ("shufflenet", ",".join("0" * 20), {"shuffle_3x3"}),
    ],
)
def test_spaces_have_a_network_made_by_hand(
    tmp_path: Path, space: str, written: str, options: set[str]
) -> None:
    assert resolved(tmp_path, space=space, width=0.2).as_dict()["architecture"] == written
    supernet = op.spaces.build(space, 10, 8, 1, 0.2)
    assert set(supernet.space.parse(supernet.module.hand_made).options.values()) == options  # type: ignore[arg-type]


def test_the_catalogue_lists_the_spaces_with_such_a_network() -> None:
    for name in op.spaces.names():
        has_one = name in HAND_MADE
        classes, size = (20, 8) if name == "darts-rnn" else (10, 32)
        width = None if name == "zennas" else 0.1
        module = op.spaces.build(name, classes, size, width=width).module
        assert (getattr(module, "hand_made", None) is not None) == has_one, name


def test_an_architecture_is_given_in_any_form(tmp_path: Path) -> None:
    options = {"space": "nasbench-macro", "width": 0.2}
    assert (
        resolved(tmp_path, architecture="22212220", **options).as_dict()["architecture"] == "2,2,2,1,2,2,2,0"
    )
    (tmp_path / "architecture.json").write_text(
        op.spaces.build("nasbench-macro", 10).space.parse("0,1,2,0,1,2,0,1").to_json()
    )
    found = resolved(tmp_path / "other", architecture=str(tmp_path / "architecture.json"), **options)
    assert found.as_dict()["architecture"] == "0,1,2,0,1,2,0,1"


def test_the_width_is_the_largest_at_which_it_meets_the_limit(tmp_path: Path) -> None:
    limit = 1_000_000
    for text in ("1" * 8, "2" * 8):
        config = resolved(tmp_path / text, space="nasbench-macro", architecture=text, max_macs=limit)
        assert config.width is not None

        def macs(width: float, text: str = text) -> int:
            supernet = op.spaces.build("nasbench-macro", 10, 8, 1, width)
            return op.cost.macs(supernet, supernet.space.parse(text), (1, 8, 8))

        wider = WIDTHS[WIDTHS.index(config.width) + 1]
        assert macs(config.width) <= limit < macs(wider)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"space": "zennas"},
            ConfigurationError,
            "needs an architecture where the space has none that is made by",
        ),
        ({"space": "shufflenet-channels", "width": 0.2}, ConfigurationError, "has none that is made by hand"),
        ({"space": "nasbench-macro", "architecture": "1,1"}, UserError, "option indices"),
        (
            {"space": "nasbench-macro", "width": 0.2, "architecture": "22222222", "max_macs": 1_000_000},
            InfeasibleError,
            "architecture must meet max_macs=1,000,000, but 2,2,2,2,2,2,2,2 has",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_training(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        resolved(tmp_path, **options)


@pytest.mark.parametrize("in_file", [False, True])
def test_the_same_command_continues_whatever_form_the_architecture_has(tmp_path: Path, in_file: bool) -> None:
    text = "22212221"
    if in_file:
        text = str(tmp_path / "architecture.json")
        Path(text).write_text(op.spaces.build("nasbench-macro", 10).space.parse("22212221").to_json())

    def asked(text: str) -> runs.RunConfig:
        options = {"space": "nasbench-macro", "width": 0.2, "workers": 1, "out": str(tmp_path / "run")}
        return runs.make_config({"method": "fixed", "architecture": text, **options})

    with runs.Run(asked(text)) as run:
        began, facts = run.config, json.loads(json.dumps(run.facts))
    continued, changed = changes(asked(text), began, facts)
    assert changed == []
    assert continued.as_dict()["architecture"] == "2,2,2,1,2,2,2,1"
    assert changes(asked("11111111"), began, facts)[1] == ["architecture: 2,2,2,1,2,2,2,1 -> 11111111"]


def test_it_is_trained_beside_random_networks(tmp_path: Path) -> None:
    result = op.run(
        "digits", method="fixed", max_macs="400k", retrain_epochs=1, num_baselines=1, workers=1, out=tmp_path
    )
    assert set(result.result["architecture"].values()) == {"k3_e3"}
    assert len(result.trials) == 1
    assert result.trials[0].origin == "given"
    assert result.trials[0].accuracy is None
    assert len(result.result["random_baseline"]["retrained_test"]) == 1
    assert "no best" not in (tmp_path / "report.html").read_text()
