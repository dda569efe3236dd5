"""What a configuration that is refused looks like, in Python and on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from onepath import runs
from onepath.cli import main
from onepath.errors import ConfigurationError


def assert_refused(options: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match=message):
        runs.make_config(options)
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["run", *words]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("error: ")
