"""Search algorithms that ask for architectures and are told their scores, on the space alone."""

from onepath.search.algorithm import Algorithm, Proposal, Score
from onepath.search.evolution import Evolution
from onepath.search.feasible import Constraint, FeasibleSet, Limit
from onepath.search.pareto import pareto_front
from onepath.search.random_search import RandomSearch

__all__ = [
    "Algorithm",
    "Constraint",
    "Evolution",
    "FeasibleSet",
    "Limit",
    "Proposal",
    "RandomSearch",
    "Score",
    "pareto_front",
]
