from onepath.space import CostTable
