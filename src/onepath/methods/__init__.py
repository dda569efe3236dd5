"""One file per paper: a composition of the rooms below."""

from onepath.methods.spos import spos
from onepath.methods.supernet_search import Found, Trial, feasible_set, score, search_supernet

__all__ = ["Found", "Trial", "feasible_set", "score", "search_supernet", "spos"]
