"""Ridge regression, boosted trees and the perceptron by themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from latency.predictor.pairs_of_a_law import law_ms, law_pairs
from sklearn.ensemble import GradientBoostingRegressor
from torch import nn

from onepath.latency.predictor import Mlp, MlpRecipe, Ridge, Trees
from onepath.latency.predictor.trees import _boosting

SHORT = MlpRecipe(num_hidden=2, width=16, num_steps=30, batch=32)


def test_ridge_recovers_an_additive_law() -> None:
    space, pairs = law_pairs()
    model = Ridge.fit(pairs.inputs, pairs.latencies_ms)
    matrix = space.enumerate_matrix()
    predicted = model.predict(pairs.features.values(space, matrix))
    assert np.allclose(predicted, law_ms(space, matrix), rtol=1e-6)


def test_ridge_penalises_where_features_say_nothing() -> None:
    alphas, spreads = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        inputs, noise = rng.normal(size=(40, 30)), rng.normal(size=40)
        model = Ridge.fit(inputs, 10 + noise)
        alphas.append(model.alpha)
        spreads.append(np.abs(model.predict(inputs) - 10).max())
    assert np.median(alphas) > 100
    assert np.median(spreads) < 0.5


def test_ridge_uses_products_only_where_they_help() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 3))
    noise = 0.1 * rng.normal(size=200)
    product = Ridge.fit(inputs, 5 + 2 * inputs[:, 0] * inputs[:, 2] + noise, [(0, 2)])
    assert product.weights_ms == pytest.approx([0, 0, 0, 2], abs=0.05)
    plain = Ridge.fit(inputs, 5 + 2 * inputs[:, 0] + noise, [(0, 2)])
    assert plain.products.shape == (0, 2)
    assert plain.weights_ms == pytest.approx([2, 0, 0], abs=0.05)


def test_ridge_of_features_that_do_not_vary() -> None:
    model = Ridge.fit(np.full((30, 2), 6.0), np.linspace(1, 3, 30))
    assert model.predict(np.full((1, 2), 6.0)) == pytest.approx(2)
    mixed = np.column_stack([np.full(30, 6.0), np.arange(30.0)])
    model = Ridge.fit(mixed, 4 + 0.5 * np.arange(30))
    assert model.weights_ms == pytest.approx([0, 0.5])
    assert model.intercept_ms == pytest.approx(4, rel=1e-6)


def test_trees_as_arrays_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    inputs = np.column_stack([rng.normal(size=400), rng.integers(0, 3, 400), rng.normal(size=400) / 3])
    latencies = 3 + np.abs(inputs[:, 0]) * (inputs[:, 1] + 1)
    fitted = _boosting(40, len(inputs), 5).fit(inputs, latencies)
    assert isinstance(fitted, GradientBoostingRegressor)
    fresh = np.concatenate([inputs, rng.normal(size=(3000, 3))])
    assert np.allclose(Trees._of(fitted).predict(fresh), fitted.predict(fresh), rtol=1e-12)


def test_trees_learn_a_product_and_repeat() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 4, (300, 2)).astype(np.float64)
    latencies = 1 + inputs[:, 0] * inputs[:, 1]
    model = Trees.fit(inputs, latencies, np.random.default_rng(1))
    again = Trees.fit(inputs, latencies, np.random.default_rng(1))
    assert np.sqrt(np.mean((model.predict(inputs) - latencies) ** 2)) < 0.1
    assert len(model.roots) > 50
    assert np.array_equal(model.predict(inputs), again.predict(inputs))


def test_perceptron_is_what_hat_describes() -> None:
    _, pairs = law_pairs()
    model = Mlp.fit(
        pairs.inputs[:, :10],
        pairs.latencies_ms,
        np.random.default_rng(0),
        recipe=MlpRecipe(num_steps=0),
    )
    assert [tuple(weight.shape) for weight, _ in model.layers] == [
        (400, 10),
        (400, 400),
        (400, 400),
        (400, 400),
        (1, 400),
    ]
    assert MlpRecipe() == MlpRecipe(num_hidden=4, width=400, num_steps=5000, batch=128, learning_rate=1e-5)


def test_perceptron_equals_a_module_trained_by_hand() -> None:
    """The same weights and batches, through torch's modules."""
    _, pairs = law_pairs()
    norms = np.full(pairs.inputs.shape[1], 2.0)
    model = Mlp.fit(
        pairs.inputs,
        pairs.latencies_ms,
        np.random.default_rng(4),
        feature_norms=norms,
        latency_norm_ms=10.0,
        recipe=SHORT,
    )
    rng = np.random.default_rng(4)
    num = pairs.inputs.shape[1]
    net = nn.Sequential(nn.Linear(num, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    for layer in (net[0], net[2], net[4]):
        bound = layer.in_features**-0.5
        layer.weight.data = torch.tensor(rng.uniform(-bound, bound, layer.weight.shape), dtype=torch.float32)
        layer.bias.data = torch.tensor(rng.uniform(-bound, bound, layer.bias.shape), dtype=torch.float32)
    x = torch.tensor(pairs.inputs / 2, dtype=torch.float32)
    y = torch.tensor(pairs.latencies_ms / 10, dtype=torch.float32)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-5)
    for _ in range(30):
        rows = torch.from_numpy(rng.choice(len(x), 32, replace=False))
        loss = ((net(x[rows])[:, 0] - y[rows]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expected = 10 * net(x)[:, 0].detach().numpy()
    assert np.allclose(model.predict(pairs.inputs), expected, rtol=1e-5)


def test_perceptron_repeats_to_the_bit_whatever_the_threads_and_the_global_seed() -> None:
    _, pairs = law_pairs()
    before = torch.get_num_threads()
    predictions = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(threads)
            model = Mlp.fit(
                pairs.inputs, pairs.latencies_ms, np.random.default_rng(0), recipe=MlpRecipe(num_steps=20)
            )
            predictions.append([tensor.clone() for layer in model.layers for tensor in layer])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*tensors) for tensors in zip(*predictions, strict=True))


def test_perceptron_learns() -> None:
    _, pairs = law_pairs()
    recipe = MlpRecipe(num_hidden=2, width=32, num_steps=600, batch=64, learning_rate=3e-3)
    model = Mlp.fit(pairs.inputs, pairs.latencies_ms, np.random.default_rng(0), recipe=recipe)
    error = np.sqrt(np.mean((model.predict(pairs.inputs) - pairs.latencies_ms) ** 2))
    assert error < 0.1 * pairs.latencies_ms.std()
