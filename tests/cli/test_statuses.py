"""What the machine lacks, and what stands in a message, is one short line that cannot steer a terminal."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onepath.cli import main
from onepath.cli.output import plain, print_json, write
from onepath.cli.progress import LineProgress
from onepath.errors import SpaceError

COST = ("cost", "shufflenet", "--architecture", "1")
HOSTILE = "caf\u00e9 \x1b[2J\x07\x9b31m\u202egnp.\u2028next\r\n\x00 \udcff"


class OutOfMemoryError(RuntimeError):
    """As torch has it."""


def raised(
    error: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str, str]:
    """What a command ends with that raises."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("onepath.cli.catalogue.describe_architecture", fail)
    capsys.readouterr()
    status = main([*COST, "--json"])
    return status, *capsys.readouterr()


def from_(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x", "/tmp/a\x1b[2J"), r"'/tmp/a\\x1b.2J' must be usable.*no space left"),
        (OSError("[Errno 28] No space left on device: 'x'"), "no space left on device; make room"),
        (RuntimeError("write failed: No space left on device"), "TMPDIR"),
        (PermissionError(errno.EACCES, "x", "/root/x"), "'/root/x' must.*permission denied; check that place"),
        (OSError(errno.EMFILE, "x"), "too many open files; raise the limit on open files .ulimit -n."),
        (BlockingIOError(errno.EAGAIN, "x"), "raise the limit on processes .ulimit -u."),
        (OSError(errno.EFBIG, "x"), "file too large; raise the limit on the size of files"),
        (OSError(errno.ENAMETOOLONG, "x", "y" * 5000), "file name too long"),
        (MemoryError(), "memory must suffice.*lower --batch-size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory must suffice"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), "memory must suffice"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "memory must suffice"),
        (ImportError("libx.so: failed to map segment from shared object"), "memory must suffice"),
        (RuntimeError("can't start new thread"), "threads and files.*ulimit -u"),
        (from_(KeyError("x"), OSError(errno.ENOSPC, "x")), "no space left on device"),
        (SystemExit(0), r"must run to its end, but something in it called sys\.exit\(0\)"),
        (SpaceError("a rule must hold, but got " + "x" * 10**6 + "; change it"), "xxx ... xxx.*; change it"),
    ],
)  # fmt: skip
def test_what_is_no_fault_of_ours_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, message: str
) -> None:
    status, out, err = raised(error, capsys, monkeypatch)
    assert (status, out) == (2, "")
    assert re.search(message, err), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert len(err) < 1100


def test_an_error_met_on_the_way_does_not_hide_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = KeyError("ours")
    error.__context__ = FileNotFoundError(errno.ENOENT, "x")
    assert raised(error, capsys, monkeypatch)[0] == 1


