"""FastNAS.

Source: FastNAS of NVIDIA's Model Optimizer, by its documentation and code. The weights of a trained network are sorted
and not trained again. Each option of each choice is evaluated with all other choices at their largest option. Each
choice then takes its smallest option whose drop of the score is within one common threshold, the lowest threshold that
meets the limit. The network found is trained on. Differs from it: limits may be on any cost, also on measured latency;
depths, kernels and heads are choices as well as widths; the score is the metric of the task on the validation split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from onepath.errors import ConfigurationError
from onepath.methods.functions import function_of
from onepath.methods.method import Finish, Method
from onepath.methods.supernet_search import Search
from onepath.nn.alignment import widest_path
from onepath.search import Sensitivity
from onepath.space.ends import swaps_of

if TYPE_CHECKING:
    from onepath.estimate import Estimate
    from onepath.methods.job import Job, Trained
    from onepath.space import Choice, Option, SearchSpace
    from onepath.train import Phase


class FastNas(Method):
    """Shrink a trained model where its accuracy drops least, without training a supernet, then train it on."""

    name = "fastnas"
    finish: ClassVar[Finish] = "fine-tuned"

    def check(self, space: SearchSpace) -> None:
        """See `Method.check`; the space needs sizes or depths.

        Raises:
            ConfigurationError: no choice of the space has two or more options in an order.
        """
        if not any(choice.is_ordered and choice.num_options > 1 for choice in space.choices):
            raise ConfigurationError(
                f"method {self.name} needs choices of sizes or depths, of which one is the largest, but this space has "
                "none; use spos"
            )

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`; the supernet must come from a trained model.

        Raises:
            ConfigurationError: the supernet was not converted from a model.
        """
        check_converted(self, job)
        return super().resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:  # noqa: ARG002
        """Return no phases: the weights of the converted model are kept."""
        return ()

    def search(self, job: Job, trained: Trained) -> Search:
        """Evaluate the drop of every option, and return a search by `Sensitivity`; see `Method.search`."""
        ordered = [choice for choice in job.space.choices if choice.is_ordered]
        drops = swapped(job, trained, ordered, lambda option, model: model.accuracy - option.accuracy)
        return Search(Sensitivity(job.space, drops), job.inherited(trained), 1)


def check_converted(method: Method, job: Job) -> None:
    """Raise unless the job's supernet comes from a trained model.

    Raises:
        ConfigurationError: the supernet was not converted from a model.
    """
    if job.supernet.conversion is None:
        raise ConfigurationError(
            f"method {method.name} needs a trained model that is made elastic, but got the space {job.space_name}; "
            "give --model, in Python a supernet of onepath.convert, or use sandwich"
        )


def swapped(
    job: Job, trained: Trained, choices: Sequence[Choice], drop: Callable[[Estimate, Estimate], float]
) -> dict[str, dict[Option, float]]:
    """Return name of each choice -> what each of its options loses, with all other choices as in the given model.

    Args:
        job: evaluates the architectures.
        trained: the result of the training.
        choices: choices of the space whose options are evaluated.
        drop: function from the estimates of the option and of the given model to what the option loses.
    """
    largest = widest_path(job.supernet)
    tried = swaps_of(largest, choices)
    architectures = list(dict.fromkeys([largest, *tried.values()]))
    found = dict(zip(architectures, job.evaluated(trained, architectures), strict=True))
    drops: dict[str, dict[Option, float]] = {}
    for (name, option), architecture in tried.items():
        drops.setdefault(name, {})[option] = drop(found[architecture], found[largest])
    return drops


fastnas = function_of(FastNas, "The evaluated architecture; see `Found`.")
