"""What an architecture costs, and hard limits on it."""

from onepath.cost.architecture import macs, params
from onepath.cost.constraint import BoundConstraint, Constraint, MaxMacs, MaxParams, counter
from onepath.cost.count import ModuleCost, module_cost
from onepath.cost.table import table

__all__ = [
    "BoundConstraint",
    "Constraint",
    "MaxMacs",
    "MaxParams",
    "ModuleCost",
    "counter",
    "macs",
    "module_cost",
    "params",
    "table",
]
