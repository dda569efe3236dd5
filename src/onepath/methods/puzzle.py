"""Puzzle.

Source: Bercovich et al., "Puzzle: Distillation-Based NAS for Inference-Optimized LLMs" (arXiv 2411.19146). The blocks
of a trained model become elastic, and each is trained by itself to repeat the model's block. Each option of each choice
is then scored by swapping it alone into the model. A mixed-integer program takes the options with the least sum of
losses under the limits. The network found is trained on, with the model as its teacher. Differs from it:

- The variants of a block are the options of its choices, which share the weights of the model.
- The score is the rise of the loss on the validation split, not the divergence from the model's outputs.
- A choice of no block, such as the width of a residual stream, is scored and searched, but not trained before.
- Several answers of the program are evaluated, and the best on the validation split wins.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from onepath import option_types as types
from onepath.methods.fastnas import check_converted, swapped
from onepath.methods.finishing import Teacher
from onepath.methods.functions import function_of
from onepath.methods.method import Finish, Method
from onepath.methods.sandwich import TRAINED_RATE
from onepath.methods.supernet_search import Search
from onepath.nn.blocks import blocks_of
from onepath.option_types import option
from onepath.search import MixedInteger
from onepath.train import OpenSampler, Phase
from onepath.train.block_distillation import BlockDistillation

if TYPE_CHECKING:
    from onepath.methods.job import Job, Trained


class Puzzle(Method):
    """Train the blocks of a trained model by themselves, score every option alone, and solve for the least loss."""

    name = "puzzle"
    finish: ClassVar[Finish] = "fine-tuned"
    finish_teacher: ClassVar[Teacher] = "model"

    epochs: types.Epochs | None = option(
        None, "Epochs of the training of the blocks; default: a tenth of those of other methods."
    )
    num: types.Evaluated = option(
        10, "Architectures that are evaluated, the best answers first.", group="Search", metavar="N"
    )
    num_different: types.Parts = option(
        1, "Choices in which any two of the evaluated architectures differ at least.", group="Search"
    )

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`; the supernet must come from a trained model.

        Raises:
            ConfigurationError: the supernet was not converted from a model.
        """
        check_converted(self, job)
        return super(Puzzle, self.filled(epochs=math.ceil(job.recipe().epochs / 10))).resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return the training of the blocks; none if the space has no block with a size or operation to choose."""
        blocks = blocks_of(job.supernet)
        opened = {
            choice: choice.options
            for choices in blocks.values()
            for choice in choices
            if choice.role != "depth"  # without its layers a block has nothing to train
        }
        if not opened:
            return ()
        recipe = dataclasses.replace(job.recipe(self.epochs), one_path=0.0)
        if job.settings.learning_rate is None:
            recipe = dataclasses.replace(recipe, learning_rate=TRAINED_RATE * recipe.learning_rate)
        sampler = OpenSampler(job.space, opened)
        return [Phase("blocks", recipe, sampler, objective=BlockDistillation(job.supernet, blocks))]

    def search(self, job: Job, trained: Trained) -> Search:
        """Evaluate every option alone, and return a search by `MixedInteger`; see `Method.search`."""
        losses = swapped(job, trained, job.space.choices, lambda option, model: option.loss - model.loss)
        finite = {
            name: {option: min(loss, 1e6) for option, loss in found.items()} for name, found in losses.items()
        }
        algorithm = MixedInteger(job.space, finite, self.num, self.num_different)
        return Search(algorithm, job.inherited(trained), self.num)


puzzle = function_of(Puzzle, "Every evaluated architecture, with the best; see `Found`.")
