"""ProxylessNAS: binary gates, and an expected cost in the loss.

Source: Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware", ICLR 2019
(arXiv 1812.00332), sections 3.2 and 3.3. Weights are trained first, with random gates; then weights and architecture
are trained in turn. Differs from it: limits are hard, and the architecture is the most probable one within them; the
cost may be multiply-accumulates (macs); the weights' optimizer is scaled to the size of the data unless the paper's is
asked for. In the released code the warm-up has a cosine schedule of its own from 0.05, and the logits are not trained
for one further epoch. Here one schedule covers warm-up and search, and the logits move from the first epoch after the
warm-up on.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from onepath import option_types as types
from onepath.methods.differentiable import Differentiable
from onepath.methods.functions import function_of
from onepath.nn import Supernet
from onepath.nn.relaxations import BinaryRelaxation, Relaxation, TwoPathRelaxation
from onepath.option_types import option
from onepath.train import ArchitectureRecipe, Recipe

if TYPE_CHECKING:
    from onepath.methods.job import Job


class Proxyless(Differentiable):
    """Train weights on sampled paths and the probabilities of the paths, and derive the best legal architecture."""

    name = "proxyless"
    costs_join: ClassVar[bool] = True

    epochs: types.Epochs | None = option(
        None,
        "Epochs of the search after the warm-up; default: by the size of the data, with the warm-up as a third of all.",
        group="Differentiable",
    )
    warmup_epochs: types.WarmupEpochs | None = option(  # type: ignore[assignment]
        None,
        "Epochs of the warm-up before the search, which trains only the weights, with random gates; default: half as "
        "many as the search has.",
        group="Differentiable",
    )
    gates: Literal["full", "two-path", "reinforce"] = option(
        "full",
        "What the architecture learns from: every candidate with the memory of one path (full), two candidates "
        "(two-path), or rewards of sampled paths (reinforce).",
        group="Differentiable",
    )
    every: types.Epochs = option(
        1,
        "Updates of the weights for one step of the architecture; the paper takes 5.",
        group="Differentiable",
    )

    @property
    def by_reward(self) -> bool:
        """See `Differentiable.by_reward`; true for the gates "reinforce"."""
        return self.gates == "reinforce"

    @property
    def total_epochs(self) -> int:
        """Epochs of the warm-up and of the search together."""
        assert self.epochs is not None, "the method is resolved"
        return self.epochs + (self.warmup_epochs or 0)

    def of_length(self, total: int, given: Set[str]) -> dict[str, Any]:
        """See `Differentiable.of_length`; the epochs are those after the warm-up."""
        options = super().of_length(total, given)
        return {**options, "epochs": total - options["warmup_epochs"]}

    def _with_length(self, job: Job) -> Self:
        if self.epochs is not None:
            return self.filled(warmup_epochs=self.epochs // 2)
        total = self.weights_recipe(job, None).epochs
        num_warmup = total // 3 if self.warmup_epochs is None else min(self.warmup_epochs, total - 1)
        return self.filled(epochs=max(1, total - num_warmup), warmup_epochs=num_warmup)

    def relaxation(self, supernet: Supernet, seed: int) -> Relaxation:
        """See `Differentiable.relaxation`; one candidate per choice is drawn, or two for the gates "two-path"."""
        return (TwoPathRelaxation if self.gates == "two-path" else BinaryRelaxation)(supernet, seed=seed)

    def architecture_recipe(self) -> ArchitectureRecipe:
        """Return the paper's recipe of the logits: Adam at 1e-3, without momentum and weight decay."""
        return ArchitectureRecipe(learning_rate=1e-3, betas=(0.0, 0.999), weight_decay=0.0, every=self.every)

    @staticmethod
    def paper_recipe() -> Recipe:
        """Return `proxyless_recipe`: a rate of 0.025 falling to 0 along a cosine, over 40 + 120 epochs.

        A batch has 256 examples.
        """
        return proxyless_recipe()


def proxyless_recipe(epochs: int = 160, batch_size: int = 256) -> Recipe:
    """Return the weights' recipe: a rate of 0.025 for batches of 256 examples, falling to 0 along a cosine.

    The rate does not follow `batch_size`.

    Args:
        epochs: epochs of the warm-up and of the search together.
        batch_size: examples per update.
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=0.025,
        weight_decay=4e-5,
        label_smoothing=0.1,
        schedule="cosine",
    )


proxyless = function_of(Proxyless, "The derived architecture and the signals of the search; see `Derived`.")