def test_nothing_printed_can_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(HOSTILE) == ("caf\u00e9 \\x1b[2J\\x07\\x9b31m\\u202egnp.\\u2028next\\r\\n\\x00 \\udcff")
    write(HOSTILE)
    print_json({HOSTILE: [HOSTILE]})
    progress = LineProgress(sys.stderr)
    progress.begin(HOSTILE, 2)
    progress.advance(1, HOSTILE)
    progress.note(HOSTILE)
    progress.finish()
    out, err = capsys.readouterr()
    line, _, text = out.partition("\n")
    assert line == plain(HOSTILE)
    assert json.loads(text) == {HOSTILE: [HOSTILE]}
    for char in "\x1b\x07\x9b\u202e\u2028\r\x00\udcff":
        assert char not in out + err
    assert "\u00e9" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--out", ""],
        ["run", "--data", " \t"],
        ["run", "--space="],
        ["run", "--config", "\n"],
        ["run", "--latency-table", ""],
        ["profile", "shufflenet", "--device", ""],
        ["score", ""],
        ["rank", "", "--truth", "x.csv"],
        ["train", "--out", "a\0b"],
        ["report", "--out", "a\udcff"],
        [*COST, "--width", "nan"],
        [*COST, "--width", "1e308"],
        [*COST, "--input-size", "20000"],
        [*COST, "--threads", "1000000"],
        [*COST, "--num-classes", "1" + 40 * "0"],
        [*COST, "--seed", "9223372036854775808"],
        [*COST, "--batch", "1" + 5000 * "0"],
        ["score", "shufflenet", "--num", "1000000000"],
        ["score", "shufflenet", "--seed", "-1"],
        ["score", "shufflenet", "--batch-size", "10000000"],
        ["score", "shufflenet", "--max-macs", "1" + 40 * "0"],
        ["score", "shufflenet", "--max-macs", "0"],
        ["score", "shufflenet", "--weight", "zen=nan"],
        ["rank", "x", "--standalone", "1000000"],
        ["rank", "x", "--truth", "x.csv", "--num", "1" + 20 * "0"],
        ["rank", "x", "--truth", "x.csv", "--resamples", "1000000000"],
        ["profile", "shufflenet", "--device", "torch-cpu", "--max-seconds", "inf"],
        ["profile", "shufflenet", "--device", "torch-cpu", "--network-wise", "1000000000"],
        ["run", "--epochs", "9" * 40],
        ["run", "--num-ghost-batches", "1000000", "--method", "one-shot"],
        ["run", "--workers", "1000000"],
        ["run", "--population", "1000000000"],
        ["run", "--learning-rate", "1e308"],
        [*COST, "--space-argument", "width=2"],
        [*COST, "--space-argument", "name=x"],
        [*COST, "--space-argument", "__class__=x"],
        [*COST, "--space-argument", "a b=x"],
        [*COST, "--space-argument", "a=1", "--space-argument", "a=2"],
        [*COST, "--space-argument", "a=2024-01-01"],
        [*COST, "--space-argument", "a=[1"],
        [*COST, "--space-argument", "a=" + "[" * 500],
        [*COST, "--space-argument", "a=.inf"],
    ],
)  # fmt: skip
def test_hostile_options_are_one_short_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    capsys.readouterr()
    status = main(arguments)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert len(err) < 700


def outcome(script: str, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["bash", "-c", script.replace("onepath", f"{sys.executable} -m onepath.cli")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("script", "status", "out", "err"),
    [
        ("onepath --version >&-", 0, "", ""),
        ("onepath --version 2>&-", 0, "onepath", ""),
        ("onepath --version <&- >&- 2>&-", 0, "", ""),
        ("onepath rnu >&- 2>&-", 2, "", ""),
        ("onepath --version > /dev/full", 2, "", "no space left on device"),
        ("set -o pipefail; (sleep 1; onepath --version) | true", 141, "", ""),
    ],
)
def test_streams_that_are_closed(script: str, status: int, out: str, err: str) -> None:
    found = outcome(script)
    assert found[0] == status
    assert found[1].startswith(out)
    assert err in found[2]
    assert "Traceback" not in found[2]
    assert found[2].count("\n") == bool(err)


def test_a_terminal_of_few_characters() -> None:
    script = """
import sys
from onepath.cli.output import print_json, say, write
write("caf\\u00e9 \\u2026"); say("\\u2588"); print_json({"a": "caf\\u00e9"})
from onepath.cli.progress import BarProgress
bar = BarProgress(); bar.begin("caf\\u00e9 [red]", 2); bar.advance(1, "[/x] \\u2026"); bar.finish()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    line, _, text = done.stdout.partition("\n")
    assert line == "caf\\xe9 \\u2026"
    assert json.loads(text) == {"a": "caf\u00e9"}


PRINTING = """
import os, sys
print("at import")
def build(num_classes, in_channels):
    print("a call"); os.write(1, b"to the descriptor"); os.system("echo a child"); sys.stdout.close()
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))
"""


def test_what_own_code_prints_is_not_in_the_json(tmp_path: Path) -> None:
    program = (
        "import sys; from onepath.cli.output import json_alone, print_json\n"
        "with json_alone():\n"
        "    from onepath.own_code import load_own\n"
        "    load_own('mine.py:build', what='space', known=(), forms='').value(2, 1)\n"
        "    print_json({'a': 1})\n"
        "print('after')"
    )
    (tmp_path / "mine.py").write_text(PRINTING)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    text, _, rest = done.stdout.rpartition("}")
    assert json.loads(text + "}") == {"a": 1}, done.stderr
    assert rest.split() == ["after"]
    for printed in ("at import", "a call", "to the descriptor", "a child"):
        assert printed in done.stderr


@pytest.mark.parametrize("option", ["--help", "--json"])
def test_a_command_with_json_prints_that_alone(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json", option]) == 0
    out = capsys.readouterr().out
    assert "Usage" in out if option == "--help" else json.loads(out)["devices"]
