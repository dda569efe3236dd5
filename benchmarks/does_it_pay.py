"""Does the default search beat random networks in the same time? `python benchmarks/does_it_pay.py --data CIFAR`.

Three tasks, each by `onepath bench` with its default arms: CIFAR-10 with 5,000 training images, all of CIFAR-10 at 16
pixels, and the bundled digits under a tight limit. `--data` and `--test-data` are files of CIFAR-10 with the columns
`image` and `label`. Everything is kept in `--out`, and the same command continues there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from pyarrow import parquet

NUM_FEW = 5000
TASKS = ("few", "small", "digits")


def few_images(data: str, out: Path) -> Path:
    """A file of every k-th training image, 5,000 in all."""
    file = out / "cifar10_few.parquet"
    if not file.is_file():
        table = parquet.read_table(data)
        parquet.write_table(table.take(list(range(0, len(table), len(table) // NUM_FEW))), file)
    return file


def options(task: str, given: argparse.Namespace) -> list[str]:
    """The options of `onepath run` that describe a task."""
    if task == "digits":
        return ["--data", "digits", "--max-macs", "300k"]
    cifar = ["--test-data", given.test_data, "--space", "nasbench-macro"]
    if task == "few":
        return ["--data", str(few_images(given.data, given.out)), *cifar, "--max-macs", "4M"]
    return ["--data", given.data, *cifar, "--input-size", "16", "--max-macs", "2M"]


def main() -> None:
    """Run the comparisons that are asked for, one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--test-data", required=True)
    parser.add_argument("--budget", default="40m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS)
    parser.add_argument("--out", type=Path, default=Path("runs/does-it-pay"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for task in given.tasks:
        print(f"## {task}", flush=True)
        command = [sys.executable, "-m", "onepath.cli", "bench", "--budget", given.budget]
        command += ["--seeds", str(given.seeds), "--out", str(given.out / task), *options(task, given)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
