"""GDAS: one sampled candidate per choice, learned through Gumbel softmax.

Source: Dong and Yang, "Searching for a Robust Neural Architecture in Four GPU Hours", CVPR 2019 (arXiv 1910.04465),
Algorithm 1. Differs from it: limits are hard; only the sampled candidate's weight has a gradient; weights and logits
are trained as in DARTS; the warm-up, which the paper does not have, is off by default.
"""

from __future__ import annotations

from onepath.methods.darts import darts_recipe
from onepath.methods.differentiable import Differentiable
from onepath.methods.functions import function_of
from onepath.nn import Supernet
from onepath.nn.relaxations import GumbelRelaxation, Relaxation
from onepath.option_types import option
from onepath.train import Recipe


class Gdas(Differentiable):
    """Train sampled paths and their probabilities together, and derive the best legal architecture."""

    name = "gdas"

    temperatures: tuple[float, float] = option(
        (10.0, 0.1),
        "First and last temperature of the Gumbel softmax; between them it changes linearly.",
        group="Differentiable",
        python_only=True,
    )
    hard: bool = option(
        True,
        "Whether only one sampled candidate per choice runs; otherwise all run, with soft weights, as in SNAS.",
        group="Differentiable",
        python_only=True,
    )

    def relaxation(self, supernet: Supernet, seed: int) -> Relaxation:
        """See `Differentiable.relaxation`; one candidate per choice is drawn by a Gumbel softmax."""
        return GumbelRelaxation(supernet, seed=seed, temperatures=self.temperatures, hard=self.hard)

    @staticmethod
    def paper_recipe() -> Recipe:
        """Return the recipe of DARTS."""
        return darts_recipe()


gdas = function_of(Gdas, "The derived architecture and the signals of the search; see `Derived`.")
