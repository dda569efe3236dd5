"""Estimators of an architecture's quality: supernet weights, stand-alone training, a benchmark's table or a score."""

from onepath.estimate.accuracy_predictor import AccuracyPredictor, spread
from onepath.estimate.benchmark_table import TableEstimator
from onepath.estimate.estimator import (
    AnticipatingEstimator,
    BuildingEstimator,
    Estimate,
    Estimator,
    architecture_of,
)
from onepath.estimate.feature_similarity import LayerSimilarity, feature_similarity
from onepath.estimate.networks import Networks, one_row_per_network
from onepath.estimate.rank_evidence import rank_evidence
from onepath.estimate.recalibration import recalibrate_batchnorm, recalibrate_on_task
from onepath.estimate.scores import (
    SCORES,
    Score,
    ScoreDefinition,
    ScoreEstimator,
    mean_ranks,
    score,
    score_definition,
    score_definitions,
    scores,
)
from onepath.estimate.standalone import StandaloneEstimator
from onepath.estimate.supernet import SupernetEstimator

__all__ = [
    "SCORES",
    "AccuracyPredictor",
    "AnticipatingEstimator",
    "BuildingEstimator",
    "Estimate",
    "Estimator",
    "LayerSimilarity",
    "Networks",
    "Score",
    "ScoreDefinition",
    "ScoreEstimator",
    "StandaloneEstimator",
    "SupernetEstimator",
    "TableEstimator",
    "architecture_of",
    "feature_similarity",
    "mean_ranks",
    "one_row_per_network",
    "rank_evidence",
    "recalibrate_batchnorm",
    "recalibrate_on_task",
    "score",
    "score_definition",
    "score_definitions",
    "scores",
    "spread",
]
