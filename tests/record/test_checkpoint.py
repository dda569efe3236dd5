"""Training checkpoints: round trip, damage, cadence."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from onepath.errors import RunDirectoryError
from onepath.record import TrainingCheckpoint


def test_round_trip_of_an_optimizer_state(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint = TrainingCheckpoint(tmp_path / "c.pt")
    state = {
        "update": 7,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "tally": (1.5, None),
    }
    checkpoint.save(state)
    loaded = checkpoint.load()
    assert loaded is not None
    assert loaded["update"] == 7
    assert loaded["tally"] == (1.5, None)
    assert torch.equal(loaded["model"]["weight"], model.weight)
    momentum = loaded["optimizer"]["state"][0]["momentum_buffer"]
    assert torch.equal(momentum, optimizer.state_dict()["state"][0]["momentum_buffer"])


def test_absent_and_removed(tmp_path: Path) -> None:
    checkpoint = TrainingCheckpoint(tmp_path / "c.pt")
    assert checkpoint.load() is None
    checkpoint.save({"update": 1})
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.load() is None


def test_due_follows_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    checkpoint = TrainingCheckpoint(tmp_path / "c.pt", every_seconds=20.0)
    assert not checkpoint.due()
    now = 120.0
    assert checkpoint.due()
    checkpoint.save({"update": 1})
    assert not checkpoint.due()


def test_truncated_file_is_one_line(tmp_path: Path) -> None:
    checkpoint = TrainingCheckpoint(tmp_path / "c.pt")
    checkpoint.save({"weights": torch.zeros(1000)})
    content = checkpoint.path.read_bytes()
    for length in (0, 10, 2000, len(content) - 1):
        checkpoint.path.write_bytes(content[:length])
        with pytest.raises(RunDirectoryError, match="damaged"):
            checkpoint.load()


class Payload:
    """Code that an unrestricted unpickler would run."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


def test_pickled_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"x": Payload()}, tmp_path / "c.pt")
    with pytest.raises(RunDirectoryError, match="damaged"):
        TrainingCheckpoint(tmp_path / "c.pt").load()
    (tmp_path / "c.pt").write_bytes(pickle.dumps({"x": Payload()}, protocol=2))
    with pytest.raises(RunDirectoryError, match="damaged"):
        TrainingCheckpoint(tmp_path / "c.pt").load()
    assert capsys.readouterr().out == ""
