"""Progressive shrinking.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020 (arXiv
1908.09791), section 3.3, with the schedule of the released code: the full network, then elastic kernels, depths and
widths, the last two in two steps each, with one, two and four networks an update; resolutions are elastic from the
first update on. Every network also learns from the full one. Differs from it: the phases share out the passes that
other methods train for, in the proportions of the released schedule (`shared_out`); where a trained model came in, it
is the full network; the full network that teaches is the one in training, on the same batch, unless the model that came
in is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from onepath.methods.functions import function_of
from onepath.methods.sandwich import Distilled
from onepath.nn.adapted import Adapted
from onepath.nn.conv import ElasticConv2d
from onepath.nn.selection import has_choices
from onepath.space import Choice, Option
from onepath.space.choice import size_choices
from onepath.space.ends import end_of
from onepath.train import OpenSampler, Phase

if TYPE_CHECKING:
    import numpy as np

    from onepath.methods.job import Job
    from onepath.nn import Supernet
    from onepath.space import Architecture

Kind = Literal["resolution", "kernel", "depth", "width"]


class Stretch(NamedTuple):
    """A part of the released schedule.

    Attributes:
        name: of the phase.
        kind: what it opens; None trains the full network alone.
        options: how many of the largest options are open; None: all.
        epochs, rate, num_paths: as released, for ImageNet and batches of 64.
    """

    name: str
    kind: Kind | None
    options: int | None
    epochs: int
    rate: float
    num_paths: int

    @property
    def num_passes(self) -> int:
        """Networks that an update trains, with the full one that teaches the others."""
        return self.num_paths + (self.kind is not None)


SCHEDULE = (
    Stretch("full", None, None, 180, 0.08, 1),
    Stretch("kernel", "kernel", None, 120, 0.03, 1),
    Stretch("depth 1", "depth", 2, 25, 0.0025, 2),
    Stretch("depth 2", "depth", None, 120, 0.0075, 2),
    Stretch("width 1", "width", 2, 25, 0.0025, 4),
    Stretch("width 2", "width", None, 120, 0.0075, 4),
)
_FULL_RATE = SCHEDULE[0].rate


class Ofa(Distilled):
    """Train the full network, then open kernels, depths and widths one after another; search them as they are."""

    name = "ofa"

    def phases(self, job: Job) -> Sequence[Phase]:
        """The stretches of the schedule for what the space has."""
        kinds = kinds_of(job.supernet)
        stretches = [
            stretch
            for stretch in SCHEDULE
            if (stretch.kind is None and job.supernet.conversion is None)
            or (stretch.kind is not None and _opens(kinds[stretch.kind], stretch.options))
        ]
        recipe = self.base_recipe(job)
        objective = self.objective(job, recipe)
        opened: dict[Choice, Sequence[Option]] = {choice: choice.options for choice in kinds["resolution"]}
        phases = []
        for stretch, epochs in shared_out(stretches, recipe.epochs):
            before = {choice.name: opened[choice] for choice in kinds["width"] if choice in opened}
            if stretch.kind is not None:
                opened |= {c: _largest(c, stretch.options) for c in kinds[stretch.kind]}
            own = dataclasses.replace(
                recipe,
                epochs=epochs,
                learning_rate=recipe.learning_rate * stretch.rate / _FULL_RATE,
                warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
            )
            num_drawn = 0 if stretch.kind is None else stretch.num_paths
            sampler = TaughtSampler(OpenSampler(job.space, dict(opened), num_drawn))
            enter = _sorting(before) if stretch.kind == "width" else None
            phases.append(Phase(stretch.name, own, sampler, objective=objective, enter=enter))
        return phases


class TaughtSampler:
    """The full network first, from whose outputs the paths of another sampler learn; alone where it is all there is.

    Args:
        sampler: of the paths behind it.
    """

    def __init__(self, sampler: OpenSampler) -> None:
        self.sampler = sampler
        self._full = end_of(sampler.space, max)

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """The full network and the drawn ones, without those that are the full one."""
        drawn = self.sampler.paths(update, rng)
        return [self._full, *(path for path in drawn if path != self._full)]


def kinds_of(supernet: Supernet) -> Mapping[Kind, list[Choice]]:
    """The choices that have an order, by what they decide."""
    kernels: set[Choice] = set()
    for module in supernet.module.modules():
        if isinstance(module, Adapted) and module.adaptation.kernel is not None:
            kernels.add(module.adaptation.kernel)
        elif isinstance(module, ElasticConv2d) and has_choices(module):
            kernels.update(choice for side in module.sizes[2:] for choice in size_choices(side))
    found: dict[Kind, list[Choice]] = {"resolution": [], "kernel": [], "depth": [], "width": []}
    for choice in supernet.space.choices:
        if choice.is_ordered:
            by_role: dict[str, Kind] = {"depth": "depth", "resolution": "resolution"}
            found[by_role.get(choice.role, "kernel" if choice in kernels else "width")].append(choice)
    return found


def shared_out(stretches: Sequence[Stretch], passes: int) -> list[tuple[Stretch, int]]:
    """Whole epochs of each stretch: as many passes as can be, in proportions close to the released ones.

    A stretch that opens only the larger options is left out where it would not get an epoch; the others get one or
    more, even if that is more than `passes`.
    """
    released = sum(stretch.epochs * stretch.num_passes for stretch in stretches)
    due = [passes * stretch.epochs / released for stretch in stretches]
    epochs = [
        max(int(share), int(stretch.options is None)) for stretch, share in zip(stretches, due, strict=True)
    ]
    while True:
        left = passes - sum(s.num_passes * num for s, num in zip(stretches, epochs, strict=True))
        fitting = [place for place, s in enumerate(stretches) if s.num_passes <= left and epochs[place] > 0]
        if not fitting:
            return [(s, num) for s, num in zip(stretches, epochs, strict=True) if num > 0]
        epochs[max(fitting, key=lambda place: due[place] - epochs[place])] += 1


def _opens(choices: Sequence[Choice], options: int | None) -> bool:
    """Whether a stretch opens anything that the one before it did not, or the next will not at once."""
    most = max((choice.num_options for choice in choices), default=1)
    return most > (1 if options is None else options)


def _largest(choice: Choice, num: int | None) -> Sequence[Option]:
    return sorted(choice.options, reverse=True)[:num]


def _sorting(opened: Mapping[str, Sequence[Option]]) -> Callable[[Any], None]:
    """Sort channels where the space can, so that the leading ones are worth keeping; those open stay together."""

    def enter(supernet: Supernet) -> None:
        if supernet.conversion is not None:
            supernet.conversion.sorting.sort(supernet.module, opened)
        elif callable(sort := getattr(supernet.module, "sort_channels", None)):
            sort(opened)

    return enter


ofa = function_of(Ofa, "Every evaluated architecture, with the best; see `Found`.")
