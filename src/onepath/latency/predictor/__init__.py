"""Latency predictors that learn from whole networks: HAT's perceptron, ridge regression, boosted trees."""

from onepath.latency.predictor.comparison import bound_95_ms, errors, scatter_page, write_report
from onepath.latency.predictor.features import EncodedFeatures, Features, supernet_features
from onepath.latency.predictor.hat import (
    HAT_FEATURES,
    HAT_LATENCY_NORMS_MS,
    HatFeatures,
    hat_space,
)
from onepath.latency.predictor.mlp import Mlp, MlpRecipe
from onepath.latency.predictor.network_predictor import NetworkPredictor, Split, fit_predictor
from onepath.latency.predictor.networks import measure_pairs, profile_networks, random_architectures
from onepath.latency.predictor.pairs import LatencyPairs, read_pairs
from onepath.latency.predictor.ridge import Ridge
from onepath.latency.predictor.trees import Trees

__all__ = [
    "HAT_FEATURES",
    "HAT_LATENCY_NORMS_MS",
    "EncodedFeatures",
    "Features",
    "HatFeatures",
    "LatencyPairs",
    "Mlp",
    "MlpRecipe",
    "NetworkPredictor",
    "Ridge",
    "Split",
    "Trees",
    "bound_95_ms",
    "errors",
    "fit_predictor",
    "hat_space",
    "measure_pairs",
    "profile_networks",
    "random_architectures",
    "read_pairs",
    "scatter_page",
    "supernet_features",
    "write_report",
]
