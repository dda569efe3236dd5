"""One file per paper: a composition of the rooms below."""

from onepath.methods.darts import darts, darts_recipe, order_of
from onepath.methods.differentiable import Derived, architecture_recipe, derive_within, search_relaxed
from onepath.methods.fairnas import fair_recipe, fairnas
from onepath.methods.front import Front, front_of
from onepath.methods.gdas import gdas
from onepath.methods.one_shot import one_shot
from onepath.methods.proxyless import proxyless, proxyless_recipe
from onepath.methods.spos import spos
from onepath.methods.supernet_search import Found, Trial, feasible_set, score, search_supernet
from onepath.methods.zen import Scored, zen

__all__ = [
    "Derived",
    "Found",
    "Front",
    "Scored",
    "Trial",
    "architecture_recipe",
    "darts",
    "darts_recipe",
    "derive_within",
    "fair_recipe",
    "fairnas",
    "feasible_set",
    "front_of",
    "gdas",
    "one_shot",
    "order_of",
    "proxyless",
    "proxyless_recipe",
    "score",
    "search_relaxed",
    "search_supernet",
    "spos",
    "zen",
]
