"""Whether one network is within a limit on a device: measured as what is handed over, several times."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from onepath.export import export_onnx
from onepath.latency.conditioning import conditioned
from onepath.latency.device import Device, Network
from onepath.latency.measure import Latency, measure
from onepath.latency.onnx_device import OnnxDevice

NUM_SESSIONS = 3
_MOST_NOISY = 3


def confirm(
    device: Device,
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    limit_ms: float | None = None,
    num_sessions: int = NUM_SESSIONS,
) -> Latency:
    """Measure a network in several sessions, and return the slowest of them.

    A session prepares the network anew, for where it comes to lie in memory is part of its speed, and one session is
    short against the moods of a shared machine. A runtime that takes ONNX files is given the file that `export_onnx`
    writes, which is what a run hands over. A noisy session is repeated.

    Args:
        device: where.
        model: its weights do not matter; not changed.
        input_shape: of one example, without the batch.
        limit_ms: a network whose first, quick measurement is over it is not measured further.
        num_sessions: without noise, 1 or more.

    Returns:
        The latency of the slowest session; with `is_noisy` set if too few sessions were without noise, and then no
        decision is to rest on it.

    Raises:
        ShapeError: the network rejects `input_shape`.
        UserError: the runtime cannot take the network.
    """
    if limit_ms is not None:
        (quick,) = measure(device, [model], input_shape)
        if not quick.is_noisy and quick.median_ms > limit_ms:
            return quick
    steady: list[Latency] = []
    noisy: list[Latency] = []
    with _final_form(device, model, input_shape) as network:
        while len(steady) < num_sessions and len(noisy) < _MOST_NOISY:
            (latency,) = measure(device, [network], input_shape)
            (noisy if latency.is_noisy else steady).append(latency)
    return max(noisy if len(steady) < num_sessions else steady, key=lambda latency: latency.median_ms)


@contextlib.contextmanager
def _final_form(device: Device, model: nn.Module, input_shape: Sequence[int]) -> Iterator[Network]:
    """The file that would be handed over, for a runtime of files; else the network."""
    if not isinstance(device, OnnxDevice):
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="onepath-") as folder:
        network = conditioned(model, input_shape)
        yield export_onnx(network, input_shape, Path(folder) / "model.onnx")
