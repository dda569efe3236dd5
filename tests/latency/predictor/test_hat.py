"""HAT's space, features and figures."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from onepath.latency.predictor import (
    HAT_FEATURES,
    HAT_LATENCY_NORMS_MS,
    HatFeatures,
    Ridge,
    Split,
    fit_predictor,
    hat_space,
    read_pairs,
)
from onepath.latency.predictor.hat import HAT_FEATURE_NORMS


def options(decoder_layers: int) -> dict[str, int]:
    """Encoder layers of widths 3072, 2048, 1024, ...; the layers a decoder leaves out would change every mean."""
    found = {
        "encoder_embed_dim": 640,
        "encoder_layer_num": 6,
        "decoder_embed_dim": 512,
        "decoder_layer_num": decoder_layers,
    }
    for layer in range(6):
        found[f"encoder_ffn_embed_dim.{layer}"] = (3072, 2048, 1024)[layer % 3]
        found[f"encoder_self_attention_heads.{layer}"] = 8 if layer == 0 else 4
        is_used = layer < decoder_layers
        found[f"decoder_ffn_embed_dim.{layer}"] = 1024 * (1 + layer) if is_used else 3072
        found[f"decoder_self_attention_heads.{layer}"] = 4 if is_used else 8
        found[f"decoder_ende_attention_heads.{layer}"] = (8 if layer == 0 else 4) if is_used else 8
        found[f"decoder_arbitrary_ende_attn.{layer}"] = (-1, 2)[layer % 2] if is_used else 1
    return found


def features_of(decoder_layers: int) -> dict[str, float]:
    space = hat_space()
    architecture = space.architecture(options(decoder_layers))
    return dict(zip(HAT_FEATURES, HatFeatures().values(space, space.matrix([architecture]))[0], strict=True))


def test_ten_features_in_the_papers_order() -> None:
    assert HAT_FEATURES == (
        "encoder_embed_dim",
        "encoder_layer_num",
        "encoder_ffn_embed_dim_avg",
        "encoder_self_attention_heads_avg",
        "decoder_embed_dim",
        "decoder_layer_num",
        "decoder_ffn_embed_dim_avg",
        "decoder_self_attention_heads_avg",
        "decoder_ende_attention_heads_avg",
        "decoder_arbitrary_ende_attn_avg",
    )
    assert len(HAT_FEATURE_NORMS) == 10


def test_means_are_over_active_layers_alone() -> None:
    features = features_of(decoder_layers=2)
    assert features["encoder_embed_dim"] == 640
    assert features["decoder_embed_dim"] == 512
    assert features["encoder_layer_num"] == 6
    assert features["decoder_layer_num"] == 2
    assert features["encoder_ffn_embed_dim_avg"] == 2048
    assert features["encoder_self_attention_heads_avg"] == pytest.approx(28 / 6)
    assert features["decoder_ffn_embed_dim_avg"] == (1024 + 2048) / 2
    assert features["decoder_self_attention_heads_avg"] == 4
    assert features["decoder_ende_attention_heads_avg"] == 6
    # -1 and 2 stand for one and three layers of the encoder.
    assert features["decoder_arbitrary_ende_attn_avg"] == 2


def test_one_layer() -> None:
    features = features_of(decoder_layers=1)
    assert features["decoder_ffn_embed_dim_avg"] == 1024
    assert features["decoder_ende_attention_heads_avg"] == 8
    assert features["decoder_arbitrary_ende_attn_avg"] == 1


def test_size_of_the_space() -> None:
    # A decoder layer has 3 widths, 2 heads, 2 heads, 3 ranges of attention.
    decoders = sum((3 * 2 * 2 * 3) ** depth for depth in range(1, 7))
    assert hat_space().size == 2 * 2 * (3 * 2) ** 6 * decoders


def test_measured_networks_have_features_of_the_wider_space(shared_data: Path) -> None:
    """Every measured mean is one that the architectures of the space can have."""
    pairs = read_pairs(shared_data / "hat_latency.parquet", where={"task": "wmt14ende", "device": "cpu_xeon"})
    space = hat_space((3072, 2048, 1024, 512), (8, 4, 2))
    drawn = HatFeatures().values(space, space.sample(20_000, np.random.default_rng(0)))
    assert len(pairs) == 2000
    for column in (0, 1, 4, 5):
        assert set(pairs.inputs[:, column]) <= set(drawn[:, column])
    depth = pairs.inputs[:, 5]
    for column, unit in ((6, 512), (7, 2), (8, 2), (9, 1)):
        totals = pairs.inputs[:, column] * depth / unit
        assert np.allclose(totals, np.rint(totals))
        assert pairs.inputs[:, column].min() >= drawn[:, column].min()
        assert pairs.inputs[:, column].max() <= drawn[:, column].max()


PUBLISHED_MS = {
    "gpu_titanxp": (16.7, 16.1),
    "cpu_xeon": (16.8, 17.1),
    "cpu_raspberrypi": (505.0, 510.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("device", sorted(PUBLISHED_MS))
def test_released_recipe_gives_the_published_errors(shared_data: Path, device: str) -> None:
    pairs = read_pairs(shared_data / "hat_latency.parquet", where={"task": "wmt14ende", "device": device})
    order = list(range(len(pairs)))
    random.Random(0).shuffle(order)
    predictor = fit_predictor(
        pairs, split=Split.of_order(order), latency_norm_ms=HAT_LATENCY_NORMS_MS[device]
    )
    test = {name: model["test"]["rmse_ms"] for name, model in predictor.comparison["models"].items()}
    perceptron, linear = PUBLISHED_MS[device]
    assert test["mlp"] == pytest.approx(perceptron, rel=0.05)
    plain = Ridge.fit(pairs.inputs[order[:1600]], pairs.latencies_ms[order[:1600]])
    error = plain.predict(pairs.inputs[order[1800:]]) - pairs.latencies_ms[order[1800:]]
    assert np.sqrt(np.mean(error**2)) == pytest.approx(linear, rel=0.05)
    # To the digits that the published figures have.
    digits = 0 if perceptron > 100 else 1
    assert round(min(test.values()), digits) <= min(perceptron, linear)
