"""Temporary folders: gone with their process, or with the next one where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from onepath.temporary import PREFIX, TemporaryFolder, remove_abandoned


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_until_it_is_closed(place: Path) -> None:
    with TemporaryFolder() as folder:
        (folder / "file").touch()
        assert folder.parent == place
        assert remove_abandoned() == []
        assert (folder / "file").exists()
    assert list(place.iterdir()) == []
    forgotten = TemporaryFolder()
    forgotten.close()
    forgotten.close()
    del forgotten
    assert list(place.iterdir()) == []


def test_that_of_a_killed_process_is_removed_and_of_a_living_one_kept(place: Path) -> None:
    script = (
        "from onepath.temporary import TemporaryFolder\n"
        "folder = TemporaryFolder()\nprint(folder.path, flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.parent == place
        assert remove_abandoned() == []
        assert folder.is_dir()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert remove_abandoned() == [folder]
    assert not folder.exists()


def test_what_is_not_ours_stays(place: Path) -> None:
    target = place / "target"
    (target / "inside").mkdir(parents=True)
    (target / ".onepath-temporary").touch()
    (place / f"{PREFIX}link").symlink_to(target)
    (place / f"{PREFIX}unmarked").mkdir()
    (place / "onepath-results").mkdir()
    assert remove_abandoned() == []
    assert (target / "inside").is_dir()
    assert (place / f"{PREFIX}unmarked").is_dir()
    assert (place / "onepath-results").is_dir()
