"""A device behind a command: a phone or a board that a script of yours talks to."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from onepath.errors import ConfigurationError, UserError
from onepath.latency.device import Prepared, Schedule
from onepath.latency.onnx_device import OnnxDevice

PREFIX = "exec:"


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
            ConfigurationError: the command is empty or not well quoted, or a setting does not fit.
        """
        self.name = PREFIX + command
        super().__init__(threads=threads, batch=batch, precision=precision)
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise ConfigurationError(
                f"the command of a device must be quoted as in a shell, but {command!r} is not: {error}. Mend it."
            ) from error
        if not self._words:
            raise ConfigurationError(
                f"{PREFIX} must be followed by a command, but got nothing. Give its path."
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
            UserError: it fails, takes too long, or prints something other than numbers over 0.
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
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(
                f"the command of a device must start, but {program} did not: {error.strerror}; "
                "check its first line and its permissions"
            ) from error
        try:
            output, messages = process.communicate(timeout=self._timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"the command of a device must end within {self._timeout_seconds:g} s, but {program} did not; "
                "measure fewer runs or mend the connection"
            ) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode != 0:
            last = (messages.strip().splitlines() or ["nothing on stderr"])[-1]
            raise UserError(
                f"the command of a device must exit with 0, but {program} exited with {process.returncode}: {last}"
            )
        return statistics.median(_numbers(output, program))

    def close(self) -> None:
        """Nothing: no process outlives `run`."""


def _numbers(output: str, program: str) -> list[float]:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        raise UserError(
            f"the command of a device must print milliseconds, but {program} printed nothing; print a number"
        )
    values = []
    for line in lines:
        try:
            value = float(line)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise UserError(
                f"every line of a device's command must be milliseconds over 0, but {program} printed {line[:80]!r}; "
                "print a number a line, and messages to stderr"
            )
        values.append(value)
    return values
