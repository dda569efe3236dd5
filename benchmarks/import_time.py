"""Seconds of `import onepath` against `import torch, torchvision`, each in fresh processes, in turn.

    python benchmarks/import_time.py

Prints the medians, also that of `import onepath` followed by a use of every public name, and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

CASES = {
    "import torch, torchvision": "import torch, torchvision",
    "import onepath": "import onepath",
    "all public names": "import onepath\nfor name in onepath.__all__: getattr(onepath, name)",
}
TIMED = "import time\nstarted = time.perf_counter()\n{}\nprint(time.perf_counter() - started)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for index in range(repeats + 1):  # the first fills the file cache
        for name, code in CASES.items():
            done = subprocess.run(
                [sys.executable, "-c", TIMED.format(code)], check=True, capture_output=True, text=True
            )
            if index:
                seconds[name].append(float(done.stdout))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:28}{median:8.3f} s")
    print(json.dumps({"repeats": repeats, "median_seconds": medians}))


if __name__ == "__main__":
    main()
