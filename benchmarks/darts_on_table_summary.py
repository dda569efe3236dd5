"""The summary of `darts_on_table.py`; the benchmark's table is read here and nowhere else."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from darts_on_table_drawing import METHODS, Record, drawing

from onepath import spaces
from onepath.errors import ConfigurationError
from onepath.estimate import TableEstimator
from onepath.rank_correlation import kendall_tau, ordinal
from onepath.record import atomic_write_json, atomic_write_text
from onepath.train import ArchitecturePoint, Guard

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def summarise(options: argparse.Namespace) -> None:
    """Compare the searches with the table: prints text, and writes JSON and a plot."""
    if options.truth is None:
        raise ConfigurationError("summary needs --truth, the benchmark's table, but got none; give it")
    setting = json.loads((options.out / "setting.json").read_text())
    found = [options.out / f"{method}-{seed}.json" for method in METHODS for seed in range(1000)]
    records = [json.loads(path.read_text()) for path in found if path.is_file()]
    if not records:
        raise ConfigurationError("a summary needs a search that is done, but there is none; run `train`")
    space = spaces.build("nasbench201", 10, input_size=32, in_channels=3, width=0.25, num_cells=1).space
    table = TableEstimator(space, options.truth)
    truth = Truth(space, table)
    guards = {
        "skips": Guard(max_skips=options.max_skips),
        "eigenvalue": Guard(eigenvalue_ratio=options.eigenvalue_ratio, window=options.window),
    }
    rows = [row_of(record, truth, guards, options.collapsed) for record in records]
    result = {
        "setting": setting,
        "guards": {name: dataclasses.asdict(guard) for name, guard in guards.items()},
        "collapsed": options.collapsed,
        "random": truth.random(),
        "searches": rows,
        "methods": {
            method: means([row for row in rows if row["method"] == method], truth)
            for method in METHODS
            if any(row["method"] == method for row in rows)
        },
    }
    result["words"] = [
        sentence
        for method in result["methods"]
        for sentence in words(method, [row for row in rows if row["method"] == method], options)
    ]
    atomic_write_json(options.out / "summary.json", result)
    atomic_write_text(options.out / "summary.svg", drawing(rows, result["random"]))
    show(result)
    print(f"written: {options.out / 'summary'}.json and .svg")


class Truth:
    """The benchmark's table: the accuracy of a cell, and the distribution over all cells of the space.

    Args:
        space: the space of the cells.
        table: the table, with a row for every cell.
    """

    def __init__(self, space: Any, table: TableEstimator) -> None:
        self._space, self._table = space, table
        self.sorted = np.sort(table.accuracies)

    def accuracy(self, cell: str) -> float:
        """Return the test accuracy of a cell in percent."""
        return self._table.estimate(self._space.parse(cell)).accuracy

    def share_worse(self, accuracy: float) -> float:
        """Return the share of all cells, 0 to 1, that have a lower accuracy; ties count half."""
        places = [np.searchsorted(self.sorted, accuracy, side=side) for side in ("left", "right")]
        return float(np.mean(places)) / len(self.sorted)

    def is_connected(self, cell: str) -> bool:
        """Whether the cell's output depends on its input."""
        return bool(self._space.notation.is_connected(self._space.parse(cell).options))

    def random(self) -> Record:
        """Return the distribution of a random cell without training: mean, standard deviation and quantiles.

        The best cell, the cell of skip connections alone and the cell of 3x3 convolutions alone stand beside them.
        """
        uniform = {
            name: self.accuracy(self._space.notation.format(dict.fromkeys(self._space.names, operation)))
            for name, operation in (("all_skips", "skip_connect"), ("all_3x3", "nor_conv_3x3"))
        }
        return {
            "mean": float(self.sorted.mean()),
            "deviation": float(self.sorted.std()),
            "quantiles": {str(q): float(np.quantile(self.sorted, q)) for q in QUANTILES},
            "best": float(self.sorted[-1]),
            **uniform,
        }


def row_of(record: Record, truth: Truth, guards: Mapping[str, Guard], collapsed: int) -> Record:
    """Return the row of one search in the summary, with the accuracies of its cells in the table."""
    path = [{**point, "accuracy": truth.accuracy(point["architecture"])} for point in record["path"]]
    cell = path[-1]["architecture"]
    row = {
        **{name: record[name] for name in ("method", "seed", "updates", "seconds", "seconds_of_signals")},
        "supernet_accuracy": record["accuracy"],
        "cell": cell,
        "accuracy": path[-1]["accuracy"],
        "share_worse": truth.share_worse(path[-1]["accuracy"]),
        "is_connected": truth.is_connected(cell),
        "num_skips": cell.count("skip_connect"),
        "num_convolutions": cell.count("nor_conv"),
        "path": path,
    }
    if "points" in record:
        points = [ArchitecturePoint(**point) for point in record["points"]]
        row["points"] = [
            {name: getattr(point, name) for name in ("epoch", "loss", "entropy", "num_skips", "eigenvalue")}
            for point in points
        ]
        row["warmup_rounds"] = record["warmup_rounds"]
        row["collapsed_in"] = [
            point.epoch
            for point in points
            if point.epoch > record["warmup_rounds"] and point.num_skips >= collapsed
        ]
        row["guards"] = {
            name: guarded(guard, points, path, record["warmup_rounds"]) for name, guard in guards.items()
        }
    if "trials" in record:
        cells, scores = zip(*record["trials"], strict=True)
        accuracies = np.array([truth.accuracy(name) for name in cells])
        row["num_evaluated"] = len(cells)
        row["tau"] = float(
            kendall_tau(ordinal(accuracies), ordinal(np.array(scores)), np.ones((1, len(cells))))[0]
        )
    return row


