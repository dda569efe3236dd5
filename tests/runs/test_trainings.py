"""Networks trained at the same time: the same result as one by one, whatever ends when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rewinding import rewound, without_digests
from run_processes import TINY, Runner, without_times

from onepath import runs
from onepath.errors import ConfigurationError, UserError
from onepath.record import RunDirectory, RunRecord
from onepath.runs.training_watch import JointBar
from onepath.workers import pool, processes

pytestmark = pytest.mark.usefixtures("one_thread")


class Recorder:
    """Stands in for `subprocess.Popen`, and sends the n-th process a signal as soon as it is there."""

    def __init__(self, position: int, number: signal.Signals) -> None:
        self.position = position
        self.number = number
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(self, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(*arguments, **options)
        self.started.append(process)
        if len(self.started) == self.position:
            process.send_signal(self.number)
        return process


class Telling(runs.SilentProgress):
    """Keeps the titles, and calls a function at the first step of a retraining."""

    def __init__(self, at_first_step: Any) -> None:
        self.titles: list[str] = []
        self.begun: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self._at_first_step = at_first_step

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.titles.append(title)
        self.begun.append((total, done))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, done: int, detail: str = "") -> None:
        if self.titles[-1].startswith("retraining") and self._at_first_step is not None:
            self._at_first_step()
            self._at_first_step = None


@pytest.fixture
def popen(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(position: int, number: signal.Signals) -> Recorder:
        recorder = Recorder(position, number)
        monkeypatch.setattr(processes, "_start_process", recorder)
        return recorder

    return install


def test_killed_and_continued_it_ends_as_one_by_one_whoever_is_first(
    runner: Runner, finished: Path, tmp_path: Path, popen: Any
) -> None:
    out = rewound(finished, tmp_path / "run", workers=2)
    assert runner(out, ("retraining 4 networks (2 at a time)", 1), workers=2) == -9
    # Now, while the workers of the killed process may still be there: they must leave, and not disturb.
    with RunDirectory(out) as directory:
        begun = list((out / "checkpoints").glob("*.training.pt"))
        # As if what the workers at work had told had still been on its way; a network that is stored has its curve.
        kept = {"supernet", *(f"{row.role}-{row.start}" for row in directory.store.networks())}
        with directory.store._connection as connection:
            for curve in directory.store.curves().keys() - kept:
                connection.execute("DELETE FROM curves WHERE curve = ?", (curve,))
    without_digests(out)
    held = popen(1, signal.SIGSTOP)
    progress = Telling(lambda: held.started[0].send_signal(signal.SIGCONT))
    runs.retrain(out, space=TINY, progress=progress)
    assert begun
    assert len(held.started) == 2
    assert [process.returncode for process in held.started] == [0, 0]
    assert progress.titles[-1] == "retraining 4 networks (2 at a time)"
    total, done = progress.begun[-1]
    assert total == 40
    assert done > 0
    assert not (out / ".workers.lock").exists()
    assert runner(out, workers=2) == 0
    assert without_times(out) == without_times(finished)
    assert {file.suffix for file in (out / "checkpoints").iterdir()} == {".safetensors"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_every_training(finished: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = rewound(finished, tmp_path / "run", workers=2, retrain_epochs=4000)
    arguments = [sys.executable, "-m", "onepath.cli", "retrain", "--out", str(out), "--space", TINY]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("retraining"):
                break
        # As a terminal or a scheduler does: to the workers too.
        os.killpg(process.pid, number)
        try:
            stdout, rest = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    stderr = "".join(lines) + rest
    assert (process.returncode, stdout) == (128 + number, ""), stderr
    by = "" if number == signal.SIGINT else " by SIGTERM"
    assert stderr.endswith(f"\ninterrupted{by}: the same command continues where it stopped\n")
    assert "Traceback" not in stderr
    with RunDirectory(out) as directory:
        for name in ("winner-scratch", "winner-inherited"):
            state = directory.checkpoint(name).load()
            assert state is not None
            assert 0 < state["update"] < 20_000
        assert directory.store.networks() == []


def test_a_worker_that_is_killed_is_one_line(finished: Path, tmp_path: Path, popen: Any) -> None:
    out = rewound(finished, tmp_path / "run", workers=2)
    started = popen(2, signal.SIGKILL).started
    with pytest.raises(
        UserError, match=r"winner-inherited was ended by SIGKILL.*same command again"
    ) as caught:
        runs.retrain(out, space=TINY)
    assert "\n" not in str(caught.value)
    # The other worker had nothing left to do, or was interrupted at its work.
    assert started[0].returncode in (0, 130)
    assert started[1].returncode == -9
    with RunDirectory(out) as directory:
        assert not directory.store.stage("retrain").done


def test_a_worker_that_is_stopped_is_told_of_and_ended(
    finished: Path, tmp_path: Path, popen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MOST_STOPPED_SECONDS", 1.0)
    out = rewound(finished, tmp_path / "run", workers=2)
    started = popen(2, signal.SIGSTOP).started
    progress = Telling(None)
    with pytest.raises(UserError, match=r"winner-inherited \(process \d+\) was stopped.*same command again"):
        runs.retrain(out, space=TINY, progress=progress)
    assert [note for note in progress.notes if f"kill -CONT {started[1].pid}" in note]
    assert started[1].returncode == -9


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_the_others_work(
    runner: Runner, finished: Path, tmp_path: Path, popen: Any
) -> None:
    out = rewound(finished, tmp_path / "run", workers=2, retrain_epochs=4000)
    started = popen(0, signal.SIGKILL).started
    with pytest.raises(UserError, match="winner-inherited was ended by SIGKILL"):
        runs.retrain(out, space=TINY, progress=Telling(lambda: started[1].send_signal(signal.SIGKILL)))
    with RunDirectory(out) as directory:
        state = directory.checkpoint("winner-scratch").load()
        assert state is not None
        assert state["update"] > 0


@pytest.mark.slow
def test_an_error_of_a_training_is_the_one_of_one_process(finished: Path, tmp_path: Path) -> None:
    # In a few epochs normalisation can keep such weights finite.
    said = []
    for workers in (1, 2):
        out = rewound(
            finished, tmp_path / str(workers), workers=workers, learning_rate=1e6, retrain_epochs=12
        )
        with pytest.raises(ConfigurationError, match="lower the learning rate") as caught:
            runs.retrain(out, space=TINY)
        said.append(str(caught.value).partition(", but")[0])
        assert RunRecord.load(out).networks == []
    assert said[0] == said[1]


@pytest.mark.slow
def test_a_script_needs_no_guard_and_its_folder_is_not_searched_for_modules(
    finished: Path, tmp_path: Path
) -> None:
    out = rewound(finished, tmp_path / "run", workers=2)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "queue.py").write_text("raise RuntimeError('not the one')")
    script = tmp_path / "script.py"
    script.write_text(
        f"import onepath.runs\nprint('once')\nonepath.runs.retrain({str(out)!r}, space={TINY!r})\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path / "here", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
    assert len(RunRecord.load(out).networks) == 4


def test_data_that_came_as_an_object_stay_in_this_process(finished: Path, tmp_path: Path, popen: Any) -> None:
    from onepath.data import load_data

    out = rewound(finished, tmp_path / "run", workers=2)
    started = popen(0, signal.SIGKILL).started
    runs.retrain(out, space=TINY, data=load_data("digits"))
    assert started == []
    one_by_one = [(row.role, row.retrained_test) for row in RunRecord.load(finished).networks]
    assert [(row.role, row.retrained_test) for row in RunRecord.load(out).networks] == one_by_one


def test_the_bar_counts_all_trainings_and_not_what_was_done_before() -> None:
    seen: list[tuple[str, int, int]] = []

    class Seen(runs.SilentProgress):
        def begin(self, title: str, total: int, done: int = 0) -> None:
            seen.append((title, total, done))

        def advance(self, done: int, detail: str = "") -> None:
            seen.append((detail, done, 0))

    bar = JointBar(Seen(), "title", num_planned=4, num_trained=1, num_first=2)
    bar.advance("a", 8, 10)
    assert seen == []  # b has not been heard of
    bar.advance("b", 1, 10)
    assert seen == [("title", 40, 10 + 7 + 0), ("", 10 + 8 + 1, 0)]
    bar.advance("a", 10, 10)
    bar.trained("a")
    bar.detail = "c"
    bar.advance("c", 1, 10)
    assert seen[-1] == ("c", 20 + 1 + 1, 0)
