"""A result as people read it, on the console, in Python and in a notebook."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onepath.cli.output import print_result
from onepath.display import Metric
from onepath.runs.result import Result
from onepath.runs.shown_result import costs_result, metric_result, result_html, result_lines, result_text

RMSE = {"name": "rmse", "higher_is_better": False, "is_share": False}


def made(**changes: Any) -> dict[str, Any]:
    """The content of a `result.json`."""
    return {
        "space": "mbconv",
        "data": {"metric": "accuracy"},
        "cost": {"macs": 12_345, "params": 678, "latency_ms": None},
        "constraints": {"max_latency_ms": None},
        "accuracy": {"inherited_validation": 0.9, "retrained_validation": 0.95, "retrained_test": 0.9722},
        "random_baseline": {"num": 2, "retrained_test": [0.97, None]},
        "ranking": {"num": 3, "kendall_tau": 1.0, "spearman": 1.0},
        "score": None,
        "search": {"evaluated": 1234},
        "seconds": {"total": 61.4},
        "files": {"onnx": "model.onnx", "report": "report.html"},
        "preprocessing": None,
        "winners": [],
    } | changes


def test_the_lines_of_a_result_with_a_share() -> None:
    assert result_lines(made(verdict=["The winner is good.", "Four networks prove nothing."])) == [
        ("network", "12,345 MACs, 678 parameters"),
        ("accuracy", "0.9722 test, 0.9500 validation"),
        ("baseline", "0.9700, none test, of 2 random architectures under the same limits"),
        ("ranking", "Kendall tau 1.0000, Spearman 1.0000 over 3 networks, too few to prove anything"),
        ("verdict", "The winner is good."),
        ("verdict", "Four networks prove nothing."),
    ]


def winner(test: float | None, macs: float, **limits: float) -> dict[str, Any]:
    return {
        "limits": limits or {"max_macs": macs},
        "accuracy": {"retrained_test": test},
        "costs": {"macs": {"value": macs, "unit": "macs"}},
    }


def verdicts(*winners: dict[str, Any], **changes: Any) -> list[str]:
    result = made(data={"metric": "accuracy", "test": 360}, winners=list(winners), **changes)
    return [text.replace("\u00a0", " ") for label, text in result_lines(result) if label == "verdict"]


def test_the_smallest_of_several_winners_that_tests_as_well_as_the_best() -> None:
    three = [winner(0.90, 100e3), winner(0.985, 400e3), winner(0.99, 800e3)]
    assert verdicts(*three) == [
        "Of the 3 winners the best has 99.0 % on the test set, 97.3 % or more within its uncertainty on 360 examples; "
        "the smallest that reaches that has 98.5 % with 400 k MACs, 50 % of the best one's."
    ]
    alone = verdicts(winner(0.9, 1e5), winner(0.99, 8e5))[0]
    assert alone.endswith("on 360 examples; no smaller one reaches that, with 800 k MACs.")
    smallest = verdicts(winner(0.99, 1e5), winner(0.9, 8e5))[0]
    assert smallest.endswith("on 360 examples; it is also the smallest, with 100 k MACs.")


@pytest.mark.parametrize(
    "winners",
    [
        (),
        (winner(0.9, 1e5),),
        (winner(0.9, 1e5), winner(None, 2e5)),
        (winner(0.9, 1e5), winner(0.9, 2e5, max_params=3.0)),
    ],
)
def test_winners_that_cannot_be_compared_get_no_verdict(winners: tuple[dict[str, Any], ...]) -> None:
    assert verdicts(*winners) == []


def test_winners_of_a_metric_that_is_no_share_get_no_verdict() -> None:
    assert verdicts(winner(-3.0, 1e5), winner(-2.0, 2e5), metric=RMSE) == []


def test_a_metric_that_counts_down_is_shown_as_itself_with_its_direction() -> None:
    scores = {"inherited_validation": -4.0, "retrained_validation": -3.3, "retrained_test": -3.21}
    lines = dict(result_lines(made(metric=RMSE, accuracy=scores)))
    assert lines["rmse"] == "3.2100 test, 3.3000 validation (lower is better)"
    assert "accuracy" not in lines


def test_any_number_of_costs_is_named_with_units() -> None:
    costs = {
        "macs": {"value": 12_345, "unit": "MACs"},
        "memory": {"value": 24_600, "unit": "B"},
        "energy": {"value": 1.25, "unit": "mJ"},
        "latency_ms": {"value": 0.4, "unit": "ms"},
    }
    text = dict(result_lines(made(costs=costs)))["network"].replace("\u00a0", " ")
    assert text == "12,345 MACs, 24.6 kB of memory, 1.25 energy"


def test_ten_networks_are_not_called_few() -> None:
    many = made(ranking={"num": 10, "kendall_tau": 0.5, "spearman": 0.6})
    assert dict(result_lines(many))["ranking"].endswith("over 10 networks")


def test_an_unfinished_run_shows_that_it_is_one() -> None:
    assert result_text(Path("runs/a"), {}).splitlines() == [
        "run        runs/a",
        "network    not finished yet",
    ]


def test_a_result_shows_itself_in_one_screen(tmp_path: Path) -> None:
    result = Result(tmp_path, made(verdict=["The winner is good."]))
    assert str(result) == repr(result)
    assert 5 <= len(str(result).splitlines()) <= 12
    assert str(result).splitlines()[0] == f"run        {tmp_path}"
    assert str(result).splitlines()[-1] == f"report     {tmp_path / 'report.html'}"


def test_the_table_of_a_notebook_is_escaped_and_links_to_the_report(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    page = result_html(tmp_path / "a'b\"c", made(metric={**RMSE, "name": hostile}, verdict=[hostile]))
    assert hostile not in page
    assert page.count("&lt;script&gt;") == 2
    assert 'href="file://' in page
    assert page.count("<tr>") == page.count("</tr>")
    assert Result(tmp_path, made())._repr_html_() == result_html(tmp_path, made())


def test_the_console_prints_the_lines_and_the_further_winners(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    winner = {
        "limits": {"max_macs": 2_000_000},
        "path": "limit-2M",
        "cost": {"macs": 1_900_000, "latency_ms": None},
        "accuracy": {"retrained_test": 0.98},
    }
    print_result(tmp_path, made(winners=[winner, winner]))
    said = capsys.readouterr().out.replace("\u00a0", " ").splitlines()
    assert said[:2] == ["network    12,345 MACs, 678 parameters", "accuracy   0.9722 test, 0.9500 validation"]
    assert said[-1] == f"winner     0.9800 test, 1.90 M MACs, limit 2.00 M: {tmp_path / 'limit-2M'}"
    assert "time       61 s, 1,234 architectures evaluated" in said


def test_the_metric_of_a_result_has_its_own_values_not_the_scores() -> None:
    winner: Any = SimpleNamespace(retrained_validation=-3.3, retrained_test=None)
    searched: Any = SimpleNamespace(accuracy=-4.0)
    found = metric_result(Metric.of(RMSE), searched, winner, is_score=False)
    values = {"inherited_validation": 4.0, "retrained_validation": 3.3, "retrained_test": None}
    assert found == {**RMSE, **values}
    assert metric_result(Metric.of(RMSE), searched, winner, is_score=True)["inherited_validation"] is None


def test_costs_of_a_result_come_from_the_first_row_that_knows_them() -> None:
    network, trial = (
        SimpleNamespace(costs={"macs": 5, "params": None}),
        SimpleNamespace(costs={"params": 7, "size": 9}),
    )
    assert costs_result([network, trial], 1.5) == {
        "macs": {"value": 5, "unit": "macs"},
        "params": {"value": 7, "unit": "params"},
        "size": {"value": 9, "unit": "bytes"},
        "latency_ms": {"value": 1.5, "unit": "ms"},
    }
    assert "latency_ms" not in costs_result([network], None)
