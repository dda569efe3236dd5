"""Gradient-boosted trees: fitted by scikit-learn, kept and evaluated as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.latency.predictor.features import Floats, is_finite

MAX_TREES = 300
DEPTH = 2
LEARNING_RATE = 0.05
SHARE_OF_PAIRS = 0.5
NUM_FOLDS = 5
_ROWS_AT_ONCE = 2048
_MOST_DEPTH = 100


@dataclass(frozen=True, eq=False)
class Trees:
    """Boosted trees: `latency_ms = start_ms + the sum of one leaf of each tree`.

    Each array holds one property of the nodes of all trees. An inner node sends an architecture to `left` if its
    feature is at most the threshold, else to `right`; a leaf points at itself.

    Attributes:
        roots: (num_trees,) index of the root node of each tree.
        left, right, feature: (num_nodes,) integers: the nodes below, and the column of the feature.
        threshold: (num_nodes,) in the unit of the feature.
        value_ms: (num_nodes,) what a leaf adds to the latency, with the learning rate applied.
        start_ms: constant part of the latency.
        depth: depth of the deepest tree.
    """

    roots: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: Floats
    value_ms: Floats
    start_ms: float
    depth: int

    @classmethod
    def fit(cls, inputs: Floats, latencies_ms: Floats, rng: np.random.Generator) -> Trees:
        """Fit trees of depth 2; cross-validation chooses their number.

        The number with the least squared error in 5-fold cross-validation is taken, at most 300.

        Args:
            inputs: (num, num_features) features.
            latencies_ms: (num,) measured latencies.
            rng: draws the folds and the half of the pairs that each tree sees.
        """
        from sklearn.model_selection import KFold

        seed = int(rng.integers(2**31))
        errors = np.zeros(MAX_TREES)
        folds = KFold(min(NUM_FOLDS, len(inputs)), shuffle=True, random_state=seed)
        for kept, held in folds.split(inputs):
            model = _boosting(MAX_TREES, len(kept), seed).fit(inputs[kept], latencies_ms[kept])
            for number, predicted in enumerate(model.staged_predict(inputs[held])):
                errors[number] += float(((predicted - latencies_ms[held]) ** 2).sum())
        model = _boosting(int(errors.argmin()) + 1, len(inputs), seed).fit(inputs, latencies_ms)
        return cls._of(model)

    @classmethod
    def _of(cls, model: Any) -> Trees:
        trees = [estimators[0].tree_ for estimators in model.estimators_]
        sizes = [tree.node_count for tree in trees]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        own = np.arange(sum(sizes))
        shifts = np.repeat(roots, sizes)
        is_leaf = np.concatenate([tree.children_left for tree in trees]) < 0

        def children(name: str) -> npt.NDArray[np.int64]:
            nodes = np.concatenate([getattr(tree, name) for tree in trees])
            return np.where(is_leaf, own, nodes + shifts).astype(np.int64)

        return cls(
            roots,
            children("children_left"),
            children("children_right"),
            np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int64),
            np.concatenate([tree.threshold for tree in trees]).astype(np.float64),
            np.concatenate([tree.value[:, 0, 0] for tree in trees]) * model.learning_rate,
            float(np.ravel(model.init_.constant_)[0]),
            max(tree.max_depth for tree in trees),
        )

    def predict(self, inputs: Floats) -> Floats:
        """Return (num,) latencies in ms for (num, num_features) inputs."""
        result = np.empty(len(inputs))
        for start in range(0, len(inputs), _ROWS_AT_ONCE):
            # scikit-learn compares in single precision, and its thresholds are meant for that.
            rows = inputs[start : start + _ROWS_AT_ONCE].astype(np.float32)
            nodes = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
            row = np.arange(len(rows))[:, None]
            for _ in range(self.depth):
                goes_left = rows[row, self.feature[nodes]] <= self.threshold[nodes]
                nodes = np.where(goes_left, self.left[nodes], self.right[nodes])
            result[start : start + len(rows)] = self.start_ms + self.value_ms[nodes].sum(axis=1)
        return result

    def tensors(self) -> dict[str, Any]:
        """Return the numbers of the trees as arrays, by name, for a file."""
        names = ("roots", "left", "right", "feature", "threshold", "value_ms")
        arrays: dict[str, Any] = {name: getattr(self, name) for name in names}
        return {**arrays, "start_ms": np.array([self.start_ms]), "depth": np.array([self.depth])}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Trees:
        """Return the trees that `tensors` describes.

        Raises:
            KeyError: an array is absent.
        """
        names = ("roots", "left", "right", "feature", "threshold", "value_ms")
        arrays = {name: tensors[name] for name in names}
        return cls(**arrays, start_ms=float(tensors["start_ms"][0]), depth=int(tensors["depth"][0]))

    def flaw(self, num_features: int) -> str | None:
        """Return why trees from a file cannot predict from this many features; None if they can."""
        nodes = (len(self.value_ms),) if self.value_ms.ndim == 1 else (0,)
        for name, most in (("left", nodes[0]), ("right", nodes[0]), ("feature", num_features)):
            if not _is_index(getattr(self, name), nodes, most):
                return f"{name} must be {nodes[0]} whole numbers from 0 to {most - 1}"
        if not _is_index(self.roots, (len(self.roots),) if self.roots.ndim == 1 else (0,), nodes[0]):
            return f"roots must be whole numbers from 0 to {nodes[0] - 1}"
        if not (is_finite(self.threshold, nodes) and is_finite(self.value_ms, nodes)):
            return "threshold and value_ms must be finite numbers, one for each node"
        if not 0 <= self.depth <= _MOST_DEPTH:
            return f"depth must be from 0 to {_MOST_DEPTH}"
        return None if is_finite(np.array([self.start_ms]), (1,)) else "start_ms must be finite"

    def details(self) -> dict[str, Any]:
        """Return what a report says about the fit: "num_trees"."""
        return {"num_trees": len(self.roots)}


def _is_index(values: npt.NDArray[Any], shape: tuple[int, ...], most: int) -> bool:
    return (
        values.dtype.kind == "i"
        and values.shape == shape
        and (not values.size or bool(values.min() >= 0 and values.max() < most))
    )


def _boosting(num_trees: int, num_pairs: int, seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(
        n_estimators=num_trees,
        max_depth=DEPTH,
        learning_rate=LEARNING_RATE,
        subsample=SHARE_OF_PAIRS,
        min_samples_leaf=max(1, min(20, num_pairs // 50)),
        random_state=seed,
    )
