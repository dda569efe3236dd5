"""The front in the report: which trials are shown, and what the words say of the winner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onepath.display import shown_cost
from onepath.record import RunRecord, TrialRow
from onepath.report.figures import score_against
from onepath.report.front import front_section

Make = Callable[..., RunRecord]
REFERENCE = {"macs": 2_000_000, "params": 40_000}


def row(number: int, accuracy: float | None, macs: int) -> TrialRow:
    return TrialRow(
        number, f"{number}", 0, "random", accuracy, 1.0, {"macs": macs, "params": macs // 50}, 0.1
    )


def make_trials() -> list[TrialRow]:
    return [row(0, 0.5, 500_000), row(1, 0.9, 1_500_000), row(2, 0.9, 1_600_000), row(3, None, 100_000)]


def make(
    make_record: Make, numbers: list[int], winner: str, trials: list[TrialRow] | None = None
) -> RunRecord:
    front = {"trials": numbers, "hypervolume": 0.25, "reference": REFERENCE, "decides_ties": True}
    search: dict[str, Any] = {"winner": winner, "front": front}
    return make_record(trials=make_trials() if trials is None else trials, stages={"search": search})


def test_without_a_front_there_is_no_section(make_record: Make) -> None:
    assert front_section(make_record(trials=make_trials(), stages={"search": {"winner": "1"}})) is None
    assert front_section(make_record()) is None
    assert front_section(make(make_record, [], "1")) is None


def test_the_front_is_drawn_and_named(make_record: Make) -> None:
    record = make(make_record, [0, 1], "1")
    section = front_section(record)
    assert section is not None
    assert [(trial.number, is_winner) for trial, is_winner in section["rows"]] == [(0, False), (1, True)]
    assert section["text"].startswith("2 of the 4 evaluated architectures are on the front")
    assert "hypervolume is 0.2500" in section["text"]
    assert "from accuracy 0 at 2.00 M MACs and 40.0 k parameters to accuracy 1" in section["text"]
    assert section["text"].endswith("The winner has the best inherited accuracy on the front.")
    for name, xs in (("macs", [0.5, 1.5]), ("params", [10.0, 30.0])):
        figure = score_against(record, shown_cost(name))
        assert figure is not None
        evaluated, line, front, winner = figure["data"]
        assert (front["x"], front["y"], front["name"]) == (xs, [50.0, 90.0], "front of all costs")
        assert len(evaluated["x"]) == 3, "what gave no accuracy is not drawn"
        assert set(xs) <= set(line["x"])
        assert winner["x"] == xs[1:]


@pytest.mark.parametrize(
    ("winner", "words"),
    [
        ("2", "The winner is not on the front: a cheaper architecture has the same inherited accuracy"),
        ("0", "inherited accuracy is not the best on the front, which did not meet the limit on latency"),
    ],
)
def test_a_winner_that_is_not_the_best_of_the_front_is_explained(
    make_record: Make, winner: str, words: str
) -> None:
    section = front_section(make(make_record, [0, 1], winner))
    assert section is not None
    assert words in section["text"]


def test_a_long_front_is_thinned_around_the_winner(make_record: Make) -> None:
    trials = [row(number, 0.5 + number / 1000, 10_000 * (number + 1)) for number in range(100)]
    section = front_section(make(make_record, list(range(100)), "50", trials))
    assert section is not None
    shown = [trial.number for trial, _ in section["rows"]]
    assert shown == sorted(shown)
    assert {0, 50, 99} <= set(shown)
    assert len(shown) + section["num_hidden"] == 100
    assert 15 <= len(shown) <= 16
