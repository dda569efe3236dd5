"""The command line: parses, calls, prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from onepath.cli.interrupts import Interrupts

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: None takes those of the process.

    Returns:
        The exit status: 0; 2 for a user's mistake, or where the machine lacks what a run needs; 1 for a mistake of
        ours; 128 + its number after SIGINT (Ctrl-C), SIGTERM or SIGHUP; 141 where the reader of stdout has gone.
        Errors are one line on stderr, with a traceback under `--debug`, which may stand anywhere.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with Interrupts(given, is_process=arguments is None) as interrupts:
        # Here, so that a signal while this is being loaded finds its handler.
        from onepath.cli.statuses import run_command

        return run_command(given, interrupts)
