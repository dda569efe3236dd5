"""DARTS.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), Algorithm 1: while not
converged, update the architecture by descending the validation loss at the weights (first order) or one step ahead of
them (second order), then update the weights by descending the training loss; at the end, derive the architecture.
Differs from it: limits are hard; the validation split of the data is used in place of half the training images; the
weights' optimizer is scaled to the size of the data unless the paper's is asked for; weight decay leaves out biases and
normalisation; the look ahead clips gradients as the weights' training does, while the released code does so only for
text; for text, the rate falls along the cosine too, and the batch size is that for images. The guard, the warm-up and
the dropout of skip connections are later work and off by default.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from onepath import option_types as types
from onepath.methods.differentiable import Differentiable
from onepath.methods.functions import function_of
from onepath.nn import Supernet
from onepath.nn.relaxations import Relaxation, SoftmaxRelaxation
from onepath.option_types import option
from onepath.train import ArchitectureRecipe, Recipe


class Darts(Differentiable):
    """Train weights and a softmax over all candidates together, and derive the best legal architecture."""

    name = "darts"
    judges_eigenvalue: ClassVar[bool] = True

    order: Literal["first", "second", "exact", "second-exact"] = option(
        "first",
        "How the gradient of the architecture is computed: at the present weights (first), after a virtual step of the "
        "weights with finite differences (second), or after it with exact second derivatives (exact).",
        group="Differentiable",
    )
    skip_dropout: types.ShareBelowOne = option(
        0.0,
        "Probability that an update of the weights leaves a skip connection out; it falls to 0 over the search.",
        group="Differentiable",
    )

    def relaxation(self, supernet: Supernet, seed: int) -> Relaxation:
        """See `Differentiable.relaxation`; all candidates run, weighted by a softmax of the logits."""
        return SoftmaxRelaxation(supernet, seed=seed, skip_dropout=self.skip_dropout)

    def architecture_recipe(self) -> ArchitectureRecipe:
        """Return the paper's recipe of the logits: Adam at 3e-4, with betas 0.5 and 0.999."""
        return ArchitectureRecipe(order="second-exact" if self.order == "exact" else self.order)

    @staticmethod
    def paper_recipe() -> Recipe:
        """Return `darts_recipe`: a rate of 0.025 falling to 0.001 along a cosine, gradients clipped at a norm of 5."""
        return darts_recipe()


def darts_recipe(epochs: int = 50, batch_size: int = 64) -> Recipe:
    """Return the weights' recipe of the search: a rate of 0.025 falling to 0.001 along a cosine.

    Gradients are clipped at a norm of 5. The recipe is for images; see `Task.recipe_settings` for other data.
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=0.025,
        final_rate=0.001,
        momentum=0.9,
        weight_decay=3e-4,
        label_smoothing=0.0,
        schedule="cosine",
        clip_norm=5.0,
    )


darts = function_of(Darts, "The derived architecture and the signals of the search; see `Derived`.")
