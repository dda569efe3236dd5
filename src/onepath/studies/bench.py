"""Does a search pay? Several ways to spend one budget on one task, on several seeds, compared on the test set.

Every arm is `onepath run` with the same budget and other options: a search, the first random network under the limits,
the best of as many random networks as there is time for, successive halving over random networks. Each run is a process
of its own with one worker, whose processor seconds are counted from its first import to its report.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError, UserError, shown
from onepath.evidence import PairedDifference, paired_difference
from onepath.own_code import is_own
from onepath.record import atomic_write_text
from onepath.record.directory import RESULT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from onepath.runs import Progress, Result

MOST_APART = 0.05
"""Largest difference of the processor seconds of two arms that are compared, as a share of the larger."""
BENCH = "bench.json"


@dataclass(frozen=True)
class Arm:
    """One way to spend the budget.

    Attributes:
        name: its name in the table.
        options: its options of `onepath run`, beside those that all arms have.
        is_optional: whether it is left out, and no error, where its run is refused.
    """

    name: str
    options: tuple[str, ...] = ()
    is_optional: bool = False

    @property
    def folder(self) -> str:
        """Beginning of the names of its run directories."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-").lower() or "arm"


ARMS = (
    Arm("search"),
    Arm("first random", ("--method", "random", "--num", "1")),
    Arm("best of n random", ("--method", "random")),
    Arm("halving of random", ("--method", "random", "--finish", "halving")),
)
"""The arms if the user gives none: the default search and the baselines that need none."""
HAND_MADE_ARM = Arm("hand-made", ("--method", "fixed"), is_optional=True)


def default_arms(common: Sequence[str]) -> tuple[Arm, ...]:
    """Return `ARMS`, and the network that is made by hand if the ready-made space of these options has one.

    Args:
        common: options of `onepath run` for all arms.
    """
    from onepath.runs import make_config
    from onepath.spaces.catalogue import HAND_MADE

    given = {name: value for name, value in _named(common).items() if name in ("data", "space")}
    return (*ARMS, HAND_MADE_ARM) if make_config(given).space in HAND_MADE else ARMS


def _named(words: Sequence[str]) -> dict[str, str]:
    """Return name -> value of the options among words of a command line."""
    apart = [word for option in words for word in option.split("=", 1)]
    return {option.removeprefix("--"): value for option, value in pairwise(apart) if option.startswith("--")}


def _own_code(arm: Arm, common: Sequence[str]) -> dict[str, str]:
    """Return the code of the user's own that the runs of an arm use: space, device or method -> its name."""
    named = _named([*common, *arm.options])
    named["space"] = named.get("model", named.get("space", ""))
    return {name: named[name] for name in ("space", "device", "method") if is_own(named.get(name))}


