"""What messages show of values that came from outside, and how they end."""

from __future__ import annotations

import ast
from pathlib import Path

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


def _last_text(node: ast.expr) -> str:
    """Return the literal text at the end of an expression; empty if it ends with a value."""
    if isinstance(node, ast.JoinedStr):
        return _last_text(node.values[-1]) if node.values else ""
    if isinstance(node, ast.BinOp):
        return _last_text(node.right)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_error(call: ast.Call) -> bool:
    """Whether a call makes an error or ends a program with one: `...Error()`, `...Exit()`, `parser.error()`."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name.endswith(("Error", "Exit")) or name == "error"


@pytest.mark.parametrize("folder", ["src", "benchmarks", "examples"])
def test_no_error_ends_with_a_period(folder: str) -> None:
    files = sorted((Path(__file__).parents[1] / folder).rglob("*.py"))
    calls = [
        (file.name, node)
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _is_error(node)
    ]
    assert files
    wrong = [
        f"{name}, line {node.lineno}"
        for name, node in calls
        if any(_last_text(argument).rstrip().endswith(".") for argument in node.args)
    ]
    assert wrong == []
