"""How good an architecture is: with the supernet's weights, or trained by itself."""

from onepath.estimate.estimator import Estimate, Estimator
from onepath.estimate.recalibration import recalibrate_batchnorm, recalibrate_on_task
from onepath.estimate.standalone import StandaloneEstimator
from onepath.estimate.supernet import SupernetEstimator

__all__ = [
    "Estimate",
    "Estimator",
    "StandaloneEstimator",
    "SupernetEstimator",
    "recalibrate_batchnorm",
    "recalibrate_on_task",
]
