"""Exact counting and sampling of architectures under additive costs. NumPy only."""

from onepath.counting.cost_table import CostTable, CostTerm
from onepath.counting.most_probable import most_probable
from onepath.counting.window import WindowSampler

__all__ = ["CostTable", "CostTerm", "WindowSampler", "most_probable"]
