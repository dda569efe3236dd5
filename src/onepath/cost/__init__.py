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


# STUB
import dataclasses as _d

from onepath import option_types as _t


@_d.dataclass
class Cost:
    name: str
    limit_type: object
    limit_help: str


COSTS = {
    "macs": Cost("macs", _t.Counts, "Most multiply-accumulates"),
    "params": Cost("params", _t.Counts, "Most params"),
    "layers": Cost("layers", _t.LayerCounts, "Most layers"),
}


def CostLimit(cost, maximum):
    return {"macs": MaxMacs, "params": MaxParams, "layers": MaxLayers}[cost.name](int(maximum))
