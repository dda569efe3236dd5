"""The command line: parses, calls, prints."""

from onepath.cli.main import main

__all__ = ["main"]