def guarded(
    guard: Guard, points: Sequence[ArchitecturePoint], path: Sequence[Record], num_warmup: int
) -> Record | None:
    """Return when the guard fires first, why, and the cell that it goes back to; None if it never fires."""
    judged = [
        dataclasses.replace(point, epoch=point.epoch - num_warmup)
        for point in points
        if point.epoch > num_warmup
    ]
    for num in range(1, len(judged) + 1):
        reason = guard.fires(judged[:num])
        if reason is not None:
            place = num_warmup + guard.kept_epoch(judged[:num]) - 1
            return {
                "round": num_warmup + num,
                "reason": reason,
                "seconds": path[num_warmup + num - 1]["seconds"],
                "cell": path[place]["architecture"],
                "accuracy": path[place]["accuracy"],
            }
    return None


def means(rows: Sequence[Record], truth: Truth) -> Record:
    """Return mean, standard deviation, least and largest over the seeds, also of the cells that the guards keep."""

    def spread(values: Sequence[float]) -> Record:
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return {
            "mean": float(np.mean(values)),
            "deviation": deviation,
            "least": min(values),
            "largest": max(values),
        }

    found: Record = {
        "seeds": len(rows),
        "accuracy": spread([row["accuracy"] for row in rows]),
        "minus_random": float(np.mean([row["accuracy"] for row in rows]) - truth.sorted.mean()),
        "share_worse": spread([row["share_worse"] for row in rows]),
        "num_skips": spread([float(row["num_skips"]) for row in rows]),
        "seconds": spread([row["seconds"] for row in rows]),
    }
    for name in rows[0].get("guards", {}):
        kept = [(row["guards"][name] or row)["accuracy"] for row in rows]
        found[f"accuracy_with_guard_{name}"] = spread(kept)
    return found


def words(method: str, rows: Sequence[Record], options: argparse.Namespace) -> Iterator[str]:
    """Yield sentences on whether a method collapsed, and whether the guards fired before."""
    if "guards" not in rows[0]:
        return
    collapsed = [row for row in rows if row["collapsed_in"]]
    yield (
        f"{method}: {len(collapsed)} of {len(rows)} searches derive a cell with {options.collapsed} or more of six "
        f"edges skip connections"
        + (f" (first in rounds {listed(row['collapsed_in'][0] for row in collapsed)})" if collapsed else "")
        + f", {sum(row['num_skips'] >= options.collapsed for row in rows)} end with one; "
        f"{sum(row['num_convolutions'] == 0 for row in rows)} end without any convolution."
    )
    for name in rows[0]["guards"]:
        fired = [row for row in rows if row["guards"][name] is not None]
        if name == "eigenvalue" and all(point["eigenvalue"] is None for point in rows[0]["points"]):
            continue
        before = [
            row
            for row in collapsed
            if row["guards"][name] is not None and row["guards"][name]["round"] < row["collapsed_in"][0]
        ]
        text = f"  the guard of {name} fires in {len(fired)} of {len(rows)}"
        if fired:
            text += f" (rounds {listed(row['guards'][name]['round'] for row in fired)})"
        if collapsed:
            text += f", before the collapse in {len(before)} of {len(collapsed)}"
        if fired:
            kept = np.mean([row["guards"][name]["accuracy"] for row in fired])
            end = np.mean([row["accuracy"] for row in fired])
            text += (
                f"; the cells it keeps have {kept:.2f} %, those at the end of the same searches {end:.2f} %"
            )
        yield text + "."


def listed(values: Any) -> str:
    return ", ".join(map(str, values))


def show(result: Record) -> None:
    print(
        f"{'search':<16}{'test %':>8}{'beats':>8}{'skips':>7}{'guards fire in round':>26}{'CPU s':>8}  cell"
    )
    for row in result["searches"]:
        fired = [
            f"{name} {guard['round']}" if guard else f"{name} -"
            for name, guard in row.get("guards", {}).items()
        ]
        print(
            f"{row['method'] + '-' + str(row['seed']):<16}{row['accuracy']:8.2f}{100 * row['share_worse']:7.1f}%"
            f"{row['num_skips']:7}{', '.join(fired):>26}{row['seconds']:8.0f}  {row['cell']}"
            + ("" if row["is_connected"] else "  (not connected)")
            + (f"  tau-b of {row['num_evaluated']} evaluated: {row['tau']:.3f}" if "tau" in row else "")
        )
    print("means over seeds, with the standard deviation of one search")
    for method, found in result["methods"].items():
        figure = found["accuracy"]
        deviation = "" if figure["deviation"] is None else f" +- {figure['deviation']:.2f}"
        print(
            f"  {method:<14}{figure['mean']:6.2f}{deviation} ({figure['least']:.2f} to {figure['largest']:.2f}), "
            f"{found['minus_random']:+.2f} against random"
        )
    random = result["random"]
    quantiles = ", ".join(f"{100 * float(q):g} %: {value:.2f}" for q, value in random["quantiles"].items())
    print(
        f"  {'a random cell':<14}{random['mean']:6.2f} +- {random['deviation']:.2f}; {quantiles}; "
        f"best {random['best']:.2f}; all skips {random['all_skips']:.2f}"
    )
    print("\n".join(result["words"]))
