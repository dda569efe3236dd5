"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from onepath.counting import CostTable, CostTerm, WindowSampler
from onepath.space import Choice, SearchSpace

NAMES = {
    "Choice": Choice,
    "CostTable": CostTable,
    "CostTerm": CostTerm,
    "SearchSpace": SearchSpace,
    "WindowSampler": WindowSampler,
    "np": np,
}


@pytest.mark.parametrize(
    "name", ["counting.cost_table", "counting.most_probable", "counting.window", "space.search_space"]
)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"onepath.{name}")
    result = doctest.testmod(module, extraglobs=NAMES)
    assert result.attempted > 0
    assert result.failed == 0
