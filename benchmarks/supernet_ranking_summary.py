"""The summary of `supernet_ranking.py`: how its supernets rank the same rows, with the names they are stored under."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onepath import cost, spaces
from onepath.errors import ConfigurationError
from onepath.estimate import Networks, TableEstimator, one_row_per_network, rank_evidence
from onepath.estimate.rank_evidence import CONFIDENCE, SHARES, share_name
from onepath.nn import Supernet
from onepath.randomness import generator
from onepath.rank_correlation import kendall_tau, num_better, ordinal
from onepath.record import EstimateStore, atomic_write_json, atomic_write_text
from onepath.report.study_pages import Study, ranking_page

SPACE = "nasbench-macro"
SHAPE = (3, 32, 32)


def build(width: float, seed: int) -> Supernet:
    return spaces.build(SPACE, 10, input_size=SHAPE[1], in_channels=SHAPE[0], width=width, seed=seed)


def rows(options: argparse.Namespace, supernet: Supernet) -> Networks:
    table = TableEstimator(supernet.space, options.truth)
    networks = one_row_per_network(table.architectures, table.accuracies)
    return networks.draw(options.rows, generator(0, "rows"))


def setting_name(options: argparse.Namespace, name: str) -> str:
    images = f"calibration {options.calibration_images}, validation {options.validation_images}"
    return f"{name}, weights {options.weights}, {images}"


def summarise(options: argparse.Namespace) -> None:
    """Rank the rows by every supernet, compare samplers and seeds, and write JSON and a page."""
    supernet = build(1.0, 0)
    networks = rows(options, supernet)
    scores = estimated(options, networks)
    matrix = supernet.space.matrix(networks.architectures)
    baselines = {
        kind: cost.counter(supernet, SHAPE, kind)[0](matrix).astype(np.float64) for kind in ("macs", "params")
    }
    rng = generator(0, "bootstrap")
    groups = by_sampler(scores)
    flat = {f"{name} {kind}": values for name, found in scores.items() for kind, values in found.items()}
    flat |= {
        f"{name} {kind}": values for name, found in together(groups).items() for kind, values in found.items()
    }
    evidence = rank_evidence(
        networks.truth,
        {**flat, **baselines},
        rng,
        baselines=("macs", "params"),
        num_resamples=options.resamples,
    )
    result = {
        "setting": json.loads((options.out / "setting.json").read_text()),
        "estimates": setting_name(options, "").removeprefix(", "),
        "rows": len(networks),
        "trainings": {name: training_facts(options.out / f"{name}.json") for name in scores},
        "evidence": evidence,
        "samplers": {
            kind: compare_samplers(networks.truth, groups, kind, options.resamples)
            for kind in ("accuracy", "loss")
        },
        "agreement": {kind: agreement(groups, kind) for kind in ("accuracy", "loss")},
        "networks": [
            {
                "architecture": supernet.space.format(architecture),
                "truth": float(truth),
                **{name: float(values[place]) for name, values in {**flat, **baselines}.items()},
            }
            for place, (architecture, truth) in enumerate(
                zip(networks.architectures, networks.truth, strict=True)
            )
        ],
    }
    stem = options.name or f"ranking-{options.weights}-{options.validation_images}"
    atomic_write_json(options.out / f"{stem}.json", result)
    study = Study(
        title="Supernets on NAS-Bench-Macro",
        truth=f"test accuracy (%) of {options.truth.name}",
        notes=(
            f"One setting for all: {json.dumps(result['setting'])}.",
            f"Estimates: {result['estimates']}.",
        ),
        networks=result["networks"],
        evidence=evidence,
    )
    atomic_write_text(options.out / f"{stem}.html", ranking_page([study]))
    show(result)
    print(f"written: {options.out / stem}.json and .html")


def estimated(options: argparse.Namespace, networks: Networks) -> dict[str, dict[str, Any]]:
    """Return supernet -> "accuracy" and "loss" -> score of each row, (rows,), higher is better.

    Supernets that have not estimated all rows are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    with EstimateStore(options.out / "estimates.sqlite") as store:
        for path in sorted(options.out.glob("*-[0-9]*.json")):
            name = path.name.removesuffix(".json")
            if "num_passes" not in json.loads(path.read_text()):
                continue
            known = store.read(setting_name(options, name))
            missing = [
                architecture for architecture in networks.architectures if str(architecture) not in known
            ]
            if missing:
                print(f"{name}: {len(missing)} of {len(networks)} rows are not estimated, left out")
                continue
            numbers = [known[str(architecture)] for architecture in networks.architectures]
            found[name] = {
                "accuracy": np.array([as_score(row["accuracy"], 1) for row in numbers]),
                "loss": np.array([as_score(row["loss"], -1) for row in numbers]),
            }
    if not found:
        raise ConfigurationError(
            "a summary needs an estimated supernet, but there is none; run `estimate` first"
        )
    return found


def as_score(value: float | None, sign: int) -> float:
    return -np.inf if value is None else sign * value


