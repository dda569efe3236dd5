"""Scores of untrained networks: numbers that estimate quality without a training."""

from onepath.estimate.scores.catalogue import SCORES, score, score_definition, score_definitions, scores
from onepath.estimate.scores.combined import mean_ranks
from onepath.estimate.scores.definition import Score, ScoreDefinition
from onepath.estimate.scores.estimator import ScoreEstimator

__all__ = [
    "SCORES",
    "Score",
    "ScoreDefinition",
    "ScoreEstimator",
    "mean_ranks",
    "score",
    "score_definition",
    "score_definitions",
    "scores",
]
