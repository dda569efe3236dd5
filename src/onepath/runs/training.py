"""The stage `train`: train the supernet of the method."""

from __future__ import annotations

from onepath.runs.opened import Run
from onepath.runs.run_job import RunJob


def train_stage(run: Run) -> None:
    """Train the phases of the method and write the weights to `checkpoints/supernet.safetensors`.

    The stage's record holds under "counts" how often each candidate of each block was trained; under "start" the same
    for the first updates, if these train one path; and under "architecture" what was trained beside the weights. A
    stage that was killed continues from its last checkpoint and ends with the same weights and counts. If the method
    trains no supernet, the stage has nothing to do.
    """
    method = run.config.options
    conversion = run.blank.conversion
    if conversion is not None and conversion.remark:
        run.progress.note(conversion.remark)
    run.latencies.prepare()
    with run.stage("train") as clock:
        if not method.trains_supernet:
            run.progress.note(f"method {method.name} trains no supernet: nothing to do in the stage train")
            return
        RunJob(run, clock).train(method)
    RunJob(run).forget(method)