def bench(
    arms: Sequence[Arm],
    common: Sequence[str],
    budget: str,
    num_seeds: int,
    out: Path,
    *,
    baseline: str | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Run every arm on every seed, and return the comparison; what is finished in `out` is not run again.

    Args:
        arms: the arms, with different names; the first one is compared with the others.
        common: options of `onepath run` for all arms, such as the data and the limits.
        budget: budget of each run, such as "10m".
        num_seeds: number of seeds, from 0 on.
        out: folder of the run directories, of `bench.json` and of the page.
        baseline: name of the arm that the others are compared with; None takes "best of n random", else the last.
        progress: where to tell how far it is.

    Raises:
        ConfigurationError: two arms have one name, the baseline is none of them, the folder belongs to another
            comparison, or the processor seconds of two arms differ by more than a twentieth.
        UserError: a run has failed.
    """
    names = [arm.name for arm in arms]
    if len({arm.folder for arm in arms}) < len(arms) or len(arms) < 2:
        raise ConfigurationError(
            f"arms must be two or more with different names, but got {', '.join(names)}; change them"
        )
    against = baseline or next((name for name in names if name == "best of n random"), names[-1])
    if against not in names:
        raise ConfigurationError(
            f"baseline must be one of the arms ({', '.join(names)}), but got {shown(against)}; change it"
        )
    asked = {"budget": budget, "common": list(common), "arms": {arm.name: list(arm.options) for arm in arms}}
    kept = _kept(out, asked)
    left = list(arms)
    for seed in range(num_seeds):
        for arm in tuple(left):
            try:
                _run(arm, seed, asked, kept, out, progress)
            except UserError as error:
                if not arm.is_optional or arm.name == against:
                    raise
                progress.note(f"{error}; this arm is left out")
                left.remove(arm)
    found = compared(left, common, num_seeds, out, kept["processor_seconds"], against)
    atomic_write_text(out / BENCH, json.dumps({**kept, "comparison": found}, indent=1))
    return found


def _kept(out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of the comparison in a folder; of a new one, what was asked for and no seconds."""
    file = out / BENCH
    out.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        return {**asked, "processor_seconds": {}}
    kept: dict[str, Any] = json.loads(file.read_text())
    for name in ("budget", "common"):
        if kept[name] != asked[name]:
            raise ConfigurationError(
                f"a comparison continues with the options it began with, but {out} has {name} {kept[name]} and "
                f"{asked[name]} came; give another --out"
            )
    for name, options in asked["arms"].items():
        if kept["arms"].setdefault(name, options) != options:
            raise ConfigurationError(
                f"an arm continues with the options it began with, but {out} has {' '.join(kept['arms'][name])!r} for "
                f"{name} and {' '.join(options)!r} came; give the arm another name, or give another --out"
            )
    # After a kill it is not known what the run at work had used, nor what it used if it went on by itself.
    kept["processor_seconds"].pop(kept.pop("at_work", ""), None)
    return kept


def _run(
    arm: Arm, seed: int, asked: Mapping[str, Any], kept: dict[str, Any], out: Path, progress: Progress
) -> None:
    path = directory(out, arm, seed)
    name, seconds = path.name, kept["processor_seconds"]
    if name in seconds and (path / RESULT).is_file():
        return
    progress.note(f"{arm.name}, seed {seed}, in {path}")
    command = [sys.executable, "-m", "onepath.cli", "run", *asked["common"], *arm.options]
    command += ["--budget", asked["budget"], "--seed", str(seed), "--num-baselines", "0", "--workers", "1"]
    if name not in seconds and path.is_dir():
        command.append("--fresh")
    before = _processor_seconds()
    atomic_write_text(out / BENCH, json.dumps({**kept, "at_work": name}, indent=1))
    try:
        done = subprocess.run(
            [*command, "--out", str(path)],
            env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        seconds[name] = seconds.get(name, 0.0) + _processor_seconds() - before
        atomic_write_text(out / BENCH, json.dumps(kept, indent=1))
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "")
        raise UserError(f"{arm.name}, seed {seed}: {reason.removeprefix('error: ')}")


def directory(out: Path, arm: Arm, seed: int) -> Path:
    """Return the run directory of an arm and a seed."""
    return out / f"{arm.folder}-seed{seed}"


def _processor_seconds() -> float:
    """Return the processor seconds of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def compared(
    arms: Sequence[Arm],
    common: Sequence[str],
    num_seeds: int,
    out: Path,
    processor_seconds: Mapping[str, float],
    against: str,
) -> dict[str, Any]:
    """Return the comparison of finished runs.

    Args:
        arms: the arms.
        common: options of `onepath run` for all arms.
        num_seeds: number of seeds.
        out: folder of the run directories.
        processor_seconds: name of a run directory -> processor seconds of its run.
        against: name of the arm that the others are compared with.

    Raises:
        ConfigurationError: the processor seconds of two arms differ by more than a twentieth.
    """
    from onepath.runs import load_run

    own = {arm.name: _own_code(arm, common) for arm in arms}
    results = {
        arm.name: [
            load_run(
                directory(out, arm, seed),
                space=own[arm.name].get("space"),
                method=own[arm.name].get("method"),
            )
            for seed in range(num_seeds)
        ]
        for arm in arms
    }
    seconds = {
        arm.name: statistics.fmean(
            processor_seconds[directory(out, arm, seed).name] for seed in range(num_seeds)
        )
        for arm in arms
    }
    least, most = min(seconds, key=seconds.__getitem__), max(seconds, key=seconds.__getitem__)
    if seconds[least] < (1 - MOST_APART) * seconds[most]:
        raise ConfigurationError(
            f"arms must be compared at one budget, but {least} used {seconds[least]:.0f} processor seconds a run and "
            f"{most} {seconds[most]:.0f}, over {MOST_APART:.0%} apart; run it on quiet cores or with a longer budget"
        )
    hits = {name: [_hits(result, own[name]) for result in runs] for name, runs in results.items()}
    rows = []
    for name, runs in results.items():
        documents = [result.result for result in runs]
        sign = 1 if documents[0]["metric"]["higher_is_better"] else -1
        values = [document["metric"]["retrained_test"] for document in documents]
        baseline = [result.result["metric"]["retrained_test"] for result in results[against]]
        difference = None
        if name != against:
            difference = paired_difference(
                [sign * (a - b) for a, b in zip(values, baseline, strict=True)],
                [
                    None if a is None or b is None else (a - b).tolist()
                    for a, b in zip(hits[name], hits[against], strict=True)
                ],
            )
        rows.append(
            {
                "name": name,
                "test": values,
                "validation": [document["metric"]["retrained_validation"] for document in documents],
                "macs": [document["cost"]["macs"] for document in documents],
                "processor_seconds": seconds[name],
                "seconds": {
                    stage: statistics.fmean(document["seconds"][stage] for document in documents)
                    for stage in ("train", "search", "retrain")
                },
                "difference": None if difference is None else _document(difference),
            }
        )
    first = next(iter(results.values()))[0].result
    return {"metric": first["metric"]["name"], "against": against, "num_seeds": num_seeds, "rows": rows}


def _document(difference: PairedDifference) -> dict[str, float]:
    return {
        "mean": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "probability": difference.probability,
    }


def _hits(result: Result, own: Mapping[str, str]) -> npt.NDArray[np.float64] | None:
    """Return for each test example whether the exported network is right (1) or wrong (0); None for other metrics.

    Args:
        result: a finished run.
        own: the code of the user's own in it, see `_own_code`.
    """
    import numpy as np
    import torch

    from onepath.runs import Run
    from onepath.tree import call

    if result.result["metric"]["name"] != "accuracy":
        return None
    model = result.model()
    named: dict[str, Any] = dict(own)
    found = []
    with contextlib.closing(Run(None, result.path, **named)) as run, torch.no_grad():
        for inputs, targets in run.task.batches("test", 256):
            outputs: Any = call(model, inputs)
            if outputs.dim() != targets.dim() + 1:
                return None
            found.append((outputs.argmax(1) == targets).flatten())
    return torch.cat(found).numpy().astype(np.float64)
