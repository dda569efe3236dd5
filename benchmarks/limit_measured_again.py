"""Whether winners under a limit on latency meet it again, in fresh processes without onepath.

    onepath run --max-latency-ms 0.8,1,1.2 --device onnxruntime-cpu --out runs/limited ...
    python benchmarks/limit_measured_again.py runs/limited

Each `model.onnx` of the run (one for each limit) is loaded by onnxruntime alone in a new process, warmed up, and timed
in 20 blocks; the processes of all limits take turns. A winner meets its limit if its median is within the limit, or
over it by no more than the larger of two interquartile ranges: that of the new measurement and the one that the run
reports.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

TIMER = """
import json, sys, time
import numpy as np
import onnxruntime as ort

path, threads = sys.argv[1], int(sys.argv[2])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
(given,) = session.get_inputs()
shape = [size if isinstance(size, int) else 1 for size in given.shape]
feed = {given.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
end = time.perf_counter() + 0.5
while time.perf_counter() < end:
    session.run(None, feed)
blocks = []
for _ in range(20):
    times = []
    while sum(times) < 0.025 or len(times) < 3:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    blocks.append(1e3 * float(np.median(times)))
low, median, high = np.percentile(blocks, [25, 50, 75])
print(json.dumps({"median_ms": median, "iqr_ms": high - low}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--processes", type=int, default=5, help="number of fresh processes for each limit")
    options = parser.parse_args()
    result = json.loads((options.run / "result.json").read_text())
    winners = result.get("winners") or [
        {"path": ".", "max_latency_ms": result["constraints"]["max_latency_ms"], "cost": result["cost"]}
    ]
    num_met = 0
    for number in range(options.processes):
        for winner in winners:
            found = measured(options.run / winner["path"] / "model.onnx", winner["cost"]["latency_threads"])
            slack_ms = max(found["iqr_ms"], winner["cost"]["latency_iqr_ms"])
            is_met = found["median_ms"] <= winner["max_latency_ms"] + slack_ms
            num_met += is_met
            print(
                f"process {number}: limit {winner['max_latency_ms']:g} ms, run {winner['cost']['latency_ms']:.4f} ms "
                f"(IQR {winner['cost']['latency_iqr_ms']:.4f}), again {found['median_ms']:.4f} ms "
                f"(IQR {found['iqr_ms']:.4f}): {'met' if is_met else 'EXCEEDED'}",
                flush=True,
            )
    print(f"met in {num_met} of {options.processes * len(winners)}")


def measured(path: Path, threads: int) -> dict[str, float]:
    """Return a network's median latency and its interquartile range in ms, measured in a new process."""
    command = [sys.executable, "-c", TIMER, str(path), str(threads)]
    content = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(content)
    return found


if __name__ == "__main__":
    main()
