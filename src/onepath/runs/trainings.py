"""Train several stand-alone networks: one by one in this process, or at the same time in the workers of a pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from onepath.runs.opened import Run
from onepath.runs.run_workplace import RunWorkplace, setup_of
from onepath.runs.standalone import PlannedNetwork, TrainedNetwork, train_network
from onepath.runs.training_watch import JointBar, point_detail, store_point, watch
from onepath.runs.workspace import StageClock
from onepath.workers import Pool

OnTrained = Callable[[PlannedNetwork, TrainedNetwork], None]
_POLL_SECONDS = 0.1


def train_networks(
    run: Run, clock: StageClock, networks: Sequence[PlannedNetwork], num_planned: int, on_trained: OnTrained
) -> None:
    """Train stand-alone networks; no result depends on the other networks, or on which training ends first.

    Args:
        run: the run. Its configuration sets the largest number of workers; if its data, space or method were given in
            Python, this process trains one network after another.
        clock: clock of the stage at work.
        networks: the networks that are left to train.
        num_planned: number of networks that the stage trains in all. The cores are shared by this number, even if
            fewer networks are left.
        on_trained: called with each network and its result, to store the result.

    Raises:
        UserError: a worker was ended or stopped from outside; or an error of a training, of any class.
        KeyboardInterrupt: Ctrl-C came, and everything is saved.
    """
    assert run.config.workers is not None, "the configuration is resolved"
    num_workers = min(run.config.workers, num_planned) if run.is_loadable else 1
    if num_workers > 1 and networks:
        _train_at_once(run, clock, networks, num_planned, num_workers, on_trained)
        return
    for position, network in enumerate(networks, num_planned - len(networks) + 1):
        on_point, on_update = watch(
            run, clock, network.name, f"retraining {network.name} ({position} of {num_planned})"
        )
        seconds = run.checkpoint_seconds
        trained = train_network(
            run, network, checkpoint_seconds=seconds, on_point=on_point, on_update=on_update
        )
        run.progress.finish()
        on_trained(network, trained)


def _train_at_once(
    run: Run,
    clock: StageClock,
    networks: Sequence[PlannedNetwork],
    num_planned: int,
    num_workers: int,
    on_trained: OnTrained,
) -> None:
    """Train networks at the same time in the workers of a pool.

    After Ctrl-C, SIGTERM, SIGHUP or an error, every worker saves its checkpoint and leaves; only then the first
    exception is raised. A second signal ends the workers without saving. If this process is killed, its workers leave
    at once, and the process that opens the run directory next waits until they have left.
    """
    from onepath.train import TrainingPoint
    from onepath.train.interruption import DeferredInterrupt
    from onepath.train.threads import shared_threads

    first = min(num_workers, len(networks))
    title = f"retraining {num_planned} networks ({num_workers} at a time)"
    bar = JointBar(run.progress, title, num_planned, num_planned - len(networks), first)
    error: Exception | None = None

    def hear(network: PlannedNetwork, told: dict[str, Any]) -> None:
        if "point" in told:
            point = TrainingPoint(*told["point"])
            bar.detail = f"{network.name}: {point_detail(run, point)}"
            store_point(run, network.name, point)
        else:
            bar.advance(network.name, told["done"], told["num_updates"])

    with (
        DeferredInterrupt() as interrupt,
        run.directory.lock_for_workers() as lock,
        Pool(
            RunWorkplace,
            setup_of(run, shared_threads(num_workers)),
            first,
            kept_open=[lock.descriptor],
            note=run.progress.note,
        ) as pool,
    ):
        # A bar without steps: the processes load their modules and the data first.
        run.progress.begin(f"starting {first} processes", 1)
        seconds, left = run.checkpoint_seconds, {}
        for network in networks:
            job = {"network": asdict(network), "checkpoint_seconds": seconds}
            future = pool.submit("train", job, name=network.name, on_event=partial(hear, network))
            left[future] = network
        pool.shutdown(wait=False)
        while left:
            for future in pool.wait(left, _POLL_SECONDS)[0]:
                network = left.pop(future)
                try:
                    if not future.cancelled():
                        result = future.result()
                        bar.trained(network.name)
                        result["curve"] = [TrainingPoint(*values) for values in result["curve"]]
                        on_trained(network, TrainedNetwork(**result))
                except Exception as caught:  # noqa: BLE001  raised when the others have saved
                    error = error or caught
            clock.tick()
            if error is not None or interrupt.requested:
                pool.shutdown(cancel_futures=True)
    if error is not None:
        raise error
    interrupt.act()
