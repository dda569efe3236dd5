"""Rank evidence on its page and in a run's report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from onepath.estimate import rank_evidence
from onepath.record import RunRecord
from onepath.report.page import content, render
from onepath.report.study_pages import (
    Study,
    heads,
    ranking_page,
    ranking_sections,
    rows,
    table_of,
    verdicts,
    with_interval,
)

TRUTH = np.linspace(90.0, 94.0, 40)
NOISE = np.random.default_rng(0).normal(size=40)


def make_study(**changes: Any) -> Study:
    scores = {"loss": TRUTH + 0.2 * NOISE, "macs": 2 * TRUTH + 5 * NOISE, "params": np.ones(40)}
    evidence = rank_evidence(
        TRUTH, scores, np.random.default_rng(1), baselines=["macs", "params"], num_resamples=200
    )
    networks = [
        {
            "architecture": f"<{place}>",
            "truth": float(truth),
            "loss": None if place == 3 else 1.0,
            "macs": 2.0,
        }
        for place, truth in enumerate(TRUTH)
    ]
    similarity = {"stages.0.0": {"names": ["skip", "k3"], "matrix": [[1.0, None], [None, 1.0]]}}
    chosen = [{"architecture": "best", "truth": 94.0, "loss": 3.0}]
    return Study(
        **{
            **{"title": "A <title>", "truth": "accuracy", "notes": ["A note."], "networks": networks},
            **{"evidence": evidence, "chosen": chosen, "similarity": similarity},
            **changes,
        }
    )


def test_table_and_verdicts() -> None:
    evidence = make_study().evidence
    table = dict(zip([row[0] for row in rows(evidence)], rows(evidence), strict=True))
    assert set(table) == {"validation loss (negated)", "MACs", "parameters"}
    assert table["parameters"][1] == "–", "constant: no order"
    assert all(len(row) == len(heads(evidence)) for row in table.values())
    assert "tau-b, top 25 %" in heads(evidence)
    said = verdicts(evidence)
    assert said[0].startswith("Validation loss (negated) ranks better than MACs: tau-b +")
    assert said[1].endswith("one of them has no rank correlation.")


def test_scores_that_are_trainings_have_their_times_in_the_table() -> None:
    timings = {
        "whole": {"num": 7, "seconds": 61.24, "times_faster": 1.0},
        "loss": {"num": 40, "seconds": 4.0, "times_faster": 15.34},
        "macs": {"num": 40, "seconds": None, "times_faster": None},
    }
    study = make_study(timings=timings)
    heads, rows = table_of(study.evidence, study.timings)
    assert all(len(row) == len(heads) for row in rows)
    assert rows[0] == ["whole training", "7", "the truth", "–", "–", "61.2", "1"]
    assert rows[1][:2] + rows[1][4:] == ["validation loss (negated)", "40", "0", "4", "15.3"]
    assert rows[2][5:] == ["no training", "–"]
    page = ranking_page([study])
    assert "<th>times faster</th>" in page
    assert "not another training of each" in page
    assert "not another training of the supernet" in ranking_page([make_study()])


def test_an_interval_around_zero_is_no_difference() -> None:
    figure = {"value": 0.1, "low": -0.1, "high": 0.3}
    evidence = {"differences": {"loss": {"macs": {"kendall_tau": figure}}}}
    assert verdicts(evidence) == [
        "Validation loss (negated) is not told apart from MACs: tau-b +0.100 [-0.100, +0.300]."
    ]
    worse = {"value": -0.2, "low": -0.3, "high": -0.1}
    evidence = {"differences": {"loss": {"macs": {"kendall_tau": worse}}}}
    assert "ranks worse than" in verdicts(evidence)[0]
    assert with_interval({"value": 0.5, "low": None, "high": None}, 2) == "0.50"


def test_figures_leave_out_what_is_not_finite_and_escape() -> None:
    (section,) = ranking_sections([make_study()])
    loss = section["scatters"][0]
    networks, chosen = loss["data"]
    assert len(networks["x"]) == 39
    assert networks["text"][0] == "&lt;0&gt;"
    assert chosen["y"] == [94.0]
    assert section["similarity"][0]["data"][0]["z"] == [[1.0, None], [None, 1.0]]


def test_the_page_loads_nothing() -> None:
    page = ranking_page([make_study()])
    assert "A &lt;title&gt;" in page
    assert "<script src" not in page
    assert "default-src 'none'" in page
    assert "NaN" not in page.split('id="figures">')[1].split("</script>")[0]


def test_the_report_shows_it_where_it_was_computed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"data": "digits", "space": "shufflenet", "seed": 0})
    )
    assert content(RunRecord.load(tmp_path))["ranking_sections"] == []
    (tmp_path / "ranking.json").write_text(json.dumps({"truth": asdict(make_study())}))
    page = render(RunRecord.load(tmp_path))
    assert "Rank evidence" in page
    assert 'id="ranking-0-0"' in page
    assert 'id="similarity-0-0"' in page
