"""Exact counting and sampling of architectures under additive costs. NumPy only.

A `CostTable` is a constant plus terms over few choices each; `WindowSampler` counts the architectures whose cost lies
in a window and draws them uniformly; `most_probable` finds the one of the highest score under a limit. `SearchSpace`
offers the sampler of a table as `window_sampler`, `count_within` and `sample_within`.
"""

from onepath.counting.cost_table import CostTable, CostTerm
from onepath.counting.most_probable import most_probable
from onepath.counting.window import WindowSampler

__all__ = ["CostTable", "CostTerm", "WindowSampler", "most_probable"]
