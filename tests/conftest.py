"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests run side by side, one process a core; threads of several would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test finds or leaves a latency table in the user's folder; one that is about it names a folder of its own.
os.environ["ONEPATH_CACHE"] = ""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data files beside the project; the test skips where it is absent."""
    folder = Path(os.environ.get("ONEPATH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data is not here: {folder} does not exist; set ONEPATH_SHARED_DATA")
    return folder


@pytest.fixture(scope="module")
def no_graphs() -> Iterator[None]:
    """Runs end without model.pt2 and model.onnx, as where no format can express a network, and measure no latency."""

    from onepath.errors import UserError

    def refuse(*_: object, **__: object) -> None:
        raise UserError("graphs are left out")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onepath.export.trace", refuse)
        yield


def pytest_configure() -> None:
    """Ctrl-C is tested with real signals, which a shell lets the programs that it runs in the background ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
