"""Hypernetworks: networks that make the weights of a supernet's path from a description of the architecture."""

from onepath.hyper.graph_network import GatedGraphNetwork, GraphEncoder
from onepath.hyper.hypernetwork import HyperNetwork, Kernels
from onepath.hyper.kernels import KernelMaker, LowRankKernels, TiledKernels
from onepath.hyper.layers import chosen_layers
from onepath.hyper.one_hot import OneHotEncoder
from onepath.hyper.path_graph import PathGraph, path_graph

__all__ = [
    "GatedGraphNetwork",
    "GraphEncoder",
    "HyperNetwork",
    "KernelMaker",
    "Kernels",
    "LowRankKernels",
    "OneHotEncoder",
    "PathGraph",
    "TiledKernels",
    "chosen_layers",
    "path_graph",
]
