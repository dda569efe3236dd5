"""Which share of common models conversion makes elastic: `python benchmarks/converted_models.py`.

Needs timm. `--modelopt PYTHON` names the interpreter of another environment, in which NVIDIA ModelOpt 0.47 is installed
beside torch, timm and torchvision. The same models then also go through ModelOpt's `autonas` conversion, and both
shares stand side by side: the part of all multiply-accumulates that lies in modules that depend on a choice. A module
that may be left out with its block counts for both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

OTHER = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[2])
from conversion.zoo import built
import modelopt.torch.nas as mtn
from modelopt.torch.opt.dynamic import DynamicModule
model, inputs = built(sys.argv[1])
model = mtn.convert(model, mode="autonas")
found = {"own": [], "depth": []}
for path, module in model.named_modules():
    if isinstance(module, DynamicModule):
        names = [name for name, parameter in module.named_hparams() if parameter.is_configurable]
        if any(name == "depth" for name in names):
            found["depth"].append(path)
        elif any("." not in name for name in names):
            found["own"].append(path)
print("FOUND" + json.dumps(found))
"""


def of_modelopt(python: str, name: str, macs: dict[str, int]) -> float | None:
    """Return the share of the multiply-accumulates that ModelOpt makes elastic; None if it cannot convert the model."""
    command = [python, "-c", OTHER, name, str(Path(__file__).parents[1] / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND")), None)
    if line is None:
        return None
    found: dict[str, list[str]] = json.loads(line.removeprefix("FOUND"))
    own = set(found["own"])
    elastic = sum(
        amount
        for path, amount in macs.items()
        if path in own or any(path.startswith(f"{holder}.") for holder in found["depth"])
    )
    return elastic / sum(macs.values())


def measured(name: str, python: str | None) -> dict[str, Any]:
    """Convert a model and return its row of the table."""
    from conversion.zoo import built

    import onepath as op

    model, inputs = built(name)
    began = time.process_time()
    supernet = op.convert(model, inputs)
    seconds = time.process_time() - began
    report = supernet.conversion
    macs = {row.path: row.macs for row in report.rows}
    return {
        "name": name,
        "seconds": seconds,
        "choices": len(supernet.space.choices),
        "macs": report.elastic_macs_share,
        "params": report.elastic_params_share,
        "modelopt": None if python is None else of_modelopt(python, name, macs),
    }


def main() -> None:
    """Print a row for each model as soon as it is measured, then the medians."""
    from conversion.zoo import MODELS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modelopt", metavar="PYTHON")
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL")
    given = parser.parse_args()
    print("| model | CPU s | choices | elastic MACs | elastic parameters | ModelOpt: elastic MACs |")
    print("|---|---|---|---|---|---|")
    rows = []
    for name in given.models:
        row = measured(name, given.modelopt)
        rows.append(row)
        other = "-" if row["modelopt"] is None else f"{100 * row['modelopt']:.1f} %"
        print(
            f"| {name} | {row['seconds']:.1f} | {row['choices']} | {100 * row['macs']:.1f} % | "
            f"{100 * row['params']:.1f} % | {other} |",
            flush=True,
        )
    others = [row["modelopt"] for row in rows if row["modelopt"] is not None]
    print(
        f"{len(rows)} of {len(rows)} converted, median {100 * statistics.median(r['macs'] for r in rows):.1f} %"
    )
    if given.modelopt:
        median = f", median of these {100 * statistics.median(others):.1f} %" if others else ""
        print(f"ModelOpt: {len(others)} of {len(rows)} converted{median}")


if __name__ == "__main__":
    main()
