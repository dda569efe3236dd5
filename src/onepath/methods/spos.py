"""Single Path One-Shot.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020 (arXiv
1904.00420). Follows section 3: a supernet in which every update trains one uniformly sampled path (equation 8), then
an evolutionary search over the fixed weights (equation 7, Algorithm 1) under hard limits (equation 5). Differs from
it: of equal validation accuracies, the one with the lower validation loss wins; scores come from a split of the
training data; the defaults of the training are scaled to the size of the data, and a short training starts from one
path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from onepath.errors import ConfigurationError
from onepath.methods.functions import function_of
from onepath.methods.sampled import SampledMethod
from onepath.option_types import option
from onepath.train import ConstrainedSampler, Phase, UniformSampler, path_phases, widening_phases

if TYPE_CHECKING:
    from onepath.methods.job import Job
    from onepath.train import Sampler


class Spos(SampledMethod):
    """Train a supernet path by path, then search it by evolution."""

    name = "spos"
    default_algorithm: ClassVar[str] = "evolution"

    sampler: Literal["uniform", "constrained", "widening"] | None = option(
        None,
        "How training draws paths: uniform over the space, constrained to the limit, or widening, which opens sizes "
        "from the largest down; default: widening if the space has sizes, else uniform.",
    )

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`; the sampler "constrained" needs a limit.

        Raises:
            ConfigurationError: the sampler is "constrained", and there is no limit or its cost is not additive.
        """
        if self.sampler == "constrained" and job.loosest.limits:
            self._sampler(job)
        elif self.sampler == "constrained" and not job.aims():  # a latency has no table yet
            raise ConfigurationError(
                "sampler: 'constrained' needs a limit, but none came; give max_macs, max_params or max_latency_ms"
            )
        return super().resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return phases that train one sampled path per update."""
        recipe = job.recipe(self.epochs)
        has_sizes = any(choice.is_ordered and len(choice.options) > 1 for choice in job.space.choices)
        if self.sampler == "widening" or (self.sampler is None and has_sizes):
            return widening_phases(job.supernet, job.task, recipe)
        return path_phases(job.supernet, job.task, recipe, self._sampler(job))

    def _sampler(self, job: Job) -> Sampler:
        if self.sampler != "constrained":
            return UniformSampler(job.space)
        limits = job.loosest.limits
        if (table := limits[0].table) is None:
            raise ConfigurationError(
                f"sampler='constrained' needs a space whose {limits[0].unit} add up over its choices, but this one is "
                "none; use sampler='uniform'"
            )
        lowest, _ = table.extremes(job.space)
        return ConstrainedSampler(job.space, table, lowest, limits[0].maximum)


spos = function_of(Spos, "Every evaluated architecture, with the best; see `Found`.")
