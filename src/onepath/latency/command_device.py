"""A device behind a command: a phone or a board that a script of yours talks to."""

from __future__ import annotations

import contextlib
import math
import os
import re
import selectors
import shlex
import shutil
import signal
import statistics
import subprocess
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
_PIECE = 65_536
# Bytes on stdout, which holds times alone, and on stderr, of which the end is kept.
_MOST_PRINTED = (1_000_000, 100_000_000)
_KEPT_OF_STDERR = 10_000


class CommandDevice(OnnxDevice):
    """A command that is given the path of an ONNX file as its last argument and prints milliseconds.

    It prints one number, or several, each on its own line, and nothing else on stdout; what it has to say goes to
    stderr. A network given as a module arrives with its batch fixed. `ONEPATH_BATCH` and `ONEPATH_THREADS` in the
    command's environment hold the settings. It is run once for each of 3 blocks; several numbers of one run count as
    their median. The warm-up is the command's own business.
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
        """Keep the command; it is not run yet.

        Args:
            command: the program with its arguments, as in a shell, but no shell is started.
            threads: told to the command; None: torch's own number.
            batch: examples in one inference.
            precision: float32; what the command does with the file is its own business.
            timeout_seconds: of one run of the command.

        Raises:
            ConfigurationError: the command is empty, not printable or not well quoted, or a setting does not fit.
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
                f"{PREFIX} must be followed by a command, but got nothing. Give its path."
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
        """Not known: it is the command's."""
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
        """Run the command once; the median of what it prints, in ms.

        Raises:
            UserError: it fails, takes too long, or prints something other than numbers over 0, or too much.
        """
        program = self._words[0]
        try:
            # Of its own session, so that what the script started ends with it.
            process = subprocess.Popen(
                self._words,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"the command of a device must start, but {program} did not: {getattr(error, 'strerror', error)}; "
                "check its first line and its permissions"
            ) from error
        output, messages = _spoken(process, program, self._timeout_seconds)
        if process.returncode != 0:
            last = one_line((messages.strip().splitlines() or ["nothing on stderr"])[-1])
            raise UserError(
                f"the command of a device must exit with 0, but {program} exited with {process.returncode}: {last}"
            )
        return statistics.median(_numbers(output, program))

    def close(self) -> None:
        """Nothing: no process outlives `run`."""


def _spoken(process: subprocess.Popen[bytes], program: str, timeout_seconds: float) -> tuple[str, str]:
    """What a command prints on stdout and, at its end, on stderr, until it ends; what it started ends with it.

    Raises:
        UserError: it takes longer, or prints more than any list of times.
    """
    end = time.monotonic() + timeout_seconds
    assert process.stdout is not None
    assert process.stderr is not None
    streams = (process.stdout, process.stderr)
    texts, sizes = [bytearray(), bytearray()], [0, 0]
    with selectors.DefaultSelector() as selector, process.stdout, process.stderr:
        for index, stream in enumerate(streams):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, index)
        try:
            # Not until the pipes are closed: a process that the command left behind may hold them for ever.
            while (is_running := process.poll() is None) or selector.get_map():
                if not is_running:
                    _end_group(process)
                ready = selector.select(_POLL_SECONDS if is_running else 0)
                if not is_running and not ready:
                    break
                for key, _ in ready:
                    index = key.data
                    piece = os.read(key.fd, _PIECE)
                    sizes[index] += len(piece)
                    texts[index] += piece
                    if not piece:
                        selector.unregister(key.fileobj)
                    if sizes[index] > _MOST_PRINTED[index]:
                        raise UserError(
                            f"the command of a device must print milliseconds and little else, but {program} printed "
                            f"over {_MOST_PRINTED[index]:,} bytes on {('stdout', 'stderr')[index]}; print a number "
                            "a line"
                        )
                del texts[1][:-_KEPT_OF_STDERR]
                if not selector.get_map() and is_running:
                    # Both pipes are closed, and the command goes on without them.
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(min(_POLL_SECONDS, max(0.0, end - time.monotonic())))
                if is_running and time.monotonic() >= end and process.poll() is None:
                    raise UserError(
                        f"the command of a device must end within {timeout_seconds:g} s, but {program} did not; "
                        "measure fewer runs or fix the connection"
                    )
        finally:
            _end_group(process)
            process.wait()
    output, messages = (bytes(text).decode("utf-8", errors="replace") for text in texts)
    return output, messages


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the command and what it started, as far as that has not made itself a session of its own."""
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
