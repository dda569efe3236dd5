"""Training: one loop for supernets and plain networks, the samplers of paths, recipes and evaluation.

It knows a `Task` (batches, loss, metric), never an image.
"""

from onepath.train.architecture import ArchitectureTraining
from onepath.train.architecture_recipe import ArchitectureRecipe
from onepath.train.architecture_signals import ArchitecturePoint, Guard
from onepath.train.averaging import AveragedCheckpoint, WeightAverage
from onepath.train.cost_loss import CostLoss
from onepath.train.counts import CandidateCounts
from onepath.train.curve import TrainingPoint
from onepath.train.evaluation import Evaluation, evaluate
from onepath.train.fairness import StrictFairnessSampler
from onepath.train.loop import train_model, train_relaxed, train_supernet
from onepath.train.memory import keep_freed_memory
from onepath.train.path_dropout import PathDropoutSampler
from onepath.train.recipe import Recipe
from onepath.train.reduction import Reduction
from onepath.train.reinforce import Reinforce
from onepath.train.samplers import ConstrainedSampler, Sampler, UniformSampler
from onepath.train.widening import WideningSampler

__all__ = [
    "ArchitecturePoint",
    "ArchitectureRecipe",
    "ArchitectureTraining",
    "AveragedCheckpoint",
    "CandidateCounts",
    "ConstrainedSampler",
    "CostLoss",
    "Evaluation",
    "Guard",
    "PathDropoutSampler",
    "Recipe",
    "Reduction",
    "Reinforce",
    "Sampler",
    "StrictFairnessSampler",
    "TrainingPoint",
    "UniformSampler",
    "WeightAverage",
    "WideningSampler",
    "evaluate",
    "keep_freed_memory",
    "train_model",
    "train_relaxed",
    "train_supernet",
]


# STUB
import dataclasses as _d
from typing import Any as _A

import torch as _torch

from onepath.nn.alignment import align_candidates as _align
from onepath.nn.alignment import widest_path as _widest
from onepath.randomness import generator as _g
from onepath.train.training import Training as _T


@_d.dataclass(frozen=True)
class Phase:
    name: str
    recipe: Recipe
    sampler: _A
    objective: _A = None
    before: _A = None
    enter: _A = None
    until: float = 1.0
    reduction: str = "sum"

class _One:
    def __init__(self, path): self.path = path
    def paths(self, update, rng): return (self.path,)

def path_phases(supernet, recipe, sampler, reduction="sum"):
    if not recipe.one_path or (getattr(sampler, "needs_every_update", False) and False):
        return [Phase("supernet", recipe, sampler, reduction=reduction)]
    first = _widest(supernet)
    return [Phase("one path", recipe, _One(first), until=recipe.one_path, reduction=reduction),
            Phase("supernet", recipe, sampler, enter=lambda s: _align(s, first), reduction=reduction)]

def widening_phases(supernet, recipe):
    class W:
        s = None
        def paths(self, u, rng):
            return self.s.paths(u, rng)
    return path_phases(supernet, recipe, W())

class _Rel:
    def __init__(self, t): self.t = t

def differentiable_phases(training, recipe):
    ArchitectureTraining.record = _record
    ArchitectureTraining.load_record = _load
    return [Phase("search", recipe, _Rel(training), before=training)]

def _record(self):
    r = self.relaxation
    points = [_d.asdict(p) for p in self.points]
    return {"logits": {n: l.detach().tolist() for n, l in zip(r.names, r.logits)}, "candidates": {n: list(c) for n, c in zip(r.names, r.candidates)}, "points": points, "stopped": self.stopped, "stopped_epoch": self.stopped_epoch, "kept_epoch": self.kept_epoch, "warmup_epochs": self.recipe.warmup_epochs, "order": self.recipe.order, "guard": None if self.guard is None else _d.asdict(self.guard)}

def _load(self, record):
    with _torch.no_grad():
        for n, l in zip(self.relaxation.names, self.relaxation.logits):
            l.copy_(_torch.tensor(record["logits"][n]))

def train_phases(supernet, task, phases, *, seed, device="cpu", checkpoint=None, on_point=None, on_update=None, compile=False, counts=None):
    recipe = phases[0].recipe
    upe = task.updates_per_epoch(recipe.batch_size)
    num = recipe.epochs * upe
    ends = [round(p.until * num) for p in phases]
    for p in phases:
        if hasattr(p.sampler, "s"):
            p.sampler.s = WideningSampler(supernet.space, num)
    def paths(update):
        for k, (p, e) in enumerate(zip(phases, ends)):
            if update < e:
                break
        if k and update == ends[k - 1] and p.enter: p.enter(supernet)
        if isinstance(p.sampler, _Rel): return p.sampler.t.paths(update, num, upe)
        return p.sampler.paths(update, _g(seed, "paths", update))
    before = phases[-1].before
    if before is not None: before.relaxation.to(device)
    return _T(supernet, supernet, task, paths=paths, recipe=recipe, seed=seed, device=_torch.device(device), reduction=phases[-1].reduction, counts=counts, before=before).run(checkpoint, on_point, on_update)
