"""The page on morphisms and the docstrings say what happens."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import onepath as op
from onepath.morph import deepening, widening

PAGE = Path(__file__).parents[2] / "docs" / "morph.md"


@pytest.mark.parametrize("module", [widening, deepening])
def test_the_examples_in_docstrings(module: Any) -> None:
    tests = doctest.DocTestFinder().find(module, globs={"op": op, "nn": nn, "torch": torch})
    results = [doctest.DocTestRunner().run(test) for test in tests]
    assert sum(result.attempted for result in results) > 0
    assert not any(result.failed for result in results)


def test_the_code_of_the_page_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["differences"][0] < 1e-5
    assert names["differences"][1] < 1e-5
