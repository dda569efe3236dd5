"""Methods of architecture search, mostly one file per paper.

A method is a class that defines the training, the search, and how the winner is finished.
"""

from onepath.methods.catalogue import METHODS, find_method
from onepath.methods.darts import Darts, darts, darts_recipe
from onepath.methods.differentiable import Derived, Differentiable, derive_within
from onepath.methods.eas import Eas, eas
from onepath.methods.enas import Enas, enas
from onepath.methods.fairnas import Fairnas, fair_recipe, fairnas
from onepath.methods.fastnas import FastNas, fastnas
from onepath.methods.fixed import Fixed, fixed
from onepath.methods.front import Front, front_of
from onepath.methods.functions import function_of
from onepath.methods.gdas import Gdas, gdas
from onepath.methods.ghn import Ghn, ghn
from onepath.methods.job import Job, Settings, Trained
from onepath.methods.memory_job import MemoryJob
from onepath.methods.method import Finish, Method, make_method
from onepath.methods.naswot import Naswot, naswot
from onepath.methods.ofa import Ofa, ofa
from onepath.methods.one_shot import OneShot, one_shot
from onepath.methods.proxyless import Proxyless, proxyless, proxyless_recipe
from onepath.methods.puzzle import Puzzle, puzzle
from onepath.methods.random_networks import RandomNetworks
from onepath.methods.rl import Rl, rl
from onepath.methods.sampled import SampledMethod, SearchingMethod
from onepath.methods.sandwich import Sandwich, sandwich
from onepath.methods.scored import Scored, ScoredMethod
from onepath.methods.smash import Smash, smash
from onepath.methods.spos import Spos, spos
from onepath.methods.supernet_search import Found, Search, Trial, feasible_set, score, search_supernet
from onepath.methods.zen import Zen, zen

__all__ = [
    "METHODS",
    "Darts",
    "Derived",
    "Differentiable",
    "Eas",
    "Enas",
    "Fairnas",
    "FastNas",
    "Finish",
    "Fixed",
    "Found",
    "Front",
    "Gdas",
    "Ghn",
    "Job",
    "MemoryJob",
    "Method",
    "Naswot",
    "Ofa",
    "OneShot",
    "Proxyless",
    "Puzzle",
    "RandomNetworks",
    "Rl",
    "SampledMethod",
    "Sandwich",
    "Scored",
    "ScoredMethod",
    "Search",
    "SearchingMethod",
    "Settings",
    "Smash",
    "Spos",
    "Trained",
    "Trial",
    "Zen",
    "darts",
    "darts_recipe",
    "derive_within",
    "eas",
    "enas",
    "fair_recipe",
    "fairnas",
    "fastnas",
    "feasible_set",
    "find_method",
    "fixed",
    "front_of",
    "function_of",
    "gdas",
    "ghn",
    "make_method",
    "naswot",
    "ofa",
    "one_shot",
    "proxyless",
    "proxyless_recipe",
    "puzzle",
    "rl",
    "sandwich",
    "score",
    "search_supernet",
    "smash",
    "spos",
    "zen",
]
