"""The public names are a promise: this list changes only on purpose, with a line in the changelog."""

from __future__ import annotations

import subprocess
import sys

import onepath

PUBLIC = [
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


def test_public_names() -> None:
    assert onepath.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC
    assert dir(onepath) == sorted([*PUBLIC, "__version__"])


def test_every_public_name_exists() -> None:
    for name in PUBLIC:
        assert getattr(onepath, name).__doc__, name


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(onepath, "nothing_of_that_name")


def test_importing_loads_nothing_heavy() -> None:
    code = "import onepath, sys; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("torch", "onnx", "plotly", "pyarrow", "sklearn"):
        assert f"'{name}'" not in loaded


def test_the_python_contract_loads_nothing_it_does_not_need() -> None:
    code = (
        "import onepath as op, sys; op.Supernet, op.spaces, op.Evolution, op.cost, op.train_supernet; "
        "print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("onnx", "plotly", "pyarrow"):
        assert f"'{name}'" not in loaded
