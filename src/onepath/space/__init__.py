"""Search spaces as data: choices, architectures, additive costs, exact counting and sampling. NumPy only."""

from onepath.space.architecture import Architecture
from onepath.space.choice import (
    Choice,
    Expression,
    Option,
    Size,
    round_to,
    size_choices,
    size_max,
    size_value,
)
from onepath.space.cost_table import CostTable, CostTerm
from onepath.space.most_probable import most_probable
from onepath.space.notation import Notation, StandaloneForms
from onepath.space.search_space import SearchSpace
from onepath.space.window import WindowSampler

__all__ = [
    "Architecture",
    "Choice",
    "CostTable",
    "CostTerm",
    "Expression",
    "Notation",
    "Option",
    "SearchSpace",
    "Size",
    "StandaloneForms",
    "WindowSampler",
    "most_probable",
    "round_to",
    "size_choices",
    "size_max",
    "size_value",
]
