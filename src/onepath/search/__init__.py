"""Search algorithms that propose architectures and are told their scores; they use the search space alone."""

from collections.abc import Mapping

from onepath.pareto import hypervolume, pareto_front
from onepath.search.algorithm import Algorithm, Proposal, Score
from onepath.search.driver import Budget, Draw, Evaluated, SearchAlgorithm, run_search
from onepath.search.evolution import Evolution
from onepath.search.feasible import Constraint, FeasibleSet, Limit
from onepath.search.mixed_integer import MixedInteger
from onepath.search.mutation_evolution import MutationEvolution
from onepath.search.nsga2 import NSGA2
from onepath.search.predicted import Predicted
from onepath.search.prefilter import Prefilter
from onepath.search.random_search import RandomSearch
from onepath.search.regularized_evolution import RegularizedEvolution
from onepath.search.reinforce import Reinforce
from onepath.search.sensitivity import Sensitivity

ALGORITHMS: Mapping[str, type[SearchAlgorithm]] = {
    "evolution": Evolution,
    "regularized-evolution": RegularizedEvolution,
    "mutation-evolution": MutationEvolution,
    "nsga2": NSGA2,
    "reinforce": Reinforce,
    "random": RandomSearch,
}
"""Name that users write -> class of the algorithm."""

__all__ = [
    "ALGORITHMS",
    "NSGA2",
    "Algorithm",
    "Budget",
    "Constraint",
    "Draw",
    "Evaluated",
    "Evolution",
    "FeasibleSet",
    "Limit",
    "MixedInteger",
    "MutationEvolution",
    "Predicted",
    "Prefilter",
    "Proposal",
    "RandomSearch",
    "RegularizedEvolution",
    "Reinforce",
    "Score",
    "SearchAlgorithm",
    "Sensitivity",
    "hypervolume",
    "pareto_front",
    "run_search",
]
