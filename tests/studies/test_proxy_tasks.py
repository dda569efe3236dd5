"""Proxy tasks: the text of the option, and the trainings that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onepath.errors import ConfigurationError
from onepath.estimate.proxy import Proxy
from onepath.runs import Run, make_config
from onepath.runs.definition import RunDefinition
from onepath.studies.proxy_tasks import parse_proxy_task, proxy_tasks, whole_training

SPACE = f"{Path(__file__).parents[1] / 'runs' / 'tiny_space.py'}:build"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    given: dict[str, Any] = {"space": SPACE, "method": "random", "num": 1, "retrain_epochs": 4, "workers": 1}
    with Run(make_config({**given, "out": str(tmp_path / "run")})) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=1,subset=0.1,width=0.5,resolution=16", Proxy(1, 0.1, 0.5, 16)),
        ("resolution=6", Proxy(resolution=6)),
        (" width = .25 , epochs = 2.5 ", Proxy(epochs=2.5, width=0.25)),
        ("subset=1e-2", Proxy(subset=0.01)),
    ],
)
def test_any_of_the_four_may_be_given(text: str, expected: Proxy) -> None:
    assert parse_proxy_task(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be written as name=number"),
        ("epoch=1", "epochs, subset, width, resolution and commas between, but got 'epoch=1'"),
        ("epochs", "but got 'epochs'"),
        ("epochs=one", "but got 'epochs=one'"),
        ("width=nan", "but got 'width=nan'"),
        ("width=-0.5", "but got 'width=-0.5'"),
        ("epochs=1,", "must be written as name=number"),
        ("epochs=1,subset=0.5,epochs=2", "got epochs twice"),
        ("epochs=0.5", "1 <= epochs"),
        ("epochs=1e9", "1 <= epochs"),
        ("subset=0", "0 < subset <= 1"),
        ("subset=1", "`subset < 1` must hold"),
        ("width=2", "`width < 1` must hold"),
        ("resolution=7.5", "whole number of pixels"),
        ("resolution=0", "1 <= resolution"),
        ("resolution=1e200", "whole number of pixels"),
    ],
)
def test_mistakes_are_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r".") as error:
        parse_proxy_task(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_each_reduction_alone_and_all_together(run: Run) -> None:
    assert whole_training(run) == Proxy(4)
    assert proxy_tasks(run, Proxy(1, subset=0.5, resolution=6)) == {
        "epochs 1": Proxy(1),
        "subset 0.5": Proxy(4, subset=0.5),
        "resolution 6": Proxy(4, resolution=6),
        "all together": Proxy(1, subset=0.5, resolution=6),
    }
    assert proxy_tasks(run, Proxy(subset=0.25)) == {"subset 0.25": Proxy(4, subset=0.25)}


def test_a_narrower_space_is_built_before_anything_is_trained(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def at_width(self: RunDefinition, factor: float) -> Any:
        asked.append(factor)
        return self.build_supernet()

    monkeypatch.setattr(RunDefinition, "at_width", at_width)
    assert list(proxy_tasks(run, Proxy(2, width=0.5))) == ["epochs 2", "width 0.5", "all together"]
    assert asked == [0.5]


@pytest.mark.parametrize(
    ("reductions", "said"),
    [
        (Proxy(), "must reduce one of epochs, subset, width, resolution"),
        (Proxy(epochs=4), "`epochs < 4`"),
        (Proxy(epochs=1, resolution=8), "`resolution < 8`"),
    ],
)
def test_what_reduces_nothing_is_refused(run: Run, reductions: Proxy, said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        proxy_tasks(run, reductions)
    assert said in str(error.value)
