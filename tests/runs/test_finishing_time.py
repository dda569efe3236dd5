"""What finishing takes: the parts by hand, and the times of real networks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from onepath import runs
from onepath.runs.finishing_time import Finishing, finishing, played, timed_seconds


def opened(path: Path, **options: object) -> runs.Run:
    return runs.Run(
        runs.make_config(
            {
                "method": "spos",
                "space": "nasbench-macro",
                "width": 0.25,
                "budget": "2m",
                "out": str(path),
                **options,
            }
        )
    )


def test_seconds_and_epochs_are_inverse() -> None:
    made = Finishing(epoch=3.0, passes=2.0, part=0.5, num_parts=7, test=1.5)
    assert made.fixed == 0.5 * 7 + 1.5
    assert made.seconds(10) == 10 * 3 * 2 + made.fixed
    assert made.epochs(made.seconds(12.5)) == pytest.approx(12.5)


def test_more_finalists_cost_their_parts() -> None:
    one = Finishing(epoch=3.0, passes=1.0, part=0.5, num_parts=1, test=1.5)

    def found(**options: object) -> tuple[float, int]:
        config = runs.make_config({"method": "spos", "space": "nasbench-macro", "workers": 1, **options})
        made = played(SimpleNamespace(config=config, is_loadable=True), one, 4)  # type: ignore[arg-type]
        return made.passes, made.num_parts

    # Four networks for a quarter, two for another, the winner for the rest; two baselines.
    assert found(finish="halving", num_baselines=2) == (4 / 4 + 2 / 4 + 1 / 2 + 2, 4 + 2 + 1 + 2)
    assert found(num_baselines=0) == (4, 4 + 1)


def test_networks_are_timed(tmp_path: Path) -> None:
    with opened(tmp_path, num_baselines=1, method="random", num=1, retrain_epochs=1) as run:
        small, large = run.blank.space.parse("0,0,0,0,0,0,0,0"), run.blank.space.parse("2,2,2,2,2,2,2,2")
        found = finishing(run, [small, large], 1)
        assert found is not None
        assert (found.passes, found.num_parts) == (2, 2)
        assert found.epoch > 0
        assert found.part > 0
        # Two networks are scored on 360 test examples, in part one is on 287 of validation.
        assert 0 < found.test < 2 * 360 / 287 * found.part
        only_large = finishing(run, [large], 1)
        assert only_large is not None
        assert only_large.epoch > found.epoch


def test_what_is_not_trained_takes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, finish="as-is", epochs=1) as run:
        assert finishing(run, [run.blank.space.parse("1,1,1,1,1,1,1,1")], 1) is None


@pytest.mark.parametrize(("budget", "seconds"), [(60, 1.0), (600, 3.0), (36_000, 8.0)])
def test_longer_budgets_are_timed_for_longer(budget: float, seconds: float) -> None:
    assert timed_seconds(budget) == seconds
