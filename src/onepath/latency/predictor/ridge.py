"""Ridge regression: latency as a weighted sum of the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onepath.latency.predictor.features import Floats

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-8, 4, 25))


@dataclass(frozen=True, eq=False)
class Ridge:
    """`latency_ms = intercept_ms + features @ weights_ms`.

    Attributes:
        weights_ms: (num_features,), ms per unit of the feature.
        intercept_ms: latency where all features are 0.
        alpha: weight of the penalty on the standardised features.
    """

    weights_ms: Floats
    intercept_ms: float
    alpha: float

    @classmethod
    def fit(cls, inputs: Floats, latencies_ms: Floats) -> Ridge:
        """Fit to standardised features; the penalty is the one of least squared leave-one-out error.

        Args:
            inputs: (num, num_features). A feature that does not vary has no weight.
            latencies_ms: (num,).
        """
        from sklearn.linear_model import RidgeCV

        center, scale = inputs.mean(axis=0), inputs.std(axis=0)
        is_varied = scale > 1e-12 * np.maximum(np.abs(center), 1.0)
        scaled = (inputs - center)[:, is_varied] / scale[is_varied]
        weights = np.zeros(inputs.shape[1])
        mean_ms = float(latencies_ms.mean())
        if not is_varied.any():
            return cls(weights, mean_ms, ALPHAS[0])
        search = RidgeCV(alphas=ALPHAS, gcv_mode="svd").fit(scaled, latencies_ms)
        weights[is_varied] = search.coef_ / scale[is_varied]
        intercept_ms = float(search.intercept_ - (weights * center).sum())
        return cls(weights, intercept_ms, float(search.alpha_))

    def predict(self, inputs: Floats) -> Floats:
        """(num,) ms."""
        return np.asarray(inputs @ self.weights_ms + self.intercept_ms, dtype=np.float64)

    def tensors(self) -> dict[str, Any]:
        """Its numbers as arrays."""
        return {
            "weights_ms": self.weights_ms,
            "intercept_ms": np.array([self.intercept_ms]),
            "alpha": np.array([self.alpha]),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Ridge:
        """The regression that `tensors` describes; KeyError where one is absent."""
        return cls(tensors["weights_ms"], float(tensors["intercept_ms"][0]), float(tensors["alpha"][0]))

    def details(self) -> dict[str, Any]:
        """What the report says of the fit."""
        return {"alpha": self.alpha}