def by_sampler(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, found in scores.items():
        sampler, _, seed = name.rpartition("-")
        groups.setdefault(sampler, {})[seed] = found
    return groups


def together(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the scores of several trainings as one evaluator: their mean."""
    return {
        f"{sampler}, {len(seeds)} seeds together,": {
            kind: np.mean([run[kind] for run in seeds.values()], axis=0) for kind in ("accuracy", "loss")
        }
        for sampler, seeds in groups.items()
        if len(seeds) > 1
    }


def compare_samplers(
    truth: Any, groups: Mapping[str, Mapping[str, Any]], kind: str, num_resamples: int
) -> dict[str, Any]:
    """Return the mean tau-b over the seeds of each sampler, and its difference from the uniform sampler's.

    Rows and seeds are both resampled: the interval covers other networks and, as far as few seeds can tell, other
    trainings.
    """
    rng = generator(0, "two-level bootstrap")
    places, counts = (
        ordinal(truth),
        np.vstack(
            [
                np.ones(len(truth)),
                rng.multinomial(len(truth), np.full(len(truth), 1 / len(truth)), num_resamples),
            ]
        ),
    )
    better = num_better(places, counts)
    parts = {"all": counts}
    parts |= {share_name(share): counts * (better < np.ceil(share * len(truth) - 1e-9)) for share in SHARES}
    found: dict[str, Any] = {}
    for part, members in parts.items():
        means = {}
        for sampler, seeds in groups.items():
            taus = np.stack([kendall_tau(places, ordinal(run[kind]), members) for run in seeds.values()])
            chosen = rng.integers(len(taus), size=(len(taus), members.shape[0]))
            chosen[:, 0] = np.arange(len(taus))
            means[sampler] = np.take_along_axis(taus, chosen, axis=0).mean(axis=0)
            found.setdefault(sampler, {})[part] = {
                **interval(means[sampler]),
                "seeds": {seed: float(tau) for seed, tau in zip(seeds, taus[:, 0], strict=True)},
            }
        for sampler in groups:
            if "uniform" in means and sampler != "uniform":
                found[sampler][part]["minus_uniform"] = interval(means[sampler] - means["uniform"])
    return found


def interval(values: Any) -> dict[str, float | None]:
    tail = (1 - CONFIDENCE) / 2
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(defined):
        return {"value": None, "low": None, "high": None}
    low, high = np.quantile(defined, [tail, 1 - tail])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def agreement(groups: Mapping[str, Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """Return tau-b of each training against the mean of the other seeds, over all rows and among that mean's best."""
    found: dict[str, Any] = {}
    for sampler, seeds in groups.items():
        if len(seeds) < 2:
            continue
        for seed, run in seeds.items():
            others = np.mean([other[kind] for name, other in seeds.items() if name != seed], axis=0)
            if np.isfinite(others).all():
                evidence = rank_evidence(
                    others, {"one": run[kind]}, generator(0, "agreement"), num_resamples=0
                )
                one = evidence["scores"]["one"]
                found.setdefault(sampler, {})[seed] = {
                    "all": one["kendall_tau"]["value"],
                    **{share_name(share): one[share_name(share)]["kendall_tau"]["value"] for share in SHARES},
                }
    return found


def training_facts(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    return {name: content[name] for name in ("num_updates", "num_passes", "seconds", "loss", "accuracy")}


def show(result: Mapping[str, Any]) -> None:
    evidence = result["evidence"]
    print(f"{result['rows']} networks; {result['estimates']}")
    print(f"{'score':<36}{'tau-b':>22}{'top 25 %':>22}{'top 10 %':>22}{'best in top 10':>16}")
    for name, found in evidence["scores"].items():
        parts = (found, found["top_25_percent"], found["top_10_percent"])
        best = found["best_in_top"].get("10", {"value": None})["value"]
        cells = "".join(f"{text(part['kendall_tau']):>22}" for part in parts)
        print(f"{name:<36}{cells}{'none' if best is None else f'{best:.2f}':>16}")
    print(f"best of all: {evidence['best']:.2f}")
    for kind, samplers in result["samplers"].items():
        print(f"mean over seeds, by {kind} (rows and seeds resampled)")
        for sampler, parts in samplers.items():
            cells = "".join(
                f"{text(parts[part]):>22}" for part in ("all", "top_25_percent", "top_10_percent")
            )
            print(f"  {sampler:<24}{cells}")
            if "minus_uniform" in parts["all"]:
                cells = "".join(
                    f"{text(parts[part]['minus_uniform']):>22}"
                    for part in ("all", "top_25_percent", "top_10_percent")
                )
                print(f"  {'  minus uniform':<24}{cells}")
    for kind, samplers in result["agreement"].items():
        for sampler, seeds in samplers.items():
            means = {
                part: np.mean(
                    [found[part] for found in seeds.values() if found[part] is not None] or [np.nan]
                )
                for part in ("all", "top_25_percent", "top_10_percent")
            }
            said = ", ".join(f"{part.replace('_', ' ')} {value:.3f}" for part, value in means.items())
            print(f"one seed against the others, {sampler} by {kind}: {said}")


def text(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return "none"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
