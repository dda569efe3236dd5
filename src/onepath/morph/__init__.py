"""Network morphism: make a trained network wider or deeper without changing what it computes."""

from onepath.morph.deepening import deepen
from onepath.morph.growing import grow
from onepath.morph.widening import widen

__all__ = ["deepen", "grow", "widen"]
