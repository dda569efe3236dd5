"""An accuracy predictor: a small network trained on a few hundred inherited accuracies of one supernet.

Source: Cai et al., "Once-for-All" (arXiv 1908.09791), section 3.4 and the released code: options of active choices as
one-hot vectors, zeros where a choice is not active; three hidden layers of 400 rectified units; the mean accuracy is
added to the output of the network. Differs from it: there are hundreds of pairs, not 16,000. Therefore five networks
are trained, each without a different fifth of the pairs, and the prediction is their mean. The error compares the
accuracies of each fifth with the predictions of the network that was trained without it.
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
_TRIES = 4  # rows drawn for each row that is wanted, because some are equal


@dataclass(frozen=True, eq=False)
class AccuracyPredictor:
    """A predictor of the accuracy of any architecture of a space.

    A pair is an architecture and its accuracy, from which the predictor learned.

    Attributes:
        space: search space of the architectures.
        networks: one network for each fold of the pairs; each predicts the difference between an accuracy and `base`.
        base: mean accuracy of the pairs.
        rows: (num_pairs, num_choices) architectures of the pairs, as option indices.
        accuracies: (num_pairs,) accuracies of the pairs, in [0, 1].
        held_out: (num_pairs,) accuracies predicted by the network that was trained without the pair.
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
        """Train a predictor on architectures and their accuracies, in one thread.

        Args:
            architectures: ten or more distinct architectures of one space.
            accuracies: accuracy of each architecture, in [0, 1].
            seed: seed of the folds, the initial weights and the batches.

        Raises:
            ConfigurationError: there are fewer than ten architectures, or the two lengths differ.
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
            with _one_thread(), warnings.catch_warnings():  # stopping at the last epoch is intended
                warnings.simplefilter("ignore", ConvergenceWarning)
                network.fit(inputs[learned], (targets[learned] - base) / scale)
            networks.append(Perceptron(tuple(zip(network.coefs_, network.intercepts_, strict=True)), scale))
            held_out[left] = base + networks[-1](inputs[left])
        return cls(space, tuple(networks), base, rows, targets, held_out)

    def __call__(self, matrix: npt.NDArray[Any]) -> Floats:
        """Predict accuracies, (rows,) in the unit of the pairs, of a matrix (rows, num_choices) of architectures."""
        inputs = self.space.one_hot(matrix)
        with _one_thread():
            found: Floats = self.base + np.mean([network(inputs) for network in self.networks], axis=0)
        return found

    @property
    def error(self) -> float:
        """Mean absolute error on the pairs, each predicted by the network that was trained without it."""
        return float(np.abs(self.held_out - self.accuracies).mean())

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b between `accuracies` and `held_out`; None where one of them is constant."""
        return rank_correlation(self.held_out.tolist(), self.accuracies.tolist()).kendall_tau


@dataclass(frozen=True, eq=False)
class Perceptron:
    """A multilayer perceptron: layers of rectified units, then a linear layer with one output.

    Attributes:
        layers: weight (in, out) and bias (out,) of each layer.
        scale: factor that multiplies the output.
    """

    layers: tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], ...]
    scale: float

    def __call__(self, inputs: npt.NDArray[np.float32]) -> Floats:
        """Return the outputs (rows,) for inputs (rows, features)."""
        x: npt.NDArray[Any] = inputs
        for weight, bias in self.layers[:-1]:
            x = np.maximum(x @ weight + bias, 0)
        weight, bias = self.layers[-1]
        return np.asarray((x @ weight + bias)[:, 0] * self.scale, dtype=np.float64)


def _one_thread() -> AbstractContextManager[Any]:
    """Return a context that limits numerical libraries to one thread.

    Sums are then always taken in the same order. For a hundred rows, a second thread costs more than it saves.
    """
    found: AbstractContextManager[Any] = _pools().limit(limits=1)
    return found


@cache
def _pools() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def spread(space: SearchSpace, num: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Draw distinct architectures that cover all sizes, from the smallest to the largest.

    Each architecture first draws a size, uniform in [0, 1]. Each ordered choice then draws an option whose position in
    ascending order is binomial with that size as its probability. So very small and very large architectures, which
    searches under limits ask for, are covered as well as those of middle size. If all choices were drawn independently,
    nearly all architectures would be of middle size. Choices without an order are drawn uniformly.

    Args:
        space: search space of the architectures.
        num: largest number of architectures; fewer are returned where not enough distinct ones were drawn.
        rng: source of the draws.

    Returns:
        (rows, num_choices) matrix of option indices, canonical, with at most `num` rows.
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
