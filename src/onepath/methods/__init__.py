"""One file per paper: a composition of the rooms below."""

from onepath.methods.fairnas import fair_recipe, fairnas
from onepath.methods.front import Front, front_of
from onepath.methods.one_shot import one_shot
from onepath.methods.spos import spos
from onepath.methods.supernet_search import Found, Trial, feasible_set, score, search_supernet

__all__ = [
    "Found",
    "Front",
    "Trial",
    "fair_recipe",
    "fairnas",
    "feasible_set",
    "front_of",
    "one_shot",
    "score",
    "search_supernet",
    "spos",
]
