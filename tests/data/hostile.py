"""What every refusal of data must be, whatever the data try."""

from __future__ import annotations

from typing import Any

import pytest

from onepath.data import load_data
from onepath.errors import DataError


def refused(source: Any, match: str | None = None, **options: Any) -> str:
    """The message of a DataError: one short line without control characters."""
    with pytest.raises(DataError, match=match) as caught:
        load_data(source, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
    assert not message.endswith(".")
    return message


def refused_or_read(source: Any) -> None:
    """Data that may be damaged: an error is a DataError of one line."""
    message = ""
    try:
        load_data(source)
    except DataError as error:
        message = str(error)
    assert message.isprintable()
