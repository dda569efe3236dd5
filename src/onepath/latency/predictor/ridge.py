"""Ridge regression: latency as a weighted sum of the features, and of products of two features where they help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.latency.predictor.features import Floats, is_finite

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-8, 4, 25))
LEAST_GAIN = 0.01
"""Products are used if they lower the leave-one-out error by this share or more; a smaller gain is mostly noise."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression: `latency_ms = intercept_ms + features @ weights_ms`; products count as further features.

    Attributes:
        weights_ms: (num_features + num_products,), ms per unit of the feature.
        intercept_ms: latency if all features are 0.
        alpha: weight of the penalty on the standardised features.
        products: (num_products, 2) columns of the features that are multiplied.
    """

    weights_ms: Floats
    intercept_ms: float
    alpha: float
    products: npt.NDArray[np.int64]

    @classmethod
    def fit(cls, inputs: Floats, latencies_ms: Floats, products: Sequence[tuple[int, int]] = ()) -> Ridge:
        """Fit to standardised features; the penalty is the one with the least squared leave-one-out error.

        Args:
            inputs: (num, num_features) features. A feature that does not vary gets weight 0.
            latencies_ms: (num,) measured latencies.
            products: pairs of columns. All their products are used if that lowers the root mean square leave-one-out
                error by 1 % or more; otherwise none is.
        """
        none = np.zeros((0, 2), dtype=np.int64)
        plain, plain_error = _fit(inputs, latencies_ms, none)
        if not len(products):
            return plain
        extended, error = _fit(inputs, latencies_ms, np.array(products, dtype=np.int64))
        return extended if error <= (1 - LEAST_GAIN) * plain_error else plain

    def predict(self, inputs: Floats) -> Floats:
        """Return (num,) latencies in ms for (num, num_features) inputs."""
        return np.asarray(_extended(inputs, self.products) @ self.weights_ms + self.intercept_ms)

    def tensors(self) -> dict[str, Any]:
        """Return the numbers of the regression as arrays, by name, for a file."""
        return {
            "weights_ms": self.weights_ms,
            "intercept_ms": np.array([self.intercept_ms]),
            "alpha": np.array([self.alpha]),
            "products": self.products,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Ridge:
        """Return the regression that `tensors` describes.

        Raises:
            KeyError: an array is absent.
        """
        intercept_ms, alpha = float(tensors["intercept_ms"][0]), float(tensors["alpha"][0])
        return cls(tensors["weights_ms"], intercept_ms, alpha, tensors["products"])

    def flaw(self, num_features: int) -> str | None:
        """Return why a regression from a file cannot predict from this many features; None if it can."""
        products = self.products
        if products.dtype.kind != "i" or products.ndim != 2 or products.shape[1] != 2:
            return "products must be pairs of columns"
        if products.size and not (products.min() >= 0 and products.max() < num_features):
            return f"products must be of columns under {num_features}"
        if not is_finite(self.weights_ms, (num_features + len(products),)):
            return f"weights_ms must be {num_features + len(products)} finite numbers"
        return (
            None
            if is_finite(np.array([self.intercept_ms, self.alpha]), (2,))
            else "intercept_ms must be finite"
        )

    def details(self) -> dict[str, Any]:
        """Return what a report says about the fit: "alpha" and "num_products"."""
        return {"alpha": self.alpha, "num_products": len(self.products)}


def _extended(inputs: Floats, products: npt.NDArray[np.int64]) -> Floats:
    return np.concatenate([inputs, inputs[:, products[:, 0]] * inputs[:, products[:, 1]]], axis=1)


def _fit(inputs: Floats, latencies_ms: Floats, products: npt.NDArray[np.int64]) -> tuple[Ridge, float]:
    """Return the regression and its root mean square leave-one-out error in ms."""
    from sklearn.linear_model import RidgeCV

    features = _extended(inputs, products)
    center, scale = features.mean(axis=0), features.std(axis=0)
    is_varied = scale > 1e-12 * np.maximum(np.abs(center), 1.0)
    weights = np.zeros(features.shape[1])
    if not is_varied.any():
        return Ridge(weights, float(latencies_ms.mean()), ALPHAS[0], products), float(latencies_ms.std())
    scaled = (features - center)[:, is_varied] / scale[is_varied]
    search = RidgeCV(alphas=ALPHAS, gcv_mode="svd").fit(scaled, latencies_ms)
    weights[is_varied] = search.coef_ / scale[is_varied]
    intercept_ms = float(search.intercept_ - (weights * center).sum())
    error = float(np.sqrt(max(-search.best_score_, 0.0)))
    return Ridge(weights, intercept_ms, float(search.alpha_), products), error
