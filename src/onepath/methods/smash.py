"""SMASH: a hypernetwork makes the weights of each architecture that is trained.

Source: Brock et al., "SMASH: One-Shot Model Architecture Search through HyperNetworks", ICLR 2018 (arXiv 1708.05344),
and the released code: in each update a random architecture c gets the weights W = H(c), and the loss
trains H and the weights that are not made; then random architectures are ranked by their validation error with W =
H(c), the best ones are changed further, and the best of all is trained by itself. Differs from them: the hypernetwork
is that of `onepath.hyper`, over any declared space; the length of its training follows the size of the data, the rate
is three times that of the code, and short trainings start from one path; of the code's two searches after the random
one, the one by perturbation is used; normalisation is recalibrated before an architecture is scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from onepath import option_types as types
from onepath.hyper import HyperNetwork, Kernels
from onepath.methods.functions import function_of
from onepath.methods.sampled import SampledMethod
from onepath.option_types import option
from onepath.train import Phase, UniformSampler, path_phases

if TYPE_CHECKING:
    from onepath.methods.job import Job
    from onepath.nn import Supernet

_BETAS, _EPSILON = (0.5, 0.999), 1e-4


class Smash(SampledMethod):
    """Train a hypernetwork that reads the architecture, then search with the weights that it makes."""

    name = "smash"
    space: ClassVar[str] = "nasbench-macro"
    default_algorithm: ClassVar[str] = "mutation-evolution"

    kernels: Kernels = option(
        "tiled",
        "How weights are made from the code of a layer: as repeated tiles (tiled), or as sums of products of factors "
        "(low-rank).",
    )
    hyper_width: types.Parts = option(
        64, "Width of the code from which a layer's weight is made.", metavar="N"
    )
    rank: types.Parts = option(16, "Number of products whose sum is a low-rank kernel.", metavar="N")
    tile: types.Parts = option(64, "Largest number of channels of a tile of tiled kernels.", metavar="N")
    hyper_rate: types.Rate = option(3e-3, "Peak learning rate of the hypernetwork and of the shared weights.")

    def weights(self, supernet: Supernet, input_shape: tuple[int, ...], seed: int) -> HyperNetwork:  # noqa: ARG002
        """Return H, which makes the weights of every layer that depends on a choice."""
        return HyperNetwork.smash(
            supernet,
            kernels=self.kernels,
            width=self.hyper_width,
            rank=self.rank,
            tile=self.tile,
            seed=seed,
        )

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return phases in which each update trains H on one uniformly sampled architecture, after a start from one."""
        recipe = dataclasses.replace(
            job.recipe(self.epochs),
            optimizer="adamw",
            learning_rate=self.hyper_rate,
            final_rate=0.0,
            betas=_BETAS,
            epsilon=_EPSILON,
            schedule="cosine",
        )
        return path_phases(job.supernet, job.task, recipe, UniformSampler(job.space))


smash = function_of(Smash, "Every evaluated architecture, with the best; see `Found`.")
