"""Run a command, and turn its end into an exit status and its error into one line."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence

import typer

from onepath.cli.interrupts import CONTINUED, Interrupts
from onepath.cli.output import json_alone, plain, say
from onepath.errors import UserError, shown
from onepath.own_code import blaming_own_code

MISTAKE, OURS = 2, 1
BROKEN_PIPE = 128 + 13  # SIGPIPE, which Windows does not have
_SHOWN = {"--help", "-h", "--version"}  # texts that are asked for instead of results
_MOST_CHARACTERS = 1000
_MOST_USAGE = 300
_OPTION_WITHOUT_VALUE = re.compile(r"(--[a-z-]+)=\s*")
_NO_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc|bad allocation"
    r"|alloc_failed|failed to map segment|defaultcpuallocator",
    re.IGNORECASE,
)
_NO_THREADS = re.compile(r"can't start new thread|thread creation failed|too many open files", re.IGNORECASE)
_ADVICE = {
    errno.ENOSPC: "make room, also in the folder for temporary files (TMPDIR)",
    errno.EDQUOT: "make room, also in the folder for temporary files (TMPDIR)",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n), or lower --workers",
    errno.ENFILE: "close programs that hold many files, or lower --workers",
    errno.EAGAIN: "raise the limit on processes (ulimit -u), or lower --workers",
    errno.ENOMEM: "lower --batch-size, --input-size or --workers",
}


def run_command(arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Run a command; see `onepath.cli.main`."""
    debug = "--debug" in arguments
    try:
        _open_closed_streams()
        status, message = _call([argument for argument in arguments if argument != "--debug"], debug)
    except KeyboardInterrupt:
        status, message = 128 + signal.SIGINT, ""
    if interrupts.number is not None or status == 128 + signal.SIGINT:
        # Other code may have turned the interruption into another error on its way here.
        number = interrupts.number or signal.SIGINT
        status, message = 128 + number, interrupts.line(number)
    if message:
        say(_cut(" ".join(message.split()), _MOST_CHARACTERS))
    return status


def _call(arguments: list[str], debug: bool) -> tuple[int, str]:
    from onepath.cli.app import app

    try:
        _check_texts(arguments)
        is_json = "--json" in arguments and not _SHOWN & set(arguments)
        with json_alone() if is_json else contextlib.nullcontext(), blaming_own_code():
            status = app(arguments, prog_name="onepath", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return 128 + signal.SIGINT, ""
    except BaseException as error:  # noqa: BLE001  the boundary: whatever it is, it ends as one line
        if _is_broken_pipe(error):
            # The reader has gone; Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return BROKEN_PIPE, ""
        if debug:
            for line in traceback.format_exc().splitlines():
                say(line)
        return _told(error, arguments, debug)
    return status if isinstance(status, int) else 0, ""


def _told(error: BaseException, arguments: Sequence[str], debug: bool) -> tuple[int, str]:
    """The exit status and the line for an error."""
    if hasattr(error, "format_message"):  # a usage error of typer, whose class is not public in all versions
        return MISTAKE, f"error: {_usage(error, arguments)}"
    if isinstance(error, UserError):
        return MISTAKE, f"error: {error}"
    if (lack := _lack(error)) is not None:
        again = "; then run the same command again" if _name(arguments) in CONTINUED else ""
        return MISTAKE, f"error: {lack}{again}"
    advice = "" if debug else "; --debug shows the traceback"
    return OURS, f"error: {type(error).__name__}: {error}{advice}"


def _lack(error: BaseException) -> str | None:
    """Return what the machine refused and what to do about it; None if the error has another reason."""
    for cause in _causes(error):
        text = f"{type(cause).__name__}: {cause}"
        if (number := _errno(cause)) is not None:
            file = getattr(cause, "filename", None)
            place = "what a command writes or starts" if file is None else shown(str(file), 200)
            advice = _ADVICE.get(number, "check that place and its permissions")
            return f"{place} must be usable, but the system says: {os.strerror(number).lower()}; {advice}"
        if isinstance(cause, MemoryError) or _NO_MEMORY.search(text):
            return (
                "memory must suffice, but it does not; lower --batch-size, --input-size, --width or --workers, or "
                f"raise the limit ({shown(text, 160)})"
            )
        if isinstance(cause, RuntimeError | ImportError) and _NO_THREADS.search(text):
            return (
                "the system must allow the threads and files that a command needs, but it does not; lower --workers, "
                f"or raise the limits (ulimit -u, ulimit -n) ({shown(text, 160)})"
            )
    return None


def _errno(error: BaseException) -> int | None:
    """Return the system's number of an error, also if a worker process sent it or a library put it into words."""
    if isinstance(error, OSError):
        told = re.match(r"\[Errno (\d+)\]", str(error))
        return error.errno if error.errno is not None else int(told[1]) if told else None
    return errno.ENOSPC if "no space left on device" in str(error).lower() else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then what it was raised from, or a lack of the machine's during whose handling it was raised."""
    found: BaseException | None = error
    for _ in range(10):
        if found is None:
            return
        yield found
        context = found.__context__
        is_lack = isinstance(context, OSError) and context.errno in _ADVICE
        found = found.__cause__ or (context if is_lack else None)


def _is_broken_pipe(error: BaseException) -> bool:
    """Whether stdout's reader has gone; typer turns that into an exit."""
    return isinstance(error.__context__ if isinstance(error, SystemExit) else error, BrokenPipeError)


def _open_closed_streams() -> None:
    """Open /dev/null as each standard stream that the process was started without.

    Otherwise the next file that is opened would get the descriptor of the stream.

    Raises:
        OSError: /dev/null cannot be opened.
    """
    is_closed = [stream is None for stream in (sys.stdin, sys.stdout, sys.stderr)]
    for number in (number for number in range(3) if is_closed[number]):
        opened = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
    if is_closed[2]:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  for the rest of the process
    if is_closed[1]:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115


def _check_texts(arguments: Sequence[str]) -> None:
    """Raise if an argument is empty, has only blanks, or is not UTF-8 text: no option takes such a value.

    Raises:
        UserError: an argument is such a value.
    """
    for place, argument in enumerate(arguments):
        before = arguments[place - 1] if place else ""
        joined = _OPTION_WITHOUT_VALUE.fullmatch(argument)
        if joined or not argument.strip():
            option = joined[1] if joined else before if before.startswith("-") else "an argument"
            raise UserError(
                f"{option} must not be empty, but got {shown(argument)}; give a value, or leave it out"
            )
        if "\0" in argument or any("\ud800" <= char <= "\udfff" for char in argument):
            raise UserError(
                f"an argument must be UTF-8 text without NUL, but got {shown(argument)}; rename it"
            )


def _usage(error: BaseException, arguments: Sequence[str]) -> str:
    text = str(error.format_message()).strip().rstrip(".")  # type: ignore[attr-defined]
    command = _name(arguments)
    known = command in (*CONTINUED, "spaces", "cost", "devices")
    return f"{_cut(plain(text), _MOST_USAGE)}; `onepath {command + ' ' if known else ''}--help` lists what there is"


def _name(arguments: Sequence[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _cut(text: str, most: int) -> str:
    """Return a text that is cut in the middle to about `most` characters, because its end says what to do."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]} ... {text[-most // 3 :]}"
