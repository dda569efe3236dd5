"""A command is given an ONNX file and prints milliseconds; everything else it does is an error in one line."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from onepath.errors import ConfigurationError, UserError
from onepath.latency import CommandDevice, device, measure
from onepath.latency.onnx_device import write_for_timing

SHAPE = (3, 8, 8)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()).eval()


def script(tmp_path: Path, text: str, name: str = "measure.sh") -> str:
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_it_is_given_a_whole_onnx_file_and_the_settings(tmp_path: Path) -> None:
    code = (
        "import os, sys, onnx\n"
        "model = onnx.load(sys.argv[-1]); onnx.checker.check_model(model)\n"
        "sizes = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]\n"
        "assert sizes == [2, 3, 8, 8], sizes\n"
        "assert sys.argv[1:3] == ['--runs', 'a b'], sys.argv\n"
        "print(int(os.environ['ONEPATH_BATCH']) * 10 + int(os.environ['ONEPATH_THREADS']))\n"
    )
    (tmp_path / "read.py").write_text(code)
    program = script(tmp_path, f'exec {sys.executable} {tmp_path}/read.py "$@"')
    phone = device(f"exec:{program} --runs 'a b'", batch=2, threads=3)
    assert phone.name == f"exec:{program} --runs 'a b'"
    prepared = phone.prepare(network(), SHAPE)
    try:
        assert prepared.run() == 23.0
    finally:
        prepared.close()


def test_several_lines_count_as_their_median_and_it_is_run_once_a_block(tmp_path: Path) -> None:
    program = script(tmp_path, f"echo x >> {tmp_path}/calls; echo note >&2; printf '4.5\\n1\\n\\n 5e0 \\n'")
    (latency,) = measure(device(f"exec:{program}"), [network()], SHAPE)
    assert (latency.median_ms, latency.iqr_ms, latency.repeats) == (4.5, 0.0, 3)
    assert (tmp_path / "calls").read_text() == "x\n" * 3


def test_an_exported_file_is_passed_on_as_it_is_and_an_own_one_is_removed(tmp_path: Path) -> None:
    program = script(tmp_path, f'echo "$1" >> {tmp_path}/paths; test -s "$1" && echo 2')
    path = write_for_timing(network(), SHAPE, 1, tmp_path / "model.onnx")
    measure(device(f"exec:{program}"), [path], SHAPE, blocks=2)
    measure(device(f"exec:{program}"), [network()], SHAPE, blocks=2)
    given = (tmp_path / "paths").read_text().split()
    assert given[:2] == [str(path)] * 2
    assert path.exists()
    assert not Path(given[2]).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo first >&2; echo no phone is connected >&2; exit 3", "exited with 3: no phone is connected$"),
        ("exit 1", "exited with 1: nothing on stderr"),
        ("true", "printed nothing; print a number"),
        ("echo 3 ms", "printed '3 ms'"),
        ("echo 3; echo done", "printed 'done'"),
        ("echo nan", "printed 'nan'"),
        ("echo 0", "printed '0'"),
        ("echo -1", "printed '-1'"),
        ("echo 1e400", "printed '1e400'"),
        ("echo 1e300", "printed '1e300'"),
        ("echo 1e-300", "printed '1e-300'"),
        ("echo inf", "printed 'inf'"),
        ("echo 1_000", "printed '1_000'"),
        ("echo ١", "printed '"),
        ("echo 0x10", "printed '0x10'"),
        ("printf '\\033[31m5\\n'", r"printed '\\x1b\[31m5'"),
        ("printf '\\377\\376\\n'", "printed '\ufffd\ufffd'"),
        ("printf '5\\0006\\n'", r"printed '5\\x006'"),
        ("printf '\\033]0;title\\007 lost\\n' >&2; exit 3", r"exited with 3: \\x1b\]0;title\\x07 lost$"),
        ("printf '%0200d\\n' 0 >&2; exit 3", "exited with 3: 0+$"),
        ("yes 5", "over 1,000,000 bytes on stdout"),
        ("yes 5 >&2", "over 100,000,000 bytes on stderr"),
        ("head -c 3000000 /dev/zero", "over 1,000,000 bytes on stdout"),
        ("kill -9 $$", "exited with -9"),
    ],
)
def test_what_is_not_milliseconds_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        measure(device(f"exec:{script(tmp_path, text)}"), [network()], SHAPE)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("start", ["", "setsid "])
@pytest.mark.parametrize("left", ["sleep 30", "(while true; do echo x >&2; sleep 0.01; done)"])
def test_what_a_command_leaves_behind_does_not_hold_it_up(tmp_path: Path, left: str, start: str) -> None:
    """A process that the command started and did not wait for holds its pipes, in its session or in one of its own."""
    program = script(tmp_path, f"{start}sh -c '{left} & echo $! >> {tmp_path}/left' & sleep 0.1; echo 5")
    began = time.monotonic()
    (latency,) = measure(device(f"exec:{program}"), [network()], SHAPE, blocks=2, max_tries=1)
    assert latency.median_ms == 5.0
    assert time.monotonic() - began < 10
    for process in map(int, (tmp_path / "left").read_text().split()):
        state = Path(f"/proc/{process}/stat")
        is_alive = state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"
        assert not is_alive or start, "what stays in the session of the command ends with it"
        if is_alive:
            os.kill(process, signal.SIGKILL)


def test_a_command_that_closes_its_pipes_and_goes_on_is_ended(tmp_path: Path) -> None:
    phone = CommandDevice(script(tmp_path, "echo 5; exec >&- 2>&-; sleep 30"), timeout_seconds=0.3)
    with pytest.raises(UserError, match=r"must end within 0\.3 s"):
        measure(phone, [network()], SHAPE)


@pytest.mark.parametrize(
    ("command", "more", "message"),
    [
        ("./measure.sh \x1b[31m", {}, r"printable characters on one line, but got './measure.sh \\x1b"),
        ("./measure.sh\n--fast", {}, "printable characters on one line"),
        ("a\x00b", {}, "printable characters on one line"),
        ("true", {"timeout_seconds": 0.0}, "timeout_seconds must be over 0"),
        ("true", {"timeout_seconds": float("nan")}, "timeout_seconds must be over 0"),
        ("true", {"timeout_seconds": float("inf")}, "timeout_seconds must be over 0"),
        ("true", {"threads": 10**6}, "threads must be .* or less, but got 1000000"),
        ("true", {"threads": 10**5000}, "threads must be .* or less, but got a number of about 5,000 digits"),
        ("true", {"threads": True}, "threads must be a whole number, but got True"),
        ("true", {"threads": 1.5}, "threads must be a whole number"),
        ("true", {"batch": 10**9}, "batch must be 65,536 or less"),
    ],
)
def test_a_command_or_setting_that_cannot_be_used(command: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        CommandDevice(command, **more)
    assert str(caught.value).isprintable()


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    program = script(tmp_path, f"(sleep 1; touch {tmp_path}/alive) & wait")
    phone = CommandDevice(program, timeout_seconds=0.3)
    with pytest.raises(UserError, match=r"must end within 0\.3 s"):
        measure(phone, [network()], SHAPE)
    time.sleep(1.2)
    assert not (tmp_path / "alive").exists()


def test_a_script_without_an_interpreter_says_so(tmp_path: Path) -> None:
    path = tmp_path / "measure"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    with pytest.raises(UserError, match=r"must start, but .* did not: No such file"):
        measure(device(f"exec:{path}"), [network()], SHAPE)


def test_a_command_that_is_gone_is_noticed(tmp_path: Path) -> None:
    phone = device(f"exec:{script(tmp_path, 'echo 1')}")
    (tmp_path / "measure.sh").unlink()
    with pytest.raises(ConfigurationError, match="there is no program"):
        measure(phone, [network()], SHAPE)


def test_the_script_of_the_documentation_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    page = (Path(__file__).parents[2] / "docs" / "latency.md").read_text()
    text = page.partition("```sh\n")[2].partition("```")[0]
    path = write_for_timing(network(), SHAPE, 1, tmp_path / "model.onnx")
    phone = device(f"exec:{script(tmp_path, text.removeprefix('#!/bin/sh'))}")
    (latency,) = measure(phone, [path], SHAPE, blocks=2, max_tries=1)
    assert 0 < latency.median_ms < 100
