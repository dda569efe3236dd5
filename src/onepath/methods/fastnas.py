"""FastNAS.

Source: FastNAS of NVIDIA's Model Optimizer, as its documentation and code have it: a trained network is sorted and not
trained again; each option of each choice is evaluated with all others at their largest; each choice then takes its
least option whose drop is within one threshold, the least that meets the limit; and the network found is trained on.
Differs from it: limits of any cost, latency as measured among them; depths, kernels and heads as well as widths; the
metric of the task on the validation split is the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from onepath.errors import ConfigurationError
from onepath.methods.functions import function_of
from onepath.methods.method import Finish, Method
from onepath.methods.supernet_search import Search
from onepath.search import Sensitivity
from onepath.space.ends import end_of

if TYPE_CHECKING:
    from onepath.methods.job import Job, Trained
    from onepath.space import Option, SearchSpace
    from onepath.train import Phase


class FastNas(Method):
    """Cut a trained model where its accuracy suffers least, without training it elastically, and train it on."""

    name = "fastnas"
    finish: ClassVar[Finish] = "fine-tuned"

    def check(self, space: SearchSpace) -> None:
        """There must be sizes or depths.

        Raises:
            ConfigurationError: there are none.
        """
        if not any(choice.is_ordered and choice.num_options > 1 for choice in space.choices):
            raise ConfigurationError(
                f"method {self.name} needs choices of sizes or depths, of which one is the largest, but this space has "
                "none; use spos"
            )

    def resolved(self, job: Job) -> Self:
        """Refuse weights that nobody has trained.

        Raises:
            ConfigurationError: the supernet is not of a model that came in.
        """
        if job.supernet.conversion is None:
            raise ConfigurationError(
                f"method {self.name} trains no supernet and so needs a trained model that is made elastic, but got the "
                f"space {job.space_name}; give --model, in Python a supernet of onepath.convert, or use sandwich"
            )
        return super().resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:  # noqa: ARG002
        """None: the weights that came in are kept."""
        return ()

    def search(self, job: Job, trained: Trained) -> Search:
        """The drop of every option, and the least threshold that meets the limits."""
        space, largest = job.space, end_of(job.space, max)
        tried = {
            (choice.name, option): space.architecture({**largest.options, choice.name: option})
            for choice in space.choices
            if choice.is_ordered
            for option in choice.options
        }
        architectures = list(dict.fromkeys(tried.values()))
        scores = dict(zip(architectures, job.accuracies(trained, architectures), strict=True))
        drops: dict[str, dict[Option, float]] = {}
        for (name, option), architecture in tried.items():
            drops.setdefault(name, {})[option] = scores[largest] - scores[architecture]
        return Search(Sensitivity(space, drops), job.inherited(trained), 1)


fastnas = function_of(FastNas, "The evaluated architecture; see `Found`.")
