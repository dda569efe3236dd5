"""What the page says in each case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from onepath.record import NetworkRow, RunRecord, TrialRow
from onepath.report.sentences import (
    cautions,
    gain_text,
    limits_text,
    model_text,
    ranking_text,
    retraining_text,
    verdict,
    words,
)
from onepath.verdict import Ranking, ranking

Make = Callable[..., RunRecord]


def networks(winner: float | None, *baseline: float | None, start: str = "scratch") -> list[NetworkRow]:
    roles = ["winner", *(f"baseline-{index}" for index in range(len(baseline)))]
    return [
        NetworkRow(role, start, "0", 0, {"macs": 100, "params": 10}, 0.9, 0.9, test, 1.0)
        for role, test in zip(roles, (winner, *baseline), strict=True)
    ]


@pytest.mark.parametrize(
    ("winner", "baseline", "expected"),
    [
        (
            0.982,
            (0.969, 0.970, 0.971),
            "The winner is 1.2 points above the mean of 3 random architectures trained alike (range 96.9–97.1 %); "
            "the 95 % interval of the difference, +0.7 to +1.7 points, is above zero: better than random.",
        ),
        (
            0.972,
            (0.961, 0.969, 0.972),
            "The winner is 0.5 points above the mean of 3 random architectures trained alike (range 96.1–97.2 %); "
            "the 95 % interval of the difference, −2.4 to +3.3 points, includes zero: not told apart from random.",
        ),
        (
            0.966,
            (0.961, 0.969, 0.972),
            "The winner is 0.1 points below the mean of 3 random architectures trained alike (range 96.1–97.2 %); "
            "the 95 % interval of the difference, −3.0 to +2.7 points, includes zero: not told apart from random.",
        ),
        (
            0.950,
            (0.969, 0.970, 0.971),
            "The winner is 2.0 points below the mean of 3 random architectures trained alike (range 96.9–97.1 %); "
            "the 95 % interval of the difference, −2.5 to −1.5 points, is below zero: worse than random.",
        ),
        (
            0.970,
            (0.970, 0.970),
            "The winner is no better and no worse than the mean of 2 random architectures trained alike "
            "(range 97.0 %); the 95 % interval of the difference, "
            "−0.4 to +0.4 points, includes zero: not told apart from random.",
        ),
        (
            0.980,
            (0.970,),
            "The winner is 1.0 point above one random architecture trained alike (97.0 %); the 95 % interval of the "
            "difference over test examples alone, +0.5 to +1.5 points, is above zero: better than random.",
        ),
    ],
)
def test_verdict(make_record: Make, winner: float, baseline: tuple[float, ...], expected: str) -> None:
    record = make_record(networks=networks(winner, *baseline), stages={"data": {"test": 10_000}})
    assert verdict(record).replace("\u00a0", " ") == expected


def test_verdict_names_the_training_that_is_compared_where_another_is_handed_over(make_record: Make) -> None:
    rows = [*networks(0.982, 0.969, 0.970), *networks(0.99, start="inherited")]
    stages = {"data": {"test": 10_000}, "export": {"start": "inherited"}}
    assert verdict(make_record(networks=rows, stages=stages)).startswith(
        "The winner trained from scratch is 1.2 points above the mean of 2 random architectures"
    )
    assert verdict(make_record(networks=rows)).startswith("The winner is 1.2 points above")


def test_verdict_where_there_is_none(make_record: Make) -> None:
    assert verdict(make_record()).startswith("The search has not finished")
    assert verdict(make_record(stages={"search": {}})).startswith("The winner has not been retrained yet")
    assert verdict(make_record(networks=networks(0.9))).startswith("No random baseline was trained")
    assert verdict(make_record(networks=networks(0.9, None))).startswith(
        "The baseline's training has not finished"
    )
    assert verdict(make_record(networks=networks(0.9, 0.8))).endswith(
        "too little was measured to tell that from noise."
    )


def test_ranking_says_what_its_number_of_networks_can_tell() -> None:
    assert "at least two networks trained from scratch, and this run has 1" in ranking_text(
        Ranking(1, None, None, None), "inherited accuracy", "accuracy"
    )
    assert "tie in one of the two figures" in ranking_text(
        Ranking(4, None, None, None), "inherited accuracy", "accuracy"
    )
    few = ranking_text(Ranking(4, 0.6667, 0.8, 0.1667), "inherited accuracy", "accuracy").replace(
        "\u00a0", " "
    )
    assert "Over 4 networks" in few
    assert "tau +0.67 (Spearman's rho +0.80" in few
    assert "in 16.7 % of cases: too often to conclude that the ranking holds." in few
    assert "With 4 networks even the perfect order arises by chance in 4.2 % of cases" in few
    many = ranking_text(Ranking(20, -0.01, -0.02, 0.01), "inherited accuracy", "accuracy")
    assert "tau \u22120.01" in many
    assert "a sign that the ranking holds" in many
    assert "perfect order" not in many


def test_retraining_gain_and_the_two_starts(make_record: Make) -> None:
    rows = networks(0.95) + networks(0.97, start="inherited")
    rows = [replace(row, inherited_validation=0.85, retrained_validation=0.9) for row in rows]
    text = retraining_text(make_record(networks=rows))
    assert "improves its validation accuracy by 5.0 points on average" in text
    assert "The winner trained from scratch ends 2.0 points worse than the one" in text
    assert "starts" not in retraining_text(make_record(networks=rows[:1]))
    assert "unknown" in retraining_text(make_record())


def test_limits(make_record: Make) -> None:
    config = {"max_macs": 30_000_000, "max_params": None}
    assert limits_text(make_record(config=config)) == "The limit was 30.0 M MACs."
    noted = {"search": {"limit": {"max_macs": 2e6, "max_params": 500_000}}}
    assert limits_text(make_record(stages=noted)) == ("The limit was 2.00 M MACs and 500 k parameters.")
    assert limits_text(make_record(config={})) == "No limit was set."


def titles(record: RunRecord) -> list[str]:
    return [caution.title for caution in cautions(record)]


def trial(number: int, accuracy: float | None) -> TrialRow:
    return TrialRow(number, f"{number}", 0, "random", accuracy, 1.0, {"macs": 100, "params": 10}, 0.1)


def test_cautions_appear_when_their_cause_does(make_record: Make) -> None:
    calm = make_record(
        config={},
        trials=[trial(0, 0.9), trial(1, 0.8)],
        networks=networks(0.95, *[0.9] * 9),
        stages={
            "data": {"validation": 5000, "test": 10_000, "classes": 10},
            "export": {"onnx_max_abs_error": 1e-6},
        },
    )
    assert titles(calm) == ["The best of many"]
    assert (
        titles(replace(calm, networks=networks(0.95, *[0.9] * 8, 0.96)))[0]
        == "A random architecture is better"
    )
    assert "Ties at the top" in titles(replace(calm, trials=[*calm.trials, trial(2, 0.9)]))
    tied = replace(calm, trials=[*calm.trials, trial(2, 0.9)])
    search = {"seconds": 1.0, "done": True, "record": {"front": {"decides_ties": True}}}
    by_front = replace(tied, stages={**tied.stages, "search": search})
    assert any(caution.text.endswith("the lower loss decided.") for caution in cautions(tied))
    assert any("fewer MACs and parameters decided" in caution.text for caution in cautions(by_front))
    assert "Failed evaluations" in titles(replace(calm, trials=[*calm.trials, trial(2, None)]))
    assert "The supernet is hardly trained" in titles(replace(calm, trials=[trial(0, 0.15)]))
    two_classes = {"data": {"seconds": 0, "done": True, "record": {"classes": 2}}}
    assert titles(replace(calm, networks=[], stages=two_classes)) == ["The best of many"]
    assert "Few networks" in titles(replace(calm, networks=networks(0.95, 0.9, 0.91)))
    assert (
        titles(replace(calm, result={"parity": {"onnx_max_abs_error": 0.01}}))[0]
        == "Outputs of an export differ"
    )
    assert "Few validation examples" in titles(replace(calm, config={"validation_images": 200}))
    few = replace(
        calm, stages={"data": {"seconds": 0, "done": True, "record": {"test": 360, "notes": ["held out"]}}}
    )
    assert {"Few test examples", "About the data"} <= set(titles(few))
    assert cautions(few)[-1].text == "Held out"


def searched(make_record: Make, *trials: TrialRow, **stages: dict) -> RunRecord:
    search = {"limit": {"max_macs": 1000}}
    return make_record(trials=list(trials), stages={"data": {"validation": 287}, "search": search, **stages})


def at(number: int, accuracy: float, macs: int) -> TrialRow:
    return replace(trial(number, accuracy), costs={"macs": macs, "params": 10})


def test_the_gain_is_the_smallest_network_that_reaches_the_best_within_its_uncertainty(
    make_record: Make,
) -> None:
    record = replace(
        searched(make_record, at(0, 0.98, 900), at(1, 0.97, 300), at(2, 0.90, 100)),
        config={"validation_images": None},
    )
    assert gain_text(record).replace("\u00a0", " ") == (
        "The smallest network on the front that reaches the best inherited accuracy, 98.0 %, within its uncertainty "
        "(95.6 % or more, on 287 validation examples), is trial 1 with 97.0 % and 300 MACs: 33.3 % of the 900 of the "
        "best one."
    )


def test_no_gain_where_nothing_smaller_is_as_good(make_record: Make) -> None:
    record = searched(make_record, at(0, 0.98, 900), at(1, 0.50, 300))
    assert gain_text(record).startswith(
        "No network smaller than trial 0, with 900 MACs, reaches the best inherited"
    )
    assert gain_text(make_record()) == ""
    assert gain_text(searched(make_record, score={"name": "zen"})) == ""
    by_score = searched(make_record, at(0, 5.0, 900))
    by_score.stages["search"]["record"]["score"] = {"name": "zen", "num_degenerate": 0}
    assert gain_text(by_score) == "", "a score has no unit"


def test_the_words_end_with_a_warning_where_few_networks_prove_nothing(make_record: Make) -> None:
    few = words(make_record(networks=networks(0.95, 0.9, 0.91)))
    assert few[0] == verdict(make_record(networks=networks(0.95, 0.9, 0.91)))
    assert few[-1].startswith("A rank correlation over 3 networks proves nothing: it takes 10 or more")
    assert not any(
        "proves nothing" in line for line in words(make_record(networks=networks(0.95, *[0.9] * 9)))
    )
    assert not any("proves nothing" in line for line in words(make_record(networks=networks(0.95))))


def test_one_test_example_is_no_difference(make_record: Make) -> None:
    record = make_record(networks=networks(351 / 360, *[350 / 360] * 3), stages={"data": {"test": 360}})
    assert "includes zero: not told apart from random" in verdict(record)


RMSE = {"name": "rmse", "higher_is_better": False, "is_share": False}


def test_a_metric_that_counts_down_is_named_and_never_called_accuracy_or_percent(make_record: Make) -> None:
    rows = [
        replace(row, inherited_validation=-4.0, retrained_validation=-3.0)
        for row in networks(-2.0, -3.0, -3.1, -2.9)
    ]
    stages = {"data": {"metric": RMSE, "test": 360, "validation": 287}, "search": {"limit": {}}}
    record = make_record(networks=rows, trials=[replace(trial(0, -4.0)), trial(1, -5.0)], stages=stages)
    assert verdict(record) == (
        "The winner's rmse is better by 1 than the mean of 3 random architectures trained alike (range 2.9–3.1); "
        "the 95 % interval of the difference, +0.503 to +1.5, is above zero: better than random."
    )
    assert "improves its validation rmse by 1 on average" in retraining_text(record)
    said = [*words(record), retraining_text(record), *(caution.text for caution in cautions(record))]
    assert not any("accuracy" in text or "%" in text.replace("95 %", "") for text in said)
    assert "tie in one" in ranking_text(ranking(rows), "inherited rmse", "rmse")


def test_limits_of_any_cost_are_named(make_record: Make) -> None:
    noted = {"search": {"limit": {"max_memory": 24_600, "max_latency_ms": 1.5, "max_layers": 12}}}
    assert limits_text(make_record(stages=noted)).replace("\u00a0", " ") == (
        "The limit was 24.6 kB of memory and 1.5 ms of latency and 12 layers."
    )


MODEL = {
    "name": "net.py:build",
    "costs": {"macs": 2_000, "params": 400},
    "validation": 0.95,
    "test": 0.97,
    "latency_ms": 0.5,
    "winner_latency_ms": 0.2,
    "latency_device": "onnxruntime-cpu",
    "is_noisy": False,
    "agreement": 0.9,
}


def test_the_model_that_came_in_stands_beside_the_winner(make_record: Make) -> None:
    (winner,) = networks(0.96, start="as-is")
    record = make_record(networks=[replace(winner, costs={"macs": 500.0, "params": 100.0})])
    assert model_text(record) == ""
    record.stages["export"] = {"done": True, "seconds": 1.0, "record": {"start": "as-is", "model": MODEL}}
    assert model_text(record).replace("\u00a0", " ") == (
        "The model that came in has 97.0 % on the test set; the winner has 96.0 % with 25 % of its 2.00 k MACs and 25 "
        "% of its 400 parameters, and takes 0.2 ms for its 0.5 ms on onnxruntime-cpu (2.5 times as fast). It gives 90 "
        "% of the test examples to the same class."
    )
    record.stages["export"]["record"]["model"] = {**MODEL, "agreement": None, "is_noisy": True}
    assert model_text(record).endswith("(2.5 times as fast, noisy).")
    assert model_text(record) in words(record)


def test_networks_that_are_left_as_they_are_gain_nothing(make_record: Make) -> None:
    record = make_record(networks=networks(0.96, start="as-is"))
    assert retraining_text(record).startswith("Networks keep the supernet's weights")
