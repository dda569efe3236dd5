"""Metrics and costs as people read them."""

from __future__ import annotations

import pytest

from onepath.display import Metric, ShownCost, short_count, shown_cost

ACCURACY, RMSE = Metric("accuracy", is_share=True), Metric("rmse", higher_is_better=False)


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("metric", "score", "value", "drawn", "text", "axis"),
    [
        (ACCURACY, 0.97654, 0.97654, 97.654, "97.7 %", "test accuracy (%)"),
        (RMSE, -3.214, 3.214, 3.214, "3.214", "test rmse (lower is better)"),
        (Metric("r2"), -0.5, -0.5, -0.5, "-0.5", "test r2"),
        (
            Metric("perplexity", higher_is_better=False),
            0.01,
            100.0,
            100.0,
            "100",
            "test perplexity (lower is better)",
        ),
        (
            Metric("perplexity", higher_is_better=False),
            -100.0,
            100.0,
            100.0,
            "100",
            "test perplexity (lower is better)",
        ),
    ],
)
def test_a_score_is_shown_as_the_metric_that_it_stands_for(
    metric: Metric, score: float, value: float, drawn: float, text: str, axis: str
) -> None:
    assert metric.value(score) == pytest.approx(value)
    assert metric.shown(score) == pytest.approx(drawn)
    assert plain(metric.text(score)) == text
    assert metric.axis("test") == axis
    assert metric.text(None) == "–"


def test_goodness_has_the_unit_of_the_metric_and_rises_with_the_score() -> None:
    assert RMSE.goodness(-2.0) > RMSE.goodness(-3.0)
    perplexity = Metric("perplexity", higher_is_better=False)
    assert perplexity.goodness(1 / 90) - perplexity.goodness(1 / 100) == pytest.approx(10.0)


def test_ranges_and_differences_in_the_unit_of_the_metric() -> None:
    assert plain(ACCURACY.range_text([0.9, 0.85, 0.8])) == "80.0–90.0 %"
    assert plain(ACCURACY.range_text([0.9, 0.90001])) == "90.0 %"
    assert plain(ACCURACY.range_text([0.9])) == "90.0 %"
    assert RMSE.range_text([-3.0, -2.5]) == "2.5–3"
    assert ACCURACY.difference(-0.0101) == "1.0 point"
    assert ACCURACY.difference(0.012) == "1.2 points"
    assert RMSE.difference(-0.0126) == "0.0126"
    assert ACCURACY.signed(-0.012) == "\u22121.2"
    assert RMSE.signed(0.25) == "+0.25"
    assert RMSE.signed(None) == "–"


def test_a_metric_is_read_from_its_document_or_its_bare_name() -> None:
    assert Metric.of(RMSE.document()) == RMSE
    assert Metric.of({"name": "f1", "higher_is_better": True}) == Metric("f1")
    assert Metric.of(None) == Metric.of("accuracy") == ACCURACY
    assert Metric.of("perplexity") == Metric("perplexity", higher_is_better=False)
    assert (RMSE.direction, ACCURACY.direction) == ("lower is better", "higher is better")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (0.25, "0.25"),
        (1000, "1.00 k"),
        (94_900, "94.9 k"),
        (119_999.9, "120 k"),
        (999_949, "1.00 M"),
        (1_889_280, "1.89 M"),
        (322_919_000, "323 M"),
        (9_999_999, "10.0 M"),
        (4.2e9, "4.20 G"),
        (4.2e13, "42,000 G"),
    ],
)
def test_short_count(value: float, text: str) -> None:
    assert short_count(value) == text


@pytest.mark.parametrize(
    ("name", "value", "text", "named"),
    [
        ("macs", 1_889_280, "1.89 M", "1.89 M MACs"),
        ("params", 94_900, "94.9 k", "94.9 k parameters"),
        ("memory", 24_600, "24.6 kB", "24.6 kB of memory"),
        ("memory", 512, "512 B", "512 B of memory"),
        ("latency_ms", 1.4503, "1.45 ms", "1.45 ms of latency"),
        ("energy_mj", 12, "12", "12 energy mj"),
    ],
)
def test_a_cost_is_shown_with_its_unit(name: str, value: float, text: str, named: str) -> None:
    cost = shown_cost(name)
    assert isinstance(cost, ShownCost)
    assert plain(cost.text(value)) == text
    assert plain(cost.named(value)) == named
    assert cost.text(None) == "–"
