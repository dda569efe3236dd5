"""onepath: neural architecture search on PyTorch, from labelled data and a device budget to a deployable model.

The names below are what a user writes. Each is imported when it is first used, so that `import onepath` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from onepath.version import __version__ as __version__

if TYPE_CHECKING:
    from onepath import cost, errors, estimate, latency, morph, spaces, train
    from onepath.conversion import convert
    from onepath.cost import Constraint, MaxLayers, MaxMacs, MaxMemory, MaxParams, MaxSize
    from onepath.data import Batch, Task, load_data
    from onepath.export import export_onnx, export_program, save_weights
    from onepath.hyper import HyperNetwork
    from onepath.latency import MaxLatency
    from onepath.methods.darts import darts
    from onepath.methods.eas import eas
    from onepath.methods.enas import enas
    from onepath.methods.fairnas import fairnas
    from onepath.methods.fastnas import fastnas
    from onepath.methods.gdas import gdas
    from onepath.methods.ghn import ghn
    from onepath.methods.naswot import naswot
    from onepath.methods.ofa import ofa
    from onepath.methods.one_shot import one_shot
    from onepath.methods.proxyless import proxyless
    from onepath.methods.puzzle import puzzle
    from onepath.methods.rl import rl
    from onepath.methods.sandwich import sandwich
    from onepath.methods.smash import smash
    from onepath.methods.spos import spos
    from onepath.methods.supernet_search import search_supernet
    from onepath.methods.zen import zen
    from onepath.nn import (
        ChoiceBlock,
        ElasticBatchNorm1d,
        ElasticBatchNorm2d,
        ElasticConv1d,
        ElasticConv2d,
        ElasticDepth,
        ElasticEmbedding,
        ElasticGroupNorm,
        ElasticLayerNorm,
        ElasticLinear,
        ElasticResolution,
        Gate,
        Supernet,
    )
    from onepath.runs.progress import Progress
    from onepath.runs.result import load_run
    from onepath.runs.run import run
    from onepath.search import (
        NSGA2,
        Evolution,
        MutationEvolution,
        RandomSearch,
        RegularizedEvolution,
        Reinforce,
    )
    from onepath.space import Architecture, Choice, SearchSpace, round_to
    from onepath.train import (
        ConstrainedSampler,
        PathDropoutSampler,
        Recipe,
        StrictFairnessSampler,
        UniformSampler,
        WideningSampler,
        train_model,
        train_supernet,
    )


_HOMES = {
    "space": ("Architecture", "Choice", "SearchSpace", "round_to"),
    "nn": (
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
        "Supernet",
    ),
    "search": (
        "NSGA2",
        "Evolution",
        "MutationEvolution",
        "RandomSearch",
        "RegularizedEvolution",
        "Reinforce",
    ),
    "data": ("Batch", "Task", "load_data"),
    "cost": ("Constraint", "MaxLayers", "MaxMacs", "MaxMemory", "MaxParams", "MaxSize"),
    "train": (
        "ConstrainedSampler",
        "PathDropoutSampler",
        "Recipe",
        "StrictFairnessSampler",
        "UniformSampler",
        "WideningSampler",
        "train_model",
        "train_supernet",
    ),
    "latency": ("MaxLatency",),
    "methods": (
        "darts",
        "eas",
        "enas",
        "fairnas",
        "fastnas",
        "gdas",
        "ghn",
        "naswot",
        "ofa",
        "one_shot",
        "proxyless",
        "puzzle",
        "rl",
        "sandwich",
        "search_supernet",
        "smash",
        "spos",
        "zen",
    ),
    "conversion": ("convert",),
    "export": ("export_onnx", "export_program", "save_weights"),
    "hyper": ("HyperNetwork",),
    "runs": ("Progress", "load_run", "run"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = ("cost", "errors", "estimate", "latency", "morph", "spaces", "train")

__all__ = [  # noqa: RUF022 - plainly sorted, as a test pins it
    "Architecture",
    "Batch",
    "Choice",
    "ChoiceBlock",
    "ConstrainedSampler",
    "Constraint",
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
    "Evolution",
    "Gate",
    "HyperNetwork",
    "MaxLatency",
    "MaxLayers",
    "MaxMacs",
    "MaxMemory",
    "MaxParams",
    "MaxSize",
    "MutationEvolution",
    "NSGA2",
    "PathDropoutSampler",
    "Progress",
    "RandomSearch",
    "Recipe",
    "RegularizedEvolution",
    "Reinforce",
    "SearchSpace",
    "StrictFairnessSampler",
    "Supernet",
    "Task",
    "UniformSampler",
    "WideningSampler",
    "convert",
    "cost",
    "darts",
    "eas",
    "enas",
    "errors",
    "estimate",
    "export_onnx",
    "export_program",
    "fairnas",
    "fastnas",
    "gdas",
    "ghn",
    "latency",
    "load_data",
    "load_run",
    "morph",
    "naswot",
    "ofa",
    "one_shot",
    "proxyless",
    "puzzle",
    "rl",
    "round_to",
    "run",
    "sandwich",
    "save_weights",
    "search_supernet",
    "smash",
    "spaces",
    "spos",
    "train",
    "train_model",
    "train_supernet",
    "zen",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"onepath.{_HOME_OF[name]}"), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"onepath.{name}")
    else:
        raise AttributeError(f"module 'onepath' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
