"""The multilayer perceptron of HAT.

Source: Wang et al., ACL 2020, arXiv 2005.14187, section 3.2 and the released code: 10 features, four hidden layers of
400 rectified units, squared error, Adam at 1e-5 for 5,000 steps of 128 pairs drawn without repetition.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onepath.latency.predictor.features import Floats, is_finite


@dataclass(frozen=True)
class MlpRecipe:
    """How the perceptron is built and trained.

    Attributes:
        num_hidden: number of hidden layers.
        width: number of units in each hidden layer.
        num_steps: number of updates by Adam.
        batch: number of pairs in one update; all pairs if there are fewer.
        learning_rate: learning rate of Adam, constant.
    """

    num_hidden: int = 4
    width: int = 400
    num_steps: int = 5000
    batch: int = 128
    learning_rate: float = 1e-5


@dataclass(frozen=True, eq=False)
class Mlp:
    """A multilayer perceptron that predicts latency from normed features.

    Attributes:
        layers: (weight (out, in), bias (out,)) of each linear layer, float32.
        feature_norms: (num_features,) numbers that the features are divided by.
        latency_norm_ms: number that the latencies are divided by, in ms.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    feature_norms: Floats
    latency_norm_ms: float

    @classmethod
    def fit(
        cls,
        inputs: Floats,
        latencies_ms: Floats,
        rng: np.random.Generator,
        *,
        feature_norms: Floats | None = None,
        latency_norm_ms: float | None = None,
        recipe: MlpRecipe | None = None,
    ) -> Mlp:
        """Train a perceptron on the CPU in one thread; the same generator state gives the same weights.

        Args:
            inputs: (num, num_features) features.
            latencies_ms: (num,) measured latencies.
            rng: draws the initial weights (uniform, as torch's linear layers have them) and the batches.
            feature_norms: (num_features,) numbers to divide the features by; None: the largest magnitude of each
                feature.
            latency_norm_ms: number to divide the latencies by; None: the mean latency.
            recipe: how the perceptron is built and trained; None: HAT's recipe.
        """
        recipe = recipe or MlpRecipe()
        if feature_norms is None:
            largest = np.abs(inputs).max(axis=0)
            feature_norms = np.where(largest > 0, largest, 1.0)
        norm_ms = float(latencies_ms.mean()) if latency_norm_ms is None else latency_norm_ms
        sizes = [inputs.shape[1], *[recipe.width] * recipe.num_hidden, 1]
        layers = tuple(_layer(*pair, rng) for pair in itertools.pairwise(sizes))
        model = cls(layers, feature_norms, norm_ms)
        parameters = [tensor.requires_grad_() for layer in layers for tensor in layer]
        optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate)
        x = model._normed(inputs)
        y = torch.from_numpy((latencies_ms / norm_ms).astype(np.float32))
        batch = min(recipe.batch, len(inputs))
        with _one_thread():
            for _ in range(recipe.num_steps):
                rows = torch.from_numpy(rng.choice(len(inputs), batch, replace=False))
                loss = functional.mse_loss(model._forward(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        for tensor in parameters:
            tensor.requires_grad_(False)
        return model

    def predict(self, inputs: Floats) -> Floats:
        """Return (num,) latencies in ms for (num, num_features) inputs."""
        with torch.no_grad():
            outputs = self._forward(self._normed(inputs)).numpy()
        return np.asarray(outputs.astype(np.float64) * self.latency_norm_ms)

    def _normed(self, inputs: Floats) -> Tensor:
        return torch.from_numpy((inputs / self.feature_norms).astype(np.float32))

    def _forward(self, x: Tensor) -> Tensor:
        for weight, bias in self.layers[:-1]:
            x = functional.linear(x, weight, bias).relu()
        return functional.linear(x, *self.layers[-1])[:, 0]

    def tensors(self) -> dict[str, Any]:
        """Return the numbers of the perceptron as arrays, by name, for a file."""
        arrays: dict[str, Any] = {
            f"layers.{index}.{name}": tensor.numpy()
            for index, layer in enumerate(self.layers)
            for name, tensor in zip(("weight", "bias"), layer, strict=True)
        }
        return {
            **arrays,
            "feature_norms": self.feature_norms,
            "latency_norm_ms": np.array([self.latency_norm_ms]),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Mlp:
        """Return the perceptron that `tensors` describes.

        Raises:
            KeyError: an array is absent.
        """
        num = sum(name.endswith(".weight") for name in tensors)
        layers = tuple(
            (
                torch.from_numpy(tensors[f"layers.{index}.weight"]),
                torch.from_numpy(tensors[f"layers.{index}.bias"]),
            )
            for index in range(num)
        )
        return cls(layers, tensors["feature_norms"], float(tensors["latency_norm_ms"][0]))

    def flaw(self, num_features: int) -> str | None:
        """Return why a perceptron from a file cannot predict from this many features; None if it can."""
        sizes = [num_features, *[len(weight) for weight, _ in self.layers]]
        fits = [
            weight.ndim == 2 and weight.shape[1] == size and bias.shape == weight.shape[:1]
            for (weight, bias), size in zip(self.layers, sizes, strict=False)
        ]
        if not self.layers or not all(fits) or sizes[-1] != 1:
            return "its layers do not fit together"
        if any(
            tensor.dtype != torch.float32 or not bool(tensor.isfinite().all())
            for layer in self.layers
            for tensor in layer
        ):
            return "weights must be finite float32"
        if not (is_finite(self.feature_norms, (num_features,)) and (self.feature_norms != 0).all()):
            return "feature_norms must be one finite number other than 0 for each feature"
        return (
            None if 0 < self.latency_norm_ms < float("inf") else "latency_norm_ms must be finite and over 0"
        )

    def details(self) -> dict[str, Any]:
        """Return what a report says about the fit: "widths", the inputs of each layer and 1, and "latency_norm_ms"."""
        widths = [int(weight.shape[1]) for weight, _ in self.layers] + [1]
        return {"widths": widths, "latency_norm_ms": self.latency_norm_ms}


def _layer(num_in: int, num_out: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    bound = num_in**-0.5
    weight = rng.uniform(-bound, bound, (num_out, num_in)).astype(np.float32)
    return torch.from_numpy(weight), torch.from_numpy(rng.uniform(-bound, bound, num_out).astype(np.float32))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Inside the context, torch uses one thread, so that sums are taken in one order on every machine of a kind."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
