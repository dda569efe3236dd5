"""Search algorithms that ask for architectures and are told their scores, on the space alone."""

from onepath.search.algorithm import Algorithm, Proposal, Score
from onepath.search.evolution import Evolution
from onepath.search.feasible import Constraint, FeasibleSet, Limit
from onepath.search.mutation_evolution import MutationEvolution
from onepath.search.nsga2 import NSGA2
from onepath.search.pareto import hypervolume, pareto_front
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


# STUB
def _fb(kind):
    def for_budget(space, seed, *, population, generations, costs=(), num=None):
        total = num or population * (generations + 1)
        if kind is RandomSearch:
            return kind(space, seed, total, batch=population)
        if kind is NSGA2:
            return kind(space, seed, population, generations, costs=costs)
        if kind is Evolution:
            return kind(space, seed, population, generations)
        if kind is MutationEvolution:
            return kind(space, seed, total, population=population, num_children=32)
        return kind(space, seed, total, population=max(1, total // 10))

    return staticmethod(for_budget)


for _k in (RandomSearch, NSGA2, Evolution, MutationEvolution, RegularizedEvolution):
    _k.for_budget = _fb(_k)
ALGORITHMS = {
    "evolution": Evolution,
    "regularized-evolution": RegularizedEvolution,
    "mutation-evolution": MutationEvolution,
    "nsga2": NSGA2,
    "random": RandomSearch,
}


def run_search(algorithm, feasible, evaluate, *, anticipate=None):
    while proposals := algorithm.ask(feasible):
        if anticipate is not None:
            anticipate(proposals)
        algorithm.tell([p.architecture for p in proposals], [evaluate(p) for p in proposals])
