"""The diagrams hold the records' numbers."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onepath.display import shown_cost
from onepath.record import CurvePoint, RunRecord
from onepath.report.figures import (
    curve_title,
    score_against,
    search_progress,
    searched_against_alone,
    training_curves,
)
from onepath.verdict import on_front

MACS = shown_cost("macs")
Make = Callable[..., RunRecord]


def by_name(figure: dict) -> dict:
    return {trace["name"]: trace for trace in figure["data"] if "name" in trace}


def test_scatter_has_every_trial_the_front_the_winner_the_baseline_and_the_limit(
    finished_record: RunRecord,
) -> None:
    figure = score_against(finished_record, MACS)
    assert figure is not None
    traces = by_name(figure)
    assert list(traces) == ["evaluated", "Pareto front", "random baseline", "winner"]
    assert traces["evaluated"]["x"] == [
        round(trial.costs["macs"] / 1e6, 6) for trial in finished_record.trials
    ]
    assert traces["evaluated"]["y"] == [round(100 * trial.accuracy, 4) for trial in finished_record.trials]
    assert len(traces["Pareto front"]["x"]) == len(on_front(finished_record.trials, ["macs"]))
    winner = finished_record.networks[0]
    assert traces["winner"]["x"] == [winner.costs["macs"] / 1e6]
    assert traces["winner"]["y"] == [max(traces["evaluated"]["y"])]
    assert len(traces["random baseline"]["x"]) == 3
    (line,) = figure["layout"]["shapes"]
    assert (line["x0"], line["x1"]) == (2.0, 2.0)
    stages = {**finished_record.stages, "search": {"done": False, "record": {}}}
    unlimited = replace(finished_record, config={"max_macs": None}, stages=stages, networks=[])
    figure = score_against(unlimited, MACS)
    assert figure is not None
    assert "shapes" not in figure["layout"]
    assert list(by_name(figure)) == ["evaluated", "Pareto front", "best so far"]


def test_progress_is_best_median_and_quartiles_by_generation(finished_record: RunRecord) -> None:
    figure = search_progress(finished_record)
    assert figure is not None
    low, high, median, best = figure["data"]
    generations = {}
    for trial in finished_record.trials:
        generations.setdefault(trial.generation, []).append(100 * trial.accuracy)
    assert median["x"] == list(range(20))
    assert median["y"] == pytest.approx([statistics.median(generations[g]) for g in range(20)], abs=1e-3)
    assert low["y"] == pytest.approx([np.percentile(generations[g], 25) for g in range(20)], abs=1e-3)
    assert high["y"] == pytest.approx([np.percentile(generations[g], 75) for g in range(20)], abs=1e-3)
    peaks = [max(generations[g]) for g in range(20)]
    assert best["y"] == pytest.approx([max(peaks[: g + 1]) for g in range(20)], abs=1e-3)
    assert best["y"][0] < best["y"][-1]


def test_progress_of_few_generations_is_by_trial(finished_record: RunRecord) -> None:
    trials = [replace(trial, generation=0) for trial in finished_record.trials[:30]]
    figure = search_progress(replace(finished_record, trials=trials))
    assert figure is not None
    best = by_name(figure)["best so far"]
    assert best["x"] == list(range(1, 31))
    assert best["y"] == sorted(best["y"])


def test_curves_are_thinned_keep_their_end_and_leave_out_what_is_not_finite(make_record: Make) -> None:
    points = [
        CurvePoint("supernet", i, i + 1, (i + 1) / 100, 2.0 - i / 5000, None, 0.1, i) for i in range(5000)
    ]
    (loss,) = training_curves(make_record(curves={"supernet": points}))
    (line,) = loss["data"]
    assert loss["heading"] == "Supernet: training loss"
    assert 300 <= len(line["x"]) <= 400
    assert line["x"][-1] == 50.0
    assert line["y"][-1] == round(points[-1].loss, 5)
    assert training_curves(make_record(curves={"supernet": []})) == []


def test_a_curve_of_a_metric_that_counts_down_is_drawn_as_itself(make_record: Make) -> None:
    """An rmse is stored as its negative, the task's score."""
    noted = {"name": "rmse", "higher_is_better": False, "is_share": False}
    points = [CurvePoint("supernet", 0, i, i, 9.0 - i, i - 3.0, 0.1, i) for i in (1, 2)]
    figures = training_curves(make_record(curves={"supernet": points}, stages={"data": {"metric": noted}}))
    assert [figure["data"][0]["y"] for figure in figures] == [[8.0, 7.0], [2.0, 1.0]]


def test_winner_is_drawn_over_the_baseline(finished_record: RunRecord) -> None:
    figures = {figure["id"]: figure for figure in training_curves(finished_record)}
    traces = figures["curves-stand-alone-metric"]["data"]
    assert [trace["name"] for trace in traces] == ["Random", "Random", "Random", "Winner"]
    assert [trace.get("showlegend", True) for trace in traces] == [True, False, False, True]
    assert [f"<extra>Random {number}</extra>" in traces[number - 1]["hovertemplate"] for number in (1, 2, 3)]
    assert curve_title("baseline-11-inherited") == "Random 12, inherited"
    assert curve_title("winner-inherited") == "Winner, inherited"
    assert curve_title("winner-as-is") == "Winner, as it is"
    assert curve_title("baseline-0-fine-tuned") == "Random 1, fine-tuned"
    assert curve_title("baseline-2-scratch") == "Random 3"
    assert curve_title("supernet-seed3") == "Supernet, seed 3"
    assert curve_title("supernet") == "Supernet"


def test_ranking_scatter_names_few_networks_and_numbers_many(finished_record: RunRecord) -> None:
    figure = searched_against_alone(finished_record)
    assert figure is not None
    assert [trace["text"] for trace in figure["data"]] == [["Random 1", "Random 2", "Random 3"], ["Winner"]]
    assert not figure["is_numbered"]
    random = finished_record.networks[1]
    many = [finished_record.networks[0], *(replace(random, role=f"baseline-{index}") for index in range(9))]
    figure = searched_against_alone(replace(finished_record, networks=many))
    assert figure is not None
    assert figure["data"][0]["text"] == [str(number) for number in range(1, 10)]
    assert figure["is_numbered"]
    assert searched_against_alone(replace(finished_record, networks=[])) is None


def test_finalists_share_an_entry_of_the_legend_as_random_networks_do(make_record: Make) -> None:
    points = [CurvePoint("x", i, i, i, 2.0, 0.5, 0.1, i) for i in (1, 2)]
    names = ["baseline-0-scratch", "finalist-0-scratch", "finalist-1-scratch", "winner-scratch"]
    (loss, _) = training_curves(make_record(curves=dict.fromkeys(names, points)))
    assert [trace["name"] for trace in loss["data"]] == ["Random", "Finalists", "Finalists", "Winner"]
    assert [trace.get("showlegend", True) for trace in loss["data"]] == [True, True, False, True]
