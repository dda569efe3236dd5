"""Modules with choices in them, and the supernet that runs them."""

from onepath.nn.carried import CarriedState
from onepath.nn.choice_block import ChoiceBlock
from onepath.nn.conv import ElasticConv2d
from onepath.nn.depth import ElasticDepth
from onepath.nn.gates import Gate
from onepath.nn.linear import ElasticLinear
from onepath.nn.norm import ElasticBatchNorm2d
from onepath.nn.paths import GatedPath, GhostBatches, Path
from onepath.nn.supernet import Supernet

__all__ = [
    "CarriedState",
    "ChoiceBlock",
    "ElasticBatchNorm2d",
    "ElasticConv2d",
    "ElasticDepth",
    "ElasticLinear",
    "Gate",
    "GatedPath",
    "GhostBatches",
    "Path",
    "Supernet",
]
