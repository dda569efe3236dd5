"""Layers and blocks with choices, and the supernet that runs them."""

from onepath.nn.carried import CarriedState
from onepath.nn.choice_block import ChoiceBlock
from onepath.nn.conv import ElasticConv1d, ElasticConv2d
from onepath.nn.depth import ElasticDepth
from onepath.nn.gates import Gate
from onepath.nn.linear import ElasticEmbedding, ElasticLinear
from onepath.nn.norm import ElasticBatchNorm1d, ElasticBatchNorm2d, ElasticGroupNorm, ElasticLayerNorm
from onepath.nn.paths import GatedPath, GhostBatches, Path
from onepath.nn.resolution import ElasticResolution
from onepath.nn.supernet import Supernet

__all__ = [
    "CarriedState",
    "ChoiceBlock",
    "ElasticBatchNorm1d",
    "ElasticBatchNorm2d",
    "ElasticConv1d",
    "ElasticConv2d",
    "ElasticDepth",
    "ElasticEmbedding",
    "ElasticGroupNorm",
    "ElasticLayerNorm",
    "ElasticLinear",
    "ElasticResolution",
    "Gate",
    "GatedPath",
    "GhostBatches",
    "Path",
    "Supernet",
]
