"""Progressive shrinking.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020 (arXiv
1908.09791), section 3.3, with the schedule of the released code. The full network is trained first; then kernels,
depths and widths become elastic, the last two in two steps each, with one, two and four networks per update.
Resolutions are elastic in every phase after that of the full network. Every network also learns from the full one.
Differs from it:

- The phases share the passes that other methods train for, in the proportions of the released schedule (`shared_out`).
- If a trained model was given, it is the full network and the first phase is left out.
- The teacher is the full network as it is being trained, on the same batch; option `teacher` adds the given model.
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
        name: name of the phase.
        kind: the kind of choices that it opens; None trains the full network alone.
        options: how many of the largest options are open; None opens all.
        epochs: its length in the release, for ImageNet.
        rate: its learning rate in the release, for batches of 64.
        num_paths: number of networks that an update trains. If `kind` is given, the full network is trained, too.
    """

    name: str
    kind: Kind | None
    options: int | None
    epochs: int
    rate: float
    num_paths: int

    @property
    def num_passes(self) -> int:
        """Number of networks that an update trains, including the full network that teaches the others."""
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
    """Train the full network, then open kernels, depths and widths in turn; winners keep the supernet's weights."""

    name = "ofa"

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return the stretches of the schedule that open something in the job's space, as phases.

        The full network is not trained first if it is a trained model that was converted.
        """
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
        for stretch, epochs in shared_out(stretches, int(recipe.epochs)):
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
    """A sampler of the full network, followed by the paths of another sampler, which learn from its outputs.

    Args:
        sampler: sampler of the paths after the full network.
    """

    def __init__(self, sampler: OpenSampler) -> None:
        self.sampler = sampler
        self._full = end_of(sampler.space, max)

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """Return the full network and the drawn paths, without drawn paths that are the full network."""
        drawn = self.sampler.paths(update, rng)
        return [self._full, *(path for path in drawn if path != self._full)]


def kinds_of(supernet: Supernet) -> Mapping[Kind, list[Choice]]:
    """Return the ordered choices of a supernet, grouped by what they decide.

    A choice of a size that is no depth, no resolution and no side of a kernel counts as a width.
    """
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
    """Return the whole epochs of each stretch, which add up to as many passes as possible in the released proportions.

    A stretch that opens only some of the options is left out if it would get less than one epoch. All other stretches
    get one epoch or more, even if that exceeds `passes`.

    Args:
        stretches: the stretches of the schedule that are trained.
        passes: passes of one network over the data in all; an epoch of a stretch takes its `num_passes`.

    Returns:
        The stretches that are left, each with its number of epochs.
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
    """Whether a stretch opens options; one for only some options is left out if the choices have no more than these."""
    most = max((choice.num_options for choice in choices), default=1)
    return most > (1 if options is None else options)


def _largest(choice: Choice, num: int | None) -> Sequence[Option]:
    return sorted(choice.options, reverse=True)[:num]


def _sorting(opened: Mapping[str, Sequence[Option]]) -> Callable[[Any], None]:
    """Return a function that sorts a supernet's channels by importance if it can; open channels stay in front."""

    def enter(supernet: Supernet) -> None:
        if supernet.conversion is not None:
            supernet.conversion.sorting.sort(supernet.module, opened)
        elif callable(sort := getattr(supernet.module, "sort_channels", None)):
            sort(opened)

    return enter


ofa = function_of(Ofa, "Every evaluated architecture, with the best; see `Found`.")
