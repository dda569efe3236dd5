"""What only POSIX systems have is not needed to import onepath, nor to read a run directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from onepath.record import RunDirectory

SCRIPT = """
import importlib, os, pkgutil, signal, sys
from pathlib import Path
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty", "tty"):
    sys.modules[name] = None
import subprocess, multiprocessing, tempfile, shutil, socket, ctypes  # the standard library copes by itself
for name in ("O_DIRECTORY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "register_at_fork", "sched_getaffinity", "killpg",
             "setsid", "pread", "pwrite", "mkfifo", "fork", "getppid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "pthread_sigmask"):
    if hasattr(signal, name):
        delattr(signal, name)
import onepath
from onepath.errors import RunDirectoryError
from onepath.record import RunDirectory, RunRecord, atomic_write_text
assert RunRecord.load(sys.argv[1]).config == {"seed": 0}
atomic_write_text(Path(sys.argv[1]) / "page.html", "page")
try:
    RunDirectory(Path(sys.argv[1]))
except RunDirectoryError as error:
    assert "file locks of Linux or macOS" in str(error), error
else:
    raise AssertionError("it was opened without a lock")
"""
OURS = """
import onepath
for module in pkgutil.walk_packages(onepath.__path__, "onepath."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def run(path: Path, script: str) -> None:
    with RunDirectory(path, create=True) as directory:
        directory.begin({"seed": 0}, {"name": "digits"})
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (path / "page.html").read_text() == "page"


def test_a_run_directory_is_read_where_there_are_no_file_locks(tmp_path: Path) -> None:
    run(tmp_path, SCRIPT)


def test_every_module_is_imported_where_there_is_no_posix(tmp_path: Path) -> None:
    """Third parties are imported before: they are not ours to check."""
    first = (
        "import torch, torchvision.transforms.v2, numpy, yaml, pydantic, typer, jinja2, plotly, onnxruntime"
    )
    run(tmp_path, f"{first}\n{SCRIPT}{OURS}")
