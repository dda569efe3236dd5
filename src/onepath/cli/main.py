"""The entry point: exit statuses, and errors as one line."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence

import typer

from onepath.errors import UserError
from onepath.own_code import blaming_own_code

INTERRUPTED = 128 + signal.SIGINT
_CONTINUED = ("run", "train", "search", "retrain", "export", "report", "rank", "score")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: None takes those of the process.

    Returns:
        The exit status: 0; 2 for a user's mistake; 1 for ours; 130 after Ctrl-C. Errors are one line on stderr, with
        a traceback under `--debug`, which may stand anywhere.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    status, message = _call([argument for argument in given if argument != "--debug"], debug)
    if message:
        print(" ".join(message.split()), file=sys.stderr)  # noqa: T201
    return status


def _call(arguments: list[str], debug: bool) -> tuple[int, str]:
    from onepath.cli.app import app

    try:
        with blaming_own_code():
            status = app(arguments, prog_name="onepath", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        _show_traceback(debug)
        return 2, f"error: {error}"
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED, _interrupted(arguments)
    except BrokenPipeError:
        # The reader has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1, ""
    except Exception as error:  # noqa: BLE001  the boundary: whatever it is, it ends as one line
        if hasattr(
            error, "format_message"
        ):  # a usage error of typer, whose class is not public in all versions
            _show_traceback(debug)
            return 2, f"error: {_usage(error, arguments)}"
        _show_traceback(debug)
        advice = "" if debug else "; --debug shows the traceback"
        return 1, f"error: {type(error).__name__}: {error}{advice}"
    if status == INTERRUPTED:
        return INTERRUPTED, _interrupted(arguments)
    return status if isinstance(status, int) else 0, ""


def _usage(error: Exception, arguments: list[str]) -> str:
    text = str(error.format_message()).strip().rstrip(".")  # type: ignore[attr-defined]
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    known = command in (*_CONTINUED, "spaces", "cost", "profile")
    return f"{text}; `onepath {command + ' ' if known else ''}--help` lists what there is"


def _interrupted(arguments: list[str]) -> str:
    if arguments[:1] and arguments[0] in _CONTINUED:
        return "interrupted: the same command continues where it stopped"
    return "interrupted"


def _show_traceback(debug: bool) -> None:
    if debug:
        traceback.print_exc()
