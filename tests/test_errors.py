"""What messages show of values that came from outside."""

from __future__ import annotations

import pytest

from onepath.errors import shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("abc", "'abc'"),
        (12, "12"),
        ("a\x1b[2Jb\n", "'a\\x1b[2Jb\\n'"),
        ("x" * 1000, "'" + "x" * 79 + "... (1,000 characters)"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_a_value_is_cut_and_has_no_control_characters(value: object, expected: str) -> None:
    assert shown(value) == expected


def test_text_of_other_scripts_stays_readable() -> None:
    assert shown("café 네트워크") == "'café 네트워크'"


def test_a_huge_number_is_not_written_out() -> None:
    assert shown(10**5000) == "a number of about 5,000 digits"
