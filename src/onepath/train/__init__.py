"""Training: one loop for supernets and plain networks, the samplers of paths, recipes and evaluation.

It knows a `Task` (batches, loss, metric), never an image.
"""

from onepath.train.averaging import AveragedCheckpoint, WeightAverage
from onepath.train.counts import CandidateCounts
from onepath.train.curve import TrainingPoint
from onepath.train.evaluation import Evaluation, evaluate
from onepath.train.fairness import StrictFairnessSampler
from onepath.train.loop import train_model, train_supernet
from onepath.train.memory import keep_freed_memory
from onepath.train.path_dropout import PathDropoutSampler
from onepath.train.recipe import Recipe
from onepath.train.reduction import Reduction
from onepath.train.samplers import ConstrainedSampler, Sampler, UniformSampler
from onepath.train.widening import WideningSampler

__all__ = [
    "AveragedCheckpoint",
    "CandidateCounts",
    "ConstrainedSampler",
    "Evaluation",
    "PathDropoutSampler",
    "Recipe",
    "Reduction",
    "Sampler",
    "StrictFairnessSampler",
    "TrainingPoint",
    "UniformSampler",
    "WeightAverage",
    "WideningSampler",
    "evaluate",
    "keep_freed_memory",
    "train_model",
    "train_supernet",
]
