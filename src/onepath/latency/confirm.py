"""Measure one network several times, in the form that is handed over, to confirm that it is within a limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from onepath.errors import UserError
from onepath.export import export_onnx
from onepath.latency.conditioning import conditioned
from onepath.latency.device import Device, Network
from onepath.latency.device_errors import check_count
from onepath.latency.measure import Latency, measure
from onepath.latency.onnx_device import OnnxDevice, write_for_timing
from onepath.temporary import TemporaryFolder

NUM_SESSIONS = 3
MAX_SLOWNESS = 1.1
"""The machine counts as slow while the reference takes more than this many times its known latency."""
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Waits for the machine to be as fast as before, in s; if it is still slow after the last wait, that is an error."""
_MOST_NOISY = 3
_MOST_SESSIONS = 1000


@dataclass(frozen=True)
class Reference:
    """A network whose latency on the device is known, to tell a slow network from a slow moment of the machine.

    Attributes:
        model: the network; its weights do not matter.
        ms: its latency in ms, from an earlier measurement.
        scales: whether latencies are those of a machine on which the reference takes `ms`: each is divided by how many
            times as long the reference takes in the same rounds. False waits while the machine is slower.
    """

    model: nn.Module
    ms: float
    scales: bool = False


def confirm(
    device: Device,
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    limit_ms: float | None = None,
    reference: Reference | None = None,
    num_sessions: int = NUM_SESSIONS,
    on_wait: Callable[[float, float], None] | None = None,
) -> Latency:
    """Measure a network in several sessions, and return the latency of the slowest session.

    Each session prepares the network again, because its place in memory affects its speed. A runtime that takes ONNX
    files is given the file that `export_onnx` writes, which is the form that a run hands over. A noisy session is
    repeated. A reference is measured in the same rounds. A session is also repeated if the reference took more than 1.1
    times its known latency, after a wait; a reference that scales (`Reference.scales`) divides the latency instead.

    Args:
        device: device to measure on.
        model: the network; its weights do not matter; not changed.
        input_shape: shape of one example, without the batch.
        limit_ms: if a first, quick measurement is over this limit and not noisy, its result is returned at once. None:
            there is no quick measurement.
        reference: a network of known latency; None: the present speed of the machine counts as its usual speed.
        num_sessions: number of sessions without noise, 1 or more.
        on_wait: called before each wait, with how many times its known latency the reference takes and with the length
            of the wait in s.

    Returns:
        The latency of the slowest session. Its `is_noisy` is set if three sessions were noisy before enough were
        without noise; no decision may rest on it then.

    Raises:
        ConfigurationError: `num_sessions` is out of its range, or the device cannot be used on this machine.
        ShapeError: the network rejects `input_shape`.
        UserError: the runtime cannot take the network; or the machine stayed slow for two minutes.
    """
    check_count("num_sessions", num_sessions, 1, _MOST_SESSIONS)
    takes_files = isinstance(device, OnnxDevice)
    steady: list[Latency] = []
    noisy: list[Latency] = []
    pauses = iter(PAUSES_SECONDS)
    with TemporaryFolder() as folder:
        known: Network | None = None if reference is None else reference.model
        if reference is not None and takes_files:
            # The form that tables and predictors measure, written once for all sessions.
            known = write_for_timing(reference.model, input_shape, device.batch, folder / "reference.onnx")

        def session(network: Network) -> Latency:
            """Return a measurement that the machine's speed did not spoil."""
            while reference is not None and known is not None:
                latency, now = measure(device, [network, known], input_shape)
                if now.is_noisy:
                    return replace(latency, is_noisy=True)
                slowness = now.median_ms / reference.ms
                if reference.scales:
                    return replace(
                        latency, median_ms=latency.median_ms / slowness, iqr_ms=latency.iqr_ms / slowness
                    )
                if slowness <= MAX_SLOWNESS:
                    return latency
                seconds = next(pauses, None)
                if seconds is None:
                    raise UserError(
                        f"the machine must be as fast as when its latencies were predicted, but a network of "
                        f"{reference.ms:.4g} ms on {device.name} takes {now.median_ms:.4g} ms now; run the same "
                        "command again when the machine is quieter, or profile it anew"
                    )
                if on_wait is not None:
                    on_wait(slowness, seconds)
                time.sleep(seconds)
            (latency,) = measure(device, [network], input_shape)
            return latency

        if limit_ms is not None:
            quick = session(model)
            if not quick.is_noisy and quick.median_ms > limit_ms:
                return quick
        network: Network = model
        if takes_files:
            network = export_onnx(conditioned(model, input_shape), input_shape, folder / "model.onnx")
        while len(steady) < num_sessions and len(noisy) < _MOST_NOISY:
            latency = session(network)
            (noisy if latency.is_noisy else steady).append(latency)
    return max(noisy if len(steady) < num_sessions else steady, key=lambda latency: latency.median_ms)
