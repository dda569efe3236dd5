"""Untrained networks of a space: their scores, each stored as soon as it is computed, and their costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from onepath import estimate
from onepath.cost import Constraint, counter
from onepath.cost.architecture import name_uncounted
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.estimate import Score, score_definition
from onepath.methods import feasible_set
from onepath.nn import Supernet
from onepath.record import EstimateStore
from onepath.runs import Progress
from onepath.search import FeasibleSet
from onepath.space import Architecture


@dataclass(frozen=True)
class UntrainedSpace:
    """A space whose stand-alone networks are scored with fresh weights, on one batch.

    Attributes:
        supernet: builds the network of an architecture; its weights are not used.
        input_shape: shape of one example, without the batch dimension.
        data: data that give the batch; None is enough for scores that read no real data.
        batch_size: number of examples in the batch.
        seed: seed of the fresh weights, the batch and the scores.
        device: device to compute on, for example "cpu" or "cuda".
    """

    supernet: Supernet
    input_shape: tuple[int, ...]
    data: Task | None = None
    batch_size: int = 64
    seed: int = 0
    device: str = "cpu"

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor | None]:
        """The batch: training examples and their labels, or noise and None if there are no data."""
        if self.data is None:
            rng = torch.Generator().manual_seed(self.seed)
            return torch.randn(self.batch_size, *self.input_shape, generator=rng).to(self.device), None
        size = self.batch_size
        inputs, targets = next(iter(self.data.batches("train", size, num_examples=size, seed=self.seed)))
        return inputs.to(self.device), targets.to(self.device)

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ConfigurationError if one of these scores does not exist, or reads data and there are none."""
        reading = [name for name in names if {"inputs", "labels"} & set(score_definition(name).needs)]
        if reading and self.data is None:
            raise ConfigurationError(f"{reading[0]} reads real examples, but none came; give --data")

    @property
    def source(self) -> str:
        """Description of the batch, for example "64 random inputs"."""
        what = "random inputs" if self.data is None else f"training images of {self.data.name}"
        return f"{len(self.batch[0])} {what}"

    def feasible(self, limits: Sequence[Constraint]) -> FeasibleSet:
        """Return the set of architectures that meet the limits."""
        return feasible_set(self.supernet, self.input_shape, limits)

    def costs(
        self, architectures: Sequence[Architecture], say: Callable[[str], None]
    ) -> dict[str, list[float]]:
        """Count the MACs and the parameters of each architecture.

        Args:
            architectures: architectures of the space.
            say: called with a sentence if the MACs leave out operations that have no counter.

        Returns:
            "macs" and "params" -> one number for each architecture.
        """

        def tell(uncounted: Mapping[str, str]) -> None:
            say(f"MACs leave out what has no counter: {name_uncounted(uncounted)}")

        matrix = self.supernet.space.matrix(architectures)
        return {
            name: counter(self.supernet, self.input_shape, name, on_uncounted=tell)[0](matrix).tolist()
            for name in ("macs", "params")
        }

    def scores(
        self,
        names: Sequence[str],
        architectures: Sequence[Architecture],
        path: Path,
        progress: Progress,
        *,
        gives_reasons: bool = False,
    ) -> list[dict[str, Score]]:
        """Compute the scores of each architecture, all scores of one network together.

        Args:
            names: names of the scores.
            architectures: architectures to score.
            path: path of the SQLite file of scores. A score in the file is not computed again; its `seconds` are 0.
            progress: shows the progress.
            gives_reasons: True scores networks that are stored as degenerate again, because their reasons are not
                stored.

        Returns:
            Name of a score -> the score, for each architecture.

        Raises:
            RunDirectoryError: the file cannot be read or written.
        """
        rows: list[dict[str, Score]] = []
        num_degenerate = 0
        with EstimateStore(path) as store:
            known = {name: store.read(f"{self._setting}, {name}") for name in names}
            progress.begin("scoring", len(architectures))
            try:
                for architecture in architectures:
                    text = str(architecture)
                    row = {name: _stored(known[name][text]["score"]) for name in names if text in known[name]}
                    missing = [n for n in names if n not in row or (gives_reasons and row[n].is_degenerate)]
                    if missing:
                        new = self._score(missing, architecture)
                        for name, score in new.items():
                            store.put(f"{self._setting}, {name}", text, {"score": score.value}, score.seconds)
                        row |= new
                    rows.append({name: row[name] for name in names})
                    num_degenerate += any(score.is_degenerate for score in row.values())
                    progress.advance(len(rows), f"{num_degenerate} degenerate" if num_degenerate else "")
            finally:
                progress.finish()
        return rows

    def _score(self, names: Sequence[str], architecture: Architecture) -> dict[str, Score]:
        model = self.supernet.extract(architecture, inherit=False, seed=self.seed).to(self.device)
        loss = None if self.data is None else self.data.loss
        return estimate.scores(names, model, *self.batch, seed=self.seed, loss=loss)

    @cached_property
    def _setting(self) -> str:
        """Text that names everything that a stored score depends on, except for the architecture and the score."""
        num = sum(parameter.numel() for parameter in self.supernet.parameters())
        data = self.data.fingerprint if self.data else "noise"
        return (
            f"{self.supernet.space.fingerprint} {num} {'x'.join(map(str, self.input_shape))}, batch "
            f"{self.batch_size} of {data}, seed {self.seed}"
        )


def _stored(value: float | None) -> Score:
    return Score(-math.inf, "stored as degenerate", 0.0) if value is None else Score(value, None, 0.0)
