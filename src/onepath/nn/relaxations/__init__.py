"""Continuous relaxations of a supernet's choices for differentiable search: logits, and the gates that they set."""

from onepath.nn.relaxations.binary import BinaryRelaxation, TwoPathRelaxation
from onepath.nn.relaxations.derivation import Rule, derive, num_skips, option_scores
from onepath.nn.relaxations.expected_cost import ExpectedCost
from onepath.nn.relaxations.gumbel import GumbelRelaxation
from onepath.nn.relaxations.relaxation import Relaxation
from onepath.nn.relaxations.softmax import SoftmaxRelaxation

__all__ = [
    "BinaryRelaxation",
    "ExpectedCost",
    "GumbelRelaxation",
    "Relaxation",
    "Rule",
    "SoftmaxRelaxation",
    "TwoPathRelaxation",
    "derive",
    "num_skips",
    "option_scores",
]
