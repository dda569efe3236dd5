"""A device behind a command, such as a script of yours that talks to a phone or a board."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from onepath.errors import ConfigurationError, UserError, shown
from onepath.latency.device import Prepared, Schedule
from onepath.latency.device_errors import is_time_ms, one_line
from onepath.latency.onnx_device import OnnxDevice

PREFIX = "exec:"
_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_LONGEST_SECONDS = 24 * 3600
_POLL_SECONDS = 0.02
# Largest number of bytes on stdout, which holds only times, and on stderr, of which only the end is kept.
_MOST_PRINTED = (1_000_000, 100_000_000)
_KEPT_OF_STDERR = 10_000


class CommandDevice(OnnxDevice):
    """A command that is given the path of an ONNX file as its last argument and prints milliseconds.

    The command prints one number, or several, each on its own line, and nothing else on stdout. Its messages go to
    stderr. If the network is given as a module, the batch in the file is fixed. The environment variables
    `ONEPATH_BATCH` and `ONEPATH_THREADS` tell the command the settings. The command runs once for each of 3 blocks;
    several numbers of one run count as their median. The command has to do its own warm-up.
    """

    schedule = Schedule(num_blocks=3, num_runs=1, num_warm_up=0)

    def __init__(
        self,
        command: str,
        *,
        threads: int | None = None,
        batch: int = 1,
        precision: str = "float32",
        timeout_seconds: float = 600.0,
    ) -> None:
        """Store the command; it is not run yet.

        Args:
            command: the program with its arguments, quoted as in a shell; no shell is started.
            threads: number of threads, passed on to the command; None: torch's own number.
            batch: number of examples in one inference.
            precision: must be "float32"; the command decides in which precision it computes.
            timeout_seconds: longest time of one run of the command, in s, at most a day.

        Raises:
            ConfigurationError: the command is empty, not printable or not well quoted, or a setting is not allowed.
        """
        if not command.isprintable():
            raise ConfigurationError(
                f"the command of a device must be printable characters on one line, but got {shown(command)}; fix it"
            )
        self.name = PREFIX + command
        super().__init__(threads=threads, batch=batch, precision=precision)
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise ConfigurationError(
                f"the command of a device must be quoted as in a shell, but {shown(command)} is not: {error}; fix it"
            ) from error
        if not self._words:
            raise ConfigurationError(
                f"{PREFIX} must be followed by a command, but got nothing; give its path"
            )
        if not 0 < timeout_seconds <= _LONGEST_SECONDS:
            raise ConfigurationError(
                f"timeout_seconds must be over 0 and at most {_LONGEST_SECONDS:,}, a day, but got "
                f"{shown(timeout_seconds)}; change it"
            )
        self.timeout_seconds = timeout_seconds

    def missing(self) -> str | None:  # noqa: D102
        program = self._words[0]
        if shutil.which(program) is not None:
            return None
        if Path(program).is_file():
            return f"{program} is not executable: chmod +x {program}"
        return f"there is no program {program}"

    def processor(self) -> str | None:
        """Return None, because only the command knows its processor."""
        return None

    def prepare_file(self, path: Path, input_shape: Sequence[int]) -> Prepared:  # noqa: ARG002, D102
        self.check_usable()
        environment = {"ONEPATH_BATCH": str(self.batch), "ONEPATH_THREADS": str(self.threads)}
        return _Command(
            [*self._words, str(path.resolve())], {**os.environ, **environment}, self.timeout_seconds
        )


class _Command:
    def __init__(self, words: list[str], environment: dict[str, str], timeout_seconds: float) -> None:
        self._words = words
        self._environment = environment
        self._timeout_seconds = timeout_seconds

    def run(self) -> float:
        """Run the command once, and return the median of the numbers it prints, in ms.

        Raises:
            UserError: the command fails, takes too long, or prints too much or anything but numbers over 0.
        """
        program = self._words[0]
        status, output, messages = _spoken(self._words, self._environment, self._timeout_seconds)
        if status != 0:
            last = one_line((messages.strip().splitlines() or ["nothing on stderr"])[-1])
            raise UserError(
                f"the command of a device must exit with 0, but {program} exited with {status}: {last}"
            )
        return statistics.median(_numbers(output, program))

    def close(self) -> None:
        """Do nothing: no process outlives `run`."""


def _spoken(words: list[str], environment: dict[str, str], timeout_seconds: float) -> tuple[int, str, str]:
    """Run a command to its end, and return its exit status, its stdout, and the end of its stderr.

    The processes that it started end with it. It prints into files, which can be read even if a process that it leaves
    behind still has them open.

    Raises:
        UserError: the command does not start, takes longer than `timeout_seconds`, or prints more than any list of
            times.
    """
    program, end = words[0], time.monotonic() + timeout_seconds
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as messages:
        try:
            # In its own session, so that the processes that the script started end with it.
            process = subprocess.Popen(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=messages,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"the command of a device must start, but {program} did not: {getattr(error, 'strerror', error)}; "
                "check its first line and its permissions"
            ) from error
        try:
            is_running = True
            while is_running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(min(_POLL_SECONDS, max(0.0, end - time.monotonic())))
                is_running = process.poll() is None
                for name, file, most in zip(
                    ("stdout", "stderr"), (output, messages), _MOST_PRINTED, strict=True
                ):
                    if os.fstat(file.fileno()).st_size > most:
                        raise UserError(
                            f"the command of a device must print milliseconds and little else, but {program} printed "
                            f"over {most:,} bytes on {name}; print a number a line"
                        )
                if is_running and time.monotonic() >= end:
                    raise UserError(
                        f"the command of a device must end within {timeout_seconds:g} s, but {program} did not; "
                        "measure fewer runs or fix the connection"
                    )
        finally:
            _end_group(process)
            process.wait()
        output.seek(0)
        messages.seek(max(0, os.fstat(messages.fileno()).st_size - _KEPT_OF_STDERR))
        texts = [file.read().decode("utf-8", errors="replace") for file in (output, messages)]
    return process.returncode, texts[0], texts[1]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the command and the processes it started, except those that made a session of their own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _numbers(output: str, program: str) -> list[float]:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        raise UserError(
            f"the command of a device must print milliseconds, but {program} printed nothing; print a number"
        )
    values = []
    for line in lines:
        value = float(line) if _NUMBER.fullmatch(line) else math.nan
        if not is_time_ms(value):
            raise UserError(
                f"every line of a device's command must be milliseconds over 0, but {program} printed {shown(line)}; "
                "print a number a line, and messages to stderr"
            )
        values.append(value)
    return values
