"""Graph hypernetworks: a graph network reads the architecture's own graph and makes its weights.

Source: Zhang et al., "Graph HyperNetworks for Neural Architecture Search", ICLR 2019 (arXiv 1810.05749); Knyazev et
al., "Parameter Prediction for Unseen Deep Architectures", NeurIPS 2021 (arXiv 2110.13100), and its released code
(ppuda), from which are virtual edges, the normalisation of the weights by fan-in and the meta-batch of architectures.
Random architectures are ranked by their validation accuracy with the weights that are made, and the best one is trained
by itself. Differs from them: weights are made for the layers that depend on a choice; the others, normalisation and
biases are trained beside the hypernetwork. Running statistics are not made. In place of the statistics of a batch of 64
images, those of all calibration images are measured for each architecture before it is scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onepath import option_types as types
from onepath.hyper import HyperNetwork
from onepath.methods.functions import function_of
from onepath.methods.sampled import SampledMethod
from onepath.option_types import option
from onepath.train import Phase, path_phases

if TYPE_CHECKING:
    from onepath.methods.job import Job
    from onepath.nn import Supernet
    from onepath.space import Architecture, SearchSpace


class MetaBatchSampler:
    """A sampler of several architectures per update, each drawn uniformly.

    Args:
        space: the space from which architectures are drawn.
        num_paths: number of architectures in each update.
    """

    def __init__(self, space: SearchSpace, num_paths: int) -> None:
        self.space, self.num_paths = space, num_paths

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """Return the architectures of one update; see `Sampler`."""
        return [self.space.random(rng) for _ in range(self.num_paths)]


class Ghn(SampledMethod):
    """Train a graph hypernetwork that reads the network's own graph, then search with the weights that it makes."""

    name = "ghn"
    space: ClassVar[str] = "nasbench-macro"
    default_algorithm: ClassVar[str] = "random"

    meta_batch: types.Parts = option(
        1, "Architectures that every update trains on one batch; 8 in GHN-2.", metavar="N"
    )
    hyper_width: types.Parts = option(32, "Width of the states of the graph network.", metavar="N")
    tile: types.Parts = option(64, "Largest number of channels of a tile that a layer repeats.", metavar="N")
    hyper_rate: types.Rate = option(3e-3, "Peak learning rate of the hypernetwork and of the shared weights.")

    def weights(self, supernet: Supernet, input_shape: tuple[int, ...], seed: int) -> HyperNetwork:
        """Return the graph hypernetwork."""
        return HyperNetwork.ghn(supernet, input_shape, width=self.hyper_width, tile=self.tile, seed=seed)

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return phases in which each update trains the hypernetwork on a meta-batch, after a start from one path."""
        recipe = dataclasses.replace(
            job.recipe(self.epochs),
            optimizer="adamw",
            learning_rate=self.hyper_rate,
            final_rate=0.0,
            schedule="cosine",
        )
        sampler = MetaBatchSampler(job.space, self.meta_batch)
        return path_phases(job.supernet, job.task, recipe, sampler, reduction="mean")


ghn = function_of(Ghn, "Every evaluated architecture, with the best; see `Found`.")
