"""How well scores without training rank the networks of a benchmark's table, beside published figures.

    python benchmarks/score_ranking.py nasbench201_cifar10.parquet --data cifar10_train.parquet --processes 2

Random architectures whose output depends on their input are built at the paper's size with fresh weights. They are
scored on one batch of 64 training images without augmentation, and the ranking is compared with the table's: Spearman,
Kendall's tau-b, both also among the best 10 %, with bootstrap intervals. The number of parameters is the baseline with
which each score is compared on the same resamples. The rows are drawn uniformly from those of the table ("cells", as
the published figures) or from one row for each distinct network ("networks").

Scores are stored beside --out one by one; after a stop, the same command continues. --processes share the rows.
`--seconds` stops scoring after that time; the comparison then follows only if all rows are scored.

Published: Spearman over all 15,625 cells, in absolute value, from the notebook in the released code of "Zero-Cost
Proxies for Lightweight NAS" (arXiv 2101.08134), that of the counts from the table itself; Kendall as AZ-NAS lists it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onepath import spaces
from onepath.cost import counter
from onepath.data import Task, load_data
from onepath.estimate import SCORES, Networks, TableEstimator, one_row_per_network, scores
from onepath.estimate.networks import network_key
from onepath.randomness import generator
from onepath.record import EstimateStore, atomic_write_json, atomic_write_text
from onepath.report.study_pages import heads, ranking_page, rows, verdicts
from onepath.studies.comparison import RankOptions, make_study
from onepath.train import keep_freed_memory

COUNTS = ("params", "macs")
PUBLISHED_SPEARMAN = {
    "nasbench201": {
        "grad_norm": 0.594,
        "snip": 0.596,
        "grasp": 0.514,
        "fisher": 0.360,
        "synflow": 0.737,
        "jacob_cov": 0.731,
        "params": 0.753,
        "macs": 0.753,
    }
}
PUBLISHED_KENDALL = {
    "nasbench201": {
        "params": 0.578,
        "macs": 0.578,
        "grad_norm": 0.357,
        "grasp": 0.318,
        "snip": 0.454,
        "synflow": 0.571,
        "nwot": 0.557,
        "zen": 0.296,
        "gradsign": 0.618,
    }
}
LARGEST_GAP = (
    0.12  # difference of Spearman's rho from the published one, beyond which it needs an explanation
)


@dataclass(frozen=True)
class Work:
    """The scores that one process computes.

    Attributes:
        space: name of the space.
        architectures: architectures of this process, as text.
        names: names of the scores.
        inputs: images of the batch, (B, C, H, W).
        targets: classes of the batch, (B,).
        store: file in which the scores are kept.
        setting: key under which they are kept.
        seed: seed of the networks' weights and of the scores.
        until: seconds since the epoch at which to stop.
    """

    space: str
    architectures: Sequence[str]
    names: Sequence[str]
    inputs: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    store: Path
    setting: str
    seed: int
    until: float


def score_all(work: Work) -> int:
    """Score what is not stored yet, and return the number of architectures that were scored."""
    torch.set_num_threads(1)
    keep_freed_memory()
    inputs, targets = torch.from_numpy(work.inputs), torch.from_numpy(work.targets)
    supernet = spaces.build(work.space, 10, input_size=inputs.shape[-1])
    num = 0
    with EstimateStore(work.store) as store:
        known = {name: store.read(f"{work.setting}, {name}") for name in work.names}
        for text in work.architectures:
            missing = [name for name in work.names if text not in known[name]]
            if not missing or time.time() > work.until:
                continue
            model = supernet.extract(supernet.space.parse(text), inherit=False, seed=work.seed)
            for name, score in scores(missing, model, inputs, targets, seed=work.seed).items():
                store.put(f"{work.setting}, {name}", text, {"score": score.value}, score.seconds)
            num += 1
    return num


def drawn(found: TableEstimator, unit: str, num: int, seed: int) -> Networks:
    """Return random rows of the table whose output depends on their input; a larger `num` starts with the same rows."""
    if unit == "networks":
        networks = one_row_per_network(found.architectures, found.accuracies)
    else:
        kept = [place for place, a in enumerate(found.architectures) if network_key(a) is not None]
        networks = Networks(
            tuple(found.architectures[place] for place in kept),
            np.asarray(found.accuracies, dtype=np.float64)[kept],
            len(found.architectures),
            len(found.architectures) - len(kept),
        )
    return networks.draw(num, generator(seed, "ranked rows"))


def gaps(space: str, evidence: Mapping[str, Any]) -> list[str]:
    """Return a line for each score: its figures beside the published ones."""
    lines = []
    for name, figures in evidence["scores"].items():
        rho, tau = (figures[key]["value"] for key in ("spearman", "kendall_tau"))
        if rho is None or tau is None:
            lines.append(f"{name:<13} undefined")
            continue
        published_rho = PUBLISHED_SPEARMAN.get(space, {}).get(name)
        published_tau = PUBLISHED_KENDALL.get(space, {}).get(name)
        text = f"{name:<13} Spearman {rho:+.3f}"
        if published_rho is not None:
            far = ", to be explained" if abs(abs(rho) - published_rho) > LARGEST_GAP else ""
            text += f" (published {published_rho:.3f}, {abs(rho) - published_rho:+.3f}{far})"
        text += f"; tau-b {tau:+.3f}"
        if published_tau is not None:
            text += f" (published {published_tau:.3f}, {tau - published_tau:+.3f})"
        lines.append(text)
    return lines


def scored(
    options: argparse.Namespace, networks: Networks, data: Task
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the values of each score, and its mean seconds; scores that are not stored are computed."""
    batch = next(
        iter(data.batches("train", options.batch_size, num_examples=options.batch_size, seed=options.seed))
    )
    inputs, targets = batch.inputs.contiguous().numpy(), batch.targets.numpy()
    setting = f"{options.space}, batch {options.batch_size} of {data.fingerprint}, seed {options.seed}"
    names = [name for name in options.scores if name not in COUNTS]
    texts = [str(architecture) for architecture in networks.architectures]
    store = options.out.with_suffix(".sqlite")
    began = time.time()
    works = [
        Work(
            options.space,
            texts[shard :: options.processes],
            names,
            inputs,
            targets,
            store,
            setting,
            options.seed,
            began + options.seconds,
        )
        for shard in range(options.processes)
    ]
    with EstimateStore(store):
        pass  # the table exists before several processes write to it
    if options.processes == 1:
        num = score_all(works[0])
    else:
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            num = sum(pool.map(score_all, works))
    seconds = time.time() - began
    if num:
        each = seconds * options.processes / num
        print(f"{num} architectures scored now in {seconds:.0f} s, {each:.2f} s of one core each", flush=True)
    values: dict[str, list[float]] = {}
    with EstimateStore(store) as kept:
        for name in names:
            column = kept.read(f"{setting}, {name}")
            missing = [text for text in texts if text not in column]
            if missing:
                raise SystemExit(
                    f"{len(missing)} of {len(texts)} are not scored yet; run the same command again"
                )
            scored = [column[text]["score"] for text in texts]
            values[name] = [float("-inf") if value is None else value for value in scored]
        spent = {name: kept.seconds(f"{setting}, {name}") / len(texts) for name in names}
    return values, spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--data", required=True, help="CIFAR-10, as `onepath run --data` takes it")
    parser.add_argument("--space", choices=["nasbench201", "nasbench-macro"], default="nasbench201")
    parser.add_argument("--scores", nargs="+", choices=list(SCORES), default=list(SCORES))
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--unit", choices=["cells", "networks"], default="cells")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="seconds after which scoring stops"
    )
    parser.add_argument("--out", type=Path, default=Path("score-ranking.html"))
    options = parser.parse_args()
    supernet = spaces.build(options.space, 10, input_size=32)
    found = TableEstimator(supernet.space, options.table)
    networks = drawn(found, options.unit, options.num, options.seed)
    data = load_data(options.data)
    values, spent = scored(options, networks, data)
    matrix = supernet.space.matrix(networks.architectures)
    costs = {
        kind: counter(supernet, data.input_shape, kind)[0](matrix).astype(float).tolist() for kind in COUNTS
    }
    study = make_study(
        f"Scores without training on {options.space}",
        f"{found.accuracy_column} of {options.table.name}",
        [
            f"{len(networks)} random {options.unit} of {networks.num_rows:,} rows; {networks.num_disconnected} rows "
            f"without a path are left out. One batch of {options.batch_size} training images, seed {options.seed}."
        ],
        networks,
        values,
        costs,
        RankOptions(num=options.num, num_resamples=options.resamples, seed=options.seed),
    )
    table = [heads(study.evidence), *rows(study.evidence)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for line in (*verdicts(study.evidence), *gaps(options.space, study.evidence)):
        print(line)
    print("seconds each: " + ", ".join(f"{name} {value:.3f}" for name, value in spent.items()))
    atomic_write_text(options.out, ranking_page([study]))
    result = {**asdict(study), "seconds_each": spent}
    atomic_write_json(options.out.with_suffix(".json"), result)
    print(
        json.dumps(
            {"num": len(networks), "page": str(options.out), "json": str(options.out.with_suffix(".json"))}
        )
    )


if __name__ == "__main__":
    main()
