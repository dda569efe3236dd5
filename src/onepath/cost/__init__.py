"""What an architecture costs, and hard limits on it."""

from onepath.cost.additive_costs import table
from onepath.cost.architecture import architecture_cost, layers, macs, params
from onepath.cost.constraint import (
    BoundConstraint,
    Constraint,
    CostLimit,
    MaxLayers,
    MaxMacs,
    MaxMemory,
    MaxParams,
    MaxSize,
    counter,
)
from onepath.cost.costs import COSTS, Cost, Counted, cost_of
from onepath.cost.count import ModuleCost, module_cost
from onepath.cost.memory import peak_memory_bytes

__all__ = [
    "COSTS",
    "BoundConstraint",
    "Constraint",
    "Cost",
    "CostLimit",
    "Counted",
    "MaxLayers",
    "MaxMacs",
    "MaxMemory",
    "MaxParams",
    "MaxSize",
    "ModuleCost",
    "architecture_cost",
    "cost_of",
    "counter",
    "layers",
    "macs",
    "module_cost",
    "params",
    "peak_memory_bytes",
    "table",
]
