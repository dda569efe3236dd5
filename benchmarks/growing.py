"""Networks that grow: `python benchmarks/growing.py --data cifar10_train.parquet --test-data cifar10_test.parquet`.

Method `eas` grows the smallest network of its space within a limit on multiply-accumulates three ways: by its
controller, by evolution and at random, with equally many networks of equally many epochs each. Printed is how good the
best network was after each quarter of the search, by the seconds spent, on the validation split; and the test accuracy
of the winner once it is trained from fresh weights. Each way is a run of its own in `--out`, and the same command
continues there. Give each process one thread (OMP_NUM_THREADS=1) if several ways run side by side (`--growers`).
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import onepath as op
from onepath.runs.result import Result

GROWERS = ("controller", "evolution", "random")


def grown(given: argparse.Namespace, grower: str) -> Result:
    """The run of one way to grow."""
    return op.run(
        given.data,
        test_data=given.test_data,
        input_size=given.input_size,
        space="eas",
        width=1.0,
        method="eas",
        grower=grower,
        max_macs=given.max_macs,
        num=given.num,
        child_epochs=given.child_epochs,
        retrain_epochs=given.retrain_epochs,
        num_baselines=0,
        seed=given.seed,
        out=given.out / f"{grower}-{given.seed}",
    )


def main() -> None:
    """Grow what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--test-data")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--max-macs", default="8M")
    parser.add_argument("--num", type=int, default=40, help="networks of each way")
    parser.add_argument("--child-epochs", type=int, default=1)
    parser.add_argument("--retrain-epochs", type=int, default=8)
    parser.add_argument("--growers", nargs="+", choices=GROWERS, default=list(GROWERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/growing"))
    given = parser.parse_args()
    print(
        "| grower | best in validation after each quarter (seconds) | MACs | from scratch, test |\n|---|---|---|---|"
    )
    for grower in given.growers:
        run = grown(given, grower)
        trials = list(run.trials)
        best = list(itertools.accumulate((trial.accuracy or 0.0 for trial in trials), max))
        seconds = list(itertools.accumulate(trial.seconds for trial in trials))
        places = [max(0, round(share * len(trials) / 4) - 1) for share in range(1, 5)]
        found = ", ".join(f"{best[place]:.4f} ({seconds[place]:.0f})" for place in places)
        macs, test = run.result["cost"]["macs"], run.result["accuracy"]["retrained_test"]
        print(f"| {grower} | {found} | {macs / 1e6:.1f} M | {test:.4f} |")


if __name__ == "__main__":
    main()
