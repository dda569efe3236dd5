"""How good an architecture is: with the supernet's weights, trained by itself, or looked up."""

from onepath.estimate.estimator import Estimate, Estimator
from onepath.estimate.networks import Networks, one_row_per_network
from onepath.estimate.rank_evidence import rank_evidence
from onepath.estimate.recalibration import recalibrate_batchnorm, recalibrate_on_task
from onepath.estimate.standalone import StandaloneEstimator
from onepath.estimate.supernet import SupernetEstimator
from onepath.estimate.table import TableEstimator

__all__ = [
    "Estimate",
    "Estimator",
    "Networks",
    "StandaloneEstimator",
    "SupernetEstimator",
    "TableEstimator",
    "one_row_per_network",
    "rank_evidence",
    "recalibrate_batchnorm",
    "recalibrate_on_task",
]
