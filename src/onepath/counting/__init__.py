"""Exact counting and sampling of architectures under additive costs. Needs only NumPy.

A `CostTable` is a constant plus terms, each over a few choices. `WindowSampler` counts the architectures whose cost
lies in a window and draws them uniformly. `most_probable` finds the architecture with the highest sum of scores under a
limit. `SearchSpace` offers the sampler of a table as `window_sampler`, `count_within` and `sample_within`.
"""

from onepath.counting.cost_table import CostTable, CostTerm
from onepath.counting.most_probable import most_probable
from onepath.counting.window import WindowSampler

__all__ = ["CostTable", "CostTerm", "WindowSampler", "most_probable"]
