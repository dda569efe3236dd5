"""Accuracy by a small network that has learned from a few hundred inherited accuracies of one supernet.

Source: Cai et al., "Once-for-All" (arXiv 1908.09791), section 3.4 and the released code: options of active choices as
one-hot vectors, zeros where a choice is not active; three hidden layers of 400 rectified units; the mean accuracy is
added to what the network gives. Differs from it: hundreds of pairs, not 16,000, so that five networks are trained, each
without a fifth of the pairs, and their mean predicts; what each says of its own fifth gives the error that is stated.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError
from onepath.randomness import generator
from onepath.rank_correlation import rank_correlation

if TYPE_CHECKING:
    from onepath.space import Architecture, SearchSpace

Floats = npt.NDArray[np.float64]
FEWEST_PAIRS = 10
_HIDDEN, _NUM_FOLDS = (400, 400, 400), 5
_EPOCHS, _BATCH, _RATE, _DECAY = 30, 32, 1e-3, 1e-2
_TRIES = 4  # rows drawn for each that is wanted, as some are equal


@dataclass(frozen=True, eq=False)
class AccuracyPredictor:
    """Accuracy of the architectures of a space.

    Attributes:
        space: of the architectures.
        networks: one for each fold of the pairs; each says how far an architecture is from `base`.
        base: mean accuracy of the pairs.
        rows: (num, num_choices) architectures of the pairs.
        accuracies: (num,) of the pairs, in [0, 1].
        held_out: (num,) what the network that did not see a pair says of it.
    """

    space: SearchSpace
    networks: tuple[Perceptron, ...]
    base: float
    rows: npt.NDArray[Any]
    accuracies: Floats
    held_out: Floats

    @classmethod
    def fit(
        cls, architectures: Sequence[Architecture], accuracies: Sequence[float], *, seed: int = 0
    ) -> AccuracyPredictor:
        """Learn from pairs, in one thread.

        Args:
            architectures: distinct, of one space.
            accuracies: of each, in [0, 1].
            seed: of the folds, the initial weights and the batches.

        Raises:
            ConfigurationError: fewer than ten pairs, or not one accuracy for each architecture.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.model_selection import KFold
        from sklearn.neural_network import MLPRegressor

        if len(architectures) < FEWEST_PAIRS or len(architectures) != len(accuracies):
            raise ConfigurationError(
                f"an accuracy predictor needs {FEWEST_PAIRS} or more architectures with one accuracy each, but got "
                f"{len(architectures)} and {len(accuracies)}; evaluate more"
            )
        space = architectures[0].space
        rows = space.matrix(architectures)
        inputs = space.one_hot(rows)
        targets = np.asarray(accuracies, dtype=np.float64)
        base, scale = float(targets.mean()), float(targets.std()) or 1.0
        rng = generator(seed, "accuracy predictor")
        networks, held_out = [], np.zeros_like(targets)
        folds = KFold(_NUM_FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
        for learned, left in folds.split(inputs):
            network = MLPRegressor(
                hidden_layer_sizes=_HIDDEN,
                alpha=_DECAY,
                batch_size=min(_BATCH, len(learned)),
                learning_rate_init=_RATE,
                max_iter=_EPOCHS,
                random_state=int(rng.integers(2**31)),
            )
            with _one_thread(), warnings.catch_warnings():  # to stop at the last epoch is no failure
                warnings.simplefilter("ignore", ConvergenceWarning)
                network.fit(inputs[learned], (targets[learned] - base) / scale)
            networks.append(Perceptron(tuple(zip(network.coefs_, network.intercepts_, strict=True)), scale))
            held_out[left] = base + networks[-1](inputs[left])
        return cls(space, tuple(networks), base, rows, targets, held_out)

    def __call__(self, matrix: npt.NDArray[Any]) -> Floats:
        """Predicted accuracies (rows,) of a matrix of architectures."""
        inputs = self.space.one_hot(matrix)
        with _one_thread():
            found: Floats = self.base + np.mean([network(inputs) for network in self.networks], axis=0)
        return found

    @property
    def error(self) -> float:
        """Mean absolute error on pairs that the predicting network had not seen."""
        return float(np.abs(self.held_out - self.accuracies).mean())

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b between accuracies and what was predicted unseen; None where either does not vary."""
        return rank_correlation(self.held_out.tolist(), self.accuracies.tolist()).kendall_tau


@dataclass(frozen=True, eq=False)
class Perceptron:
    """Layers of rectified units and a linear one.

    Attributes:
        layers: (weight (in, out), bias (out,)) of each.
        scale: what the output is multiplied by.
    """

    layers: tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], ...]
    scale: float

    def __call__(self, inputs: npt.NDArray[np.float32]) -> Floats:
        """(rows,) outputs of (rows, features)."""
        x: npt.NDArray[Any] = inputs
        for weight, bias in self.layers[:-1]:
            x = np.maximum(x @ weight + bias, 0)
        weight, bias = self.layers[-1]
        return np.asarray((x @ weight + bias)[:, 0] * self.scale, dtype=np.float64)


def _one_thread() -> AbstractContextManager[Any]:
    """Sums are then taken in one order; and a second thread is not worth its start for a hundred rows."""
    found: AbstractContextManager[Any] = _pools().limit(limits=1)
    return found


@cache
def _pools() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def spread(space: SearchSpace, num: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Distinct architectures from the smallest to the largest, up to `num`, as a matrix.

    Each has a size of its own, uniform in [0, 1], by which each of its ordered choices is drawn: an option's place
    among the others by size is binomial. So the ends, which limits ask for, are covered as well as the middle, where
    nearly all architectures of independent choices are. Choices without an order are uniform.
    """
    sizes = rng.random((_TRIES * num, 1))
    rows = space.sample(len(sizes), rng)
    for column, choice in enumerate(space.choices):
        if choice.is_ordered:
            by_size = np.argsort(np.asarray(choice.options, dtype=np.float64), kind="stable")
            rows[:, column] = by_size[rng.binomial(choice.num_options - 1, sizes[:, 0])]
    rows = space.canonical(rows)
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)][:num]
