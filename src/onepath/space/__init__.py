"""Search spaces as data: choices and architectures. Uses NumPy only, no torch."""

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
from onepath.space.notation import Notation, StandaloneForms
from onepath.space.search_space import SearchSpace

__all__ = [
    "Architecture",
    "Choice",
    "Expression",
    "Notation",
    "Option",
    "SearchSpace",
    "Size",
    "StandaloneForms",
    "round_to",
    "size_choices",
    "size_max",
    "size_value",
]
