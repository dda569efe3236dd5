"""Training: one loop for supernets and plain networks, samplers of paths, recipes and evaluation.

This package uses the data through a `Task` alone (batches, loss, metric) and has no code for images.
"""

from onepath.train.architecture import ArchitectureTraining, differentiable_phases
from onepath.train.architecture_recipe import ArchitectureRecipe
from onepath.train.architecture_signals import ArchitecturePoint, Guard
from onepath.train.averaging import AveragedCheckpoint, WeightAverage
from onepath.train.cost_loss import CostLoss
from onepath.train.counts import CandidateCounts
from onepath.train.curve import TrainingPoint
from onepath.train.distillation import Distillation, alpha_divergence, soft_cross_entropy
from onepath.train.evaluation import Evaluation, evaluate
from onepath.train.fairness import StrictFairnessSampler
from onepath.train.loop import train_differentiable, train_model, train_supernet
from onepath.train.memory import keep_freed_memory
from onepath.train.path_dropout import PathDropoutSampler
from onepath.train.phase import BeforeUpdate, Objective, Phase, SeesBatch
from onepath.train.phases import OnePath, path_phases, train_phases
from onepath.train.recipe import Recipe
from onepath.train.reduction import Reduction
from onepath.train.reinforce import Reinforce
from onepath.train.samplers import ConstrainedSampler, Sampler, UniformSampler
from onepath.train.sandwich import AttentiveSampler, OpenSampler, SandwichSampler
from onepath.train.widening import WideningSampler, widening_phases

__all__ = [
    "ArchitecturePoint",
    "ArchitectureRecipe",
    "ArchitectureTraining",
    "AttentiveSampler",
    "AveragedCheckpoint",
    "BeforeUpdate",
    "CandidateCounts",
    "ConstrainedSampler",
    "CostLoss",
    "Distillation",
    "Evaluation",
    "Guard",
    "Objective",
    "OnePath",
    "OpenSampler",
    "PathDropoutSampler",
    "Phase",
    "Recipe",
    "Reduction",
    "Reinforce",
    "Sampler",
    "SandwichSampler",
    "SeesBatch",
    "StrictFairnessSampler",
    "TrainingPoint",
    "UniformSampler",
    "WeightAverage",
    "WideningSampler",
    "alpha_divergence",
    "differentiable_phases",
    "evaluate",
    "keep_freed_memory",
    "path_phases",
    "soft_cross_entropy",
    "train_differentiable",
    "train_model",
    "train_phases",
    "train_supernet",
    "widening_phases",
]
