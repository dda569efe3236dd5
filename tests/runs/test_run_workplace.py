"""What a worker of a run does: its errors are those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from onepath.errors import ConfigurationError
from onepath.runs import make_config
from onepath.runs.definition import RunDefinition
from onepath.runs.run_workplace import RunWorkplace, setup_of
from onepath.workers import Pool

NETWORK = {"role": "winner", "start": "scratch", "architecture": "0", "seed": 0, "inherited_validation": 0.5}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "own.py"),
        ("import sys\ndef build(num_classes): sys.exit(0)", "own.py, line 2, in build, called sys.exit(0)"),
        ("def build(num_classes): return {}['x']", "own.py, line 1, in build, raised KeyError: 'x'"),
    ],
)
def test_it_tells_what_went_wrong(tmp_path: Path, source: str | None, message: str) -> None:
    if source is not None:
        (tmp_path / "own.py").write_text(source)
    config = make_config({"space": f"{tmp_path / 'own.py'}:build"})
    run = RunDefinition(tmp_path, config, {"classes": 10, "input_shape": [1, 8, 8]})
    with Pool(RunWorkplace, setup_of(run, 1), num_workers=1) as pool:
        job = {"network": NETWORK, "checkpoint_seconds": 20.0}
        error = pool.submit("train", job, name="winner-scratch").exception()
    assert isinstance(error, ConfigurationError)
    assert message in str(error)
    assert "In a worker process" in error.__notes__[0]
