"""Messages between a pool and its workers: values to the bit, errors as they were."""

from __future__ import annotations

import builtins
import json

import pytest

from onepath import errors
from onepath.workers.messages import decode, decode_error, encode, encode_error


def test_messages_keep_floats_to_the_bit() -> None:
    values = [0.1 + 0.2, 1e-300, 5, float("inf")]
    line = encode("event", content=values)
    assert line.count(b"\n") == 1
    assert decode(line) == {"message": "event", "content": values}


@pytest.mark.parametrize(
    "error",
    [
        errors.ConfigurationError("loss must be finite.\nLower the learning rate."),
        errors.RunDirectoryError("x must be writable"),
        RuntimeError("ours"),
        MemoryError("much"),
        OSError("a disk"),
    ],
)
def test_errors_come_back_as_they_were(error: Exception) -> None:
    try:
        raise error
    except type(error) as caught:
        line = encode_error(0, caught)
    again = decode_error(decode(line))
    assert (type(again), str(again)) == (type(error), str(error))
    assert "test_errors_come_back_as_they_were" in again.__notes__[0]


def test_errors_of_other_classes_keep_their_name() -> None:
    class StrangeError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(one + two)

    again = decode_error(decode(encode_error(0, StrangeError(1, 2))))
    assert (type(again).__name__, str(again)) == ("StrangeError", "3")
    undecodable = UnicodeDecodeError("utf-8", b"x", 0, 1, "why")
    again = decode_error(decode(encode_error(0, undecodable)))
    assert (type(again).__name__, str(again)) == ("UnicodeDecodeError", str(undecodable))
    # What is no exception is not called.
    name = json.loads(encode_error(0, StrangeError(1, 2)))
    assert isinstance(decode_error({**name, "name": "print"}), RuntimeError)
    assert builtins.print is print
