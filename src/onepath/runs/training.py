"""The stage `train`: what the method trains."""

from __future__ import annotations

from onepath.runs.opened import Run
from onepath.runs.run_job import RunJob


def train_stage(run: Run) -> None:
    """Train the phases of the method and keep the weights in `checkpoints/supernet.safetensors`.

    The stage's record tells how often each candidate of each block was trained: "counts", and "start" for the first
    updates, where they train one path; under "architecture" what was trained beside the weights. Killed, it continues
    from its last checkpoint and ends with the same weights and counts. A method without a supernet has nothing to do.
    """
    method = run.config.options
    run.latencies.prepare()
    with run.stage("train") as clock:
        if not method.trains_supernet:
            run.progress.note(f"method {method.name} trains no supernet: nothing to do in the stage train")
            return
        RunJob(run, clock).train(method)
    RunJob(run).forget(method)
