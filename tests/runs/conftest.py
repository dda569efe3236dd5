"""Fixtures of whole runs."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# The processes of the runs import this folder's modules by name too.
sys.path.insert(0, str(Path(__file__).parent))

from run_processes import Runner

# Imported once; every run is a process forked from the one that has them.
PRELOADED = [
    "run_processes",
    "onepath.runs",
    "onepath.methods",
    "onepath.report",
    "onnxruntime",
    "scipy.stats",
    "sklearn.datasets",
    "torch.utils.tensorboard",
    "torchvision.transforms.v2",
    "warm_export",
]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch uses one thread in this process, and so in its workers: as in the runs of `runner`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Starts runs in processes of their own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        # The server's own imports do not follow this process's sys.path before Python 3.12.
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        first = context.Process(target=int)
        first.start()
        first.join()
    return Runner(context, tmp_path_factory.mktemp("log") / "evaluated")


@pytest.fixture(scope="session")
def finished(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was never interrupted; not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    runner.evaluated()
    assert runner(out) == 0
    return out
