"""The command line: it parses arguments, calls onepath and prints results."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from onepath.cli.interrupts import Interrupts

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: name of the command and its arguments; None takes those of the process.

    Returns:
        The exit status: 0 for success; 2 for a mistake of the user, or if the machine lacks what a run needs; 1 for a
        mistake of onepath; 128 + the number of the signal after SIGINT (Ctrl-C), SIGTERM or SIGHUP; 141 if the reader
        of stdout has gone. An error is one line on stderr, after a traceback if the arguments contain `--debug`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with Interrupts(given, is_process=arguments is None) as interrupts:
        # Imported here, so that a signal during this import finds its handler.
        from onepath.cli.statuses import run_command

        return run_command(given, interrupts)
