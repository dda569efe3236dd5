"""What an architecture costs, and hard limits on it."""

from onepath.cost.architecture import architecture_cost, layers, macs, params
from onepath.cost.constraint import BoundConstraint, Constraint, MaxLayers, MaxMacs, MaxParams, counter
from onepath.cost.count import ModuleCost, module_cost
from onepath.cost.table import table

__all__ = [
    "BoundConstraint",
    "Constraint",
    "MaxLayers",
    "MaxMacs",
    "MaxParams",
    "ModuleCost",
    "architecture_cost",
    "counter",
    "layers",
    "macs",
    "module_cost",
    "params",
    "table",
]
