"""Latency predicted from whole networks: three models are fitted to one split, and the best is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.counting import CostTable
from onepath.errors import ConfigurationError, DataError
from onepath.latency.checked_files import check_file, check_nodes, not_as_written, parse_json
from onepath.latency.device import Device
from onepath.latency.device_errors import one_line
from onepath.latency.keys import structure_digest
from onepath.latency.predictor.comparison import bound_95_ms, errors
from onepath.latency.predictor.features import Features, Floats
from onepath.latency.predictor.mlp import Mlp, MlpRecipe
from onepath.latency.predictor.nodes import FORMAT, PredictorNode
from onepath.latency.predictor.pairs import LatencyPairs, space_title
from onepath.latency.predictor.read_features import features_from_data
from onepath.latency.predictor.ridge import Ridge
from onepath.latency.predictor.trees import Trees
from onepath.nn import Supernet
from onepath.randomness import generator
from onepath.record import atomic_write_bytes
from onepath.space import SearchSpace

MIN_PAIRS = 20
_SAME_PREDICTION = 1e-3  # relative; another machine rounds a perceptron's float32 differently
Model = Mlp | Ridge | Trees
_KINDS: Mapping[str, type[Model]] = {"mlp": Mlp, "ridge": Ridge, "trees": Trees}
_WHAT = "a latency predictor"
_KEY = "onepath"


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of pairs: to fit the models (`train`), to choose one (`validation`), and to report its error (`test`)."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]

    @classmethod
    def of_order(cls, order: Sequence[int] | npt.NDArray[np.int64]) -> Split:
        """Return the split that HAT uses: the first 80 % of an order of the rows, the next 10 %, and the rest."""
        order = np.asarray(order, dtype=np.int64)
        first, second = int(0.8 * len(order)), int(0.8 * len(order)) + int(0.1 * len(order))
        return cls(order[:first], order[first:second], order[second:])


class NetworkPredictor:
    """Predicts the latency of the architectures of one space on one device.

    Made by `fit_predictor` or `load`.

    Attributes:
        space_name: name of the space it was fitted to.
        space_fingerprint: fingerprint of that space.
        device: settings of the device, "name" among them.
        input_shape: shape of one example, without the batch; None if it is not known.
        features: the features that the model uses.
        model: the model with the least error on the validation pairs.
        winner: kind of that model: "mlp", "ridge" or "trees".
        comparison: figures of all models, the test pairs and the settings, as `write_report` writes them.
    """

    def __init__(self, model: Model, features: Features, comparison: Mapping[str, Any]) -> None:
        self.model = model
        self.features = features
        self.comparison = dict(comparison)
        self.winner: str = comparison["winner"]
        self.space_name: str = comparison["space"]["name"]
        self.space_fingerprint: str = comparison["space"]["fingerprint"]
        self.device: dict[str, Any] = dict(comparison["device"])
        shape = comparison["input_shape"]
        self.input_shape: tuple[int, ...] | None = None if shape is None else tuple(shape)

    @property
    def error_ms_95(self) -> float:
        """Bound in ms on the absolute error of 95 % of fresh networks, from the test pairs; see `bound_95_ms`."""
        return float(self.comparison["error_ms_95"])

    @cached_property
    def table(self) -> CostTable | None:
        """The same predictions as an additive table in ms; None if they are not additive.

        They are additive if ridge regression on an encoding won and uses no products.
        """
        if not isinstance(self.model, Ridge) or len(self.model.products):
            return None
        return self.features.additive_table(self.model.weights_ms, self.model.intercept_ms)

    def predict(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> Floats:
        """Return (rows,) latencies in ms of the architectures in the rows of `matrix`.

        Args:
            space: space of the architectures.
            matrix: (rows, num_choices) option indices.

        Raises:
            ConfigurationError: the predictor is of another space.
            DataError: the model gives a latency that is not finite.
        """
        self._check_space(space)
        with np.errstate(over="ignore", invalid="ignore"):
            latencies_ms = self.model.predict(self.features.values(space, matrix))
        if not np.isfinite(latencies_ms).all():
            raise DataError(
                f"a latency predictor must predict finite latencies, but that of {self.space_name} does not; make it "
                "again with `onepath profile`"
            )
        return latencies_ms

    def check(
        self, space: SearchSpace, device: Device | None = None, input_shape: Sequence[int] | None = None
    ) -> None:
        """Raise unless the predictor belongs to this space, device and input shape.

        An argument that is None is not compared. Of the device, every setting that the predictor knows is compared, the
        version of the runtime included.

        Raises:
            ConfigurationError: the predictor belongs to another one; the message names both.
        """
        self._check_space(space)
        now = {} if device is None else device.settings()
        for name in ("name", *now):
            if name in now and name in self.device and now[name] != self.device[name]:
                what = "device" if name == "name" else f"{name} of {now['name']}"
                raise ConfigurationError(
                    f"a latency predictor must be of the device it is used for, but its {what} is "
                    f"{self.device[name]}, and now it is {now[name]}; profile this device"
                )
        if input_shape is not None and self.input_shape not in (None, tuple(input_shape)):
            raise ConfigurationError(
                f"a latency predictor must be of the input shape it is used for, but it is of {self.input_shape}, and "
                f"now it is {tuple(input_shape)}; profile with this shape"
            )

    def check_network(self, supernet: Supernet, name: str = "this network") -> None:
        """Raise unless the predictor belongs to this very supernet, layer by layer, and still predicts what it did.

        Networks of different widths, whose latencies differ, can have the same choices. The layers are not compared if
        the predictor does not know those it was fitted to.

        Args:
            supernet: the supernet; its weights do not matter.
            name: name of the supernet, for the message.

        Raises:
            ConfigurationError: the supernet has other choices or other layers.
            DataError: the numbers of the predictor were changed after it was written.
        """
        self._check_space(supernet.space)
        network = self.comparison["space"].get("network")
        if network is not None and structure_digest(supernet.module) != network:
            raise ConfigurationError(
                f"a latency predictor must be of the network it is used for, but it is of {self.space_name}, and "
                f"{name} has the same choices and other layers; profile this network"
            )
        self._check_predictions(supernet.space)

    def _check_predictions(self, space: SearchSpace) -> None:
        """Raise DataError unless the model predicts what was stored with its test pairs.

        The model's numbers may have any sign, so a changed number shows only in the predictions.
        """
        pairs = self.comparison.get("test_pairs") or {"architecture": (), "predicted_ms": {}}
        noted = pairs["predicted_ms"].get(self.winner)
        if noted is None or not all(pairs["architecture"]) or not pairs["architecture"]:
            return
        found = self.predict(space, space.matrix([space.parse(text) for text in pairs["architecture"]]))
        if not np.allclose(found, noted, rtol=_SAME_PREDICTION, atol=0.0):
            raise DataError(
                f"a latency predictor of {self.space_name} must predict what it predicted when it was written, but for "
                f"{one_line(pairs['architecture'][0])} it was {noted[0]:.6g} ms and is {found[0]:.6g} ms; make it "
                "again with `onepath profile`"
            )

    def _check_space(self, space: SearchSpace) -> None:
        if space.fingerprint != self.space_fingerprint:
            raise ConfigurationError(
                f"a latency predictor must be of the space it is used for, but it is of {self.space_name} "
                f"({self.space_fingerprint[:8]}), and now it is {space_title(space)}; profile this space"
            )

    def save(self, path: Path | str) -> None:
        """Write one safetensors file, atomically: the model as arrays, everything else as JSON in the header."""
        from safetensors.numpy import save

        data = {"format": FORMAT, "features": self.features.to_data(), "comparison": self.comparison}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.model.tensors().items()}
        atomic_write_bytes(Path(path), save(arrays, {_KEY: json.dumps(data, allow_nan=False)}))

    @classmethod
    def load(cls, path: Path | str) -> NetworkPredictor:
        """Return the predictor that `save` wrote, equal to the bit; nothing is fitted again.

        Raises:
            RunDirectoryError: the file is absent.
            DataError: the file is damaged, or is not a predictor.
        """
        from safetensors import SafetensorError, safe_open

        check_file(path, _WHAT)
        try:
            with safe_open(str(path), framework="np") as file:
                data = parse_json((file.metadata() or {})[_KEY])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            node = check_nodes(PredictorNode, data)
            model = _KINDS[node.comparison.winner].from_tensors(arrays)
            features = features_from_data(data["features"])
            flaw = model.flaw(len(features.names))
            if flaw is not None:
                raise ValueError(flaw)
            return cls(model, features, data["comparison"])
        except (OSError, SafetensorError, ValueError, LookupError, TypeError, OverflowError) as error:
            raise not_as_written(path, _WHAT, error, "make it again with `onepath profile`") from error


def fit_predictor(
    pairs: LatencyPairs,
    *,
    seed: int = 0,
    split: Split | None = None,
    latency_norm_ms: float | None = None,
    recipe: MlpRecipe | None = None,
) -> NetworkPredictor:
    """Fit HAT's perceptron, a ridge regression and boosted trees to the same pairs, and return the best.

    All models are fitted to the training pairs. The model with the least root mean square error on the validation pairs
    wins. The test pairs serve only to report errors. The same pairs, seed and machine give the same predictor.

    Args:
        pairs: 20 pairs or more.
        seed: seed of the split, of the perceptron's weights and batches, and of the trees' folds.
        split: rows to use; None: 80 / 10 / 10 % in a random order.
        latency_norm_ms: number by which the perceptron's latencies are divided; None: their mean.
        recipe: recipe of the perceptron; None: HAT's recipe.

    Raises:
        DataError: there are fewer than 20 pairs.
    """
    if len(pairs) < MIN_PAIRS:
        raise DataError(
            f"a predictor needs {MIN_PAIRS} pairs or more; got {len(pairs)} and {pairs.num_noisy} too noisy to use;"
            " measure more, or on a quieter machine"
        )
    if split is None:
        split = Split.of_order(generator(seed, "latency split").permutation(len(pairs)))
    inputs, latencies_ms = pairs.inputs[split.train], pairs.latencies_ms[split.train]
    norms = pairs.features.norms
    models: dict[str, Model] = {
        "mlp": Mlp.fit(
            inputs,
            latencies_ms,
            generator(seed, "latency perceptron"),
            feature_norms=None if norms is None else np.array(norms),
            latency_norm_ms=latency_norm_ms,
            recipe=recipe,
        ),
        "ridge": Ridge.fit(inputs, latencies_ms, pairs.features.products),
        "trees": Trees.fit(inputs, latencies_ms, generator(seed, "latency trees")),
    }
    comparison = _compared(models, pairs, split, seed)
    return NetworkPredictor(models[comparison["winner"]], pairs.features, comparison)


def _compared(models: Mapping[str, Model], pairs: LatencyPairs, split: Split, seed: int) -> dict[str, Any]:
    validation_ms, test_ms = (pairs.latencies_ms[rows] for rows in (split.validation, split.test))
    predicted_ms = {name: model.predict(pairs.inputs[split.test]) for name, model in models.items()}
    figures = {
        name: {
            "details": model.details(),
            "validation": errors(validation_ms, model.predict(pairs.inputs[split.validation])),
            "test": errors(test_ms, predicted_ms[name]),
        }
        for name, model in models.items()
    }
    winner = min(figures, key=lambda name: figures[name]["validation"]["rmse_ms"])
    return {
        "space": {"name": pairs.space_name, "fingerprint": pairs.space_fingerprint, "network": pairs.network},
        "device": dict(pairs.device),
        "input_shape": None if pairs.input_shape is None else list(pairs.input_shape),
        "features": list(pairs.features.names),
        "seed": seed,
        "num_pairs": {
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "too_noisy": pairs.num_noisy,
        },
        "winner": winner,
        "winner_has": "least rmse_ms on the validation pairs",
        "error_ms_95": bound_95_ms(test_ms, predicted_ms[winner]),
        "models": figures,
        "test_pairs": {
            "architecture": [pairs.labels[row] for row in split.test],
            "measured_ms": test_ms.tolist(),
            "predicted_ms": {name: values.tolist() for name, values in predicted_ms.items()},
        },
    }
