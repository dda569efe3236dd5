"""Search algorithms that ask for architectures and are told their scores, on the space alone."""

from onepath.pareto import hypervolume, pareto_front
from onepath.search.algorithm import Algorithm, Proposal, Score
from onepath.search.evolution import Evolution
from onepath.search.feasible import Constraint, FeasibleSet, Limit
from onepath.search.mutation_evolution import MutationEvolution
from onepath.search.nsga2 import NSGA2
from onepath.search.prefilter import Prefilter
from onepath.search.random_search import RandomSearch
from onepath.search.regularized_evolution import RegularizedEvolution

__all__ = [
    "NSGA2",
    "Algorithm",
    "Constraint",
    "Evolution",
    "FeasibleSet",
    "Limit",
    "MutationEvolution",
    "Prefilter",
    "Proposal",
    "RandomSearch",
    "RegularizedEvolution",
    "Score",
    "hypervolume",
    "pareto_front",
]
