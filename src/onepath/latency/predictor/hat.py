"""The transformer space of HAT and the ten features from which its latency predictor works.

Source: Wang et al., HAT: Hardware-Aware Transformers for Efficient Natural Language Processing, ACL 2020, section 3.2,
arXiv 2005.14187, and its released files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.latency.predictor.features import Features, Floats
from onepath.space import Choice, SearchSpace

NUM_LAYERS = 6
ENCODER_PARTS = ("encoder_ffn_embed_dim", "encoder_self_attention_heads")
DECODER_PARTS = (
    "decoder_ffn_embed_dim",
    "decoder_self_attention_heads",
    "decoder_ende_attention_heads",
    "decoder_arbitrary_ende_attn",
)
HAT_FEATURES = (
    "encoder_embed_dim",
    "encoder_layer_num",
    *(f"{part}_avg" for part in ENCODER_PARTS),
    "decoder_embed_dim",
    "decoder_layer_num",
    *(f"{part}_avg" for part in DECODER_PARTS),
)
"""Names of HAT's features, which are the columns of its files, in their order."""
HAT_FEATURE_NORMS = (640.0, 6.0, 2048.0, 6.0, 640.0, 6.0, 2048.0, 6.0, 6.0, 2.0)
HAT_LATENCY_NORMS_MS = {"gpu_titanxp": 200.0, "cpu_xeon": 300.0, "cpu_raspberrypi": 5000.0}
"""Number by which HAT divides the latencies of each of its devices."""

# The decoder attends to the last 1, 2 or 3 layers of the encoder; HAT writes these as -1, 1, 2.
_NUM_ATTENDED = {-1: 1.0, 1: 2.0, 2: 3.0}


def hat_space(
    ffn_widths: Sequence[int] = (3072, 2048, 1024),
    heads: Sequence[int] = (8, 4),
    embedding_widths: Sequence[int] = (640, 512),
) -> SearchSpace:
    """Return the space of HAT's transformers; the defaults are those of WMT'14 En-De and En-Fr.

    It has six encoder layers and one to six decoder layers. Each layer has its own width of the feed-forward network
    and its own numbers of attention heads. A decoder layer also chooses whether its cross-attention sees the last one
    (-1), two (1) or three (2) encoder layers. Choices of decoder layers that are left out are inactive.

    Args:
        ffn_widths: options for the width of every feed-forward network. HAT's measured networks have 512 among them as
            well.
        heads: options for the number of heads of every attention. HAT's measured networks have 2 among them as well.
        embedding_widths: options for the embedding width, which the encoder and the decoder choose separately.
    """
    options = {
        "encoder_ffn_embed_dim": ffn_widths,
        "encoder_self_attention_heads": heads,
        "decoder_ffn_embed_dim": ffn_widths,
        "decoder_self_attention_heads": heads,
        "decoder_ende_attention_heads": heads,
        "decoder_arbitrary_ende_attn": tuple(_NUM_ATTENDED),
    }
    depths = tuple(range(NUM_LAYERS, 0, -1))
    choices = [
        Choice("encoder_embed_dim", embedding_widths),
        Choice("encoder_layer_num", [NUM_LAYERS], role="depth"),
    ]
    choices += [
        Choice(f"{part}.{layer}", options[part]) for part in ENCODER_PARTS for layer in range(NUM_LAYERS)
    ]
    choices += [
        Choice("decoder_embed_dim", embedding_widths),
        Choice("decoder_layer_num", depths, role="depth"),
    ]
    conditions = {}
    for part in DECODER_PARTS:
        for layer in range(NUM_LAYERS):
            choices.append(Choice(f"{part}.{layer}", options[part]))
            if layer:
                conditions[f"{part}.{layer}"] = [
                    {"decoder_layer_num": [depth for depth in depths if depth > layer]}
                ]
    return SearchSpace(choices, conditions)


class HatFeatures(Features):
    """HAT's ten features: embedding widths, numbers of layers, and means over the active layers only.

    The means are of the feed-forward widths, of the heads, and of the number (1, 2, 3) of encoder layers that the
    cross-attention sees. Latency is a sum over layers, not a mean. So the ridge regression may also use the number of
    decoder layers times each of the decoder's other features.
    """

    kind = "hat"
    names = HAT_FEATURES
    norms = HAT_FEATURE_NORMS
    products = tuple(
        (HAT_FEATURES.index("decoder_layer_num"), HAT_FEATURES.index(name))
        for name in ("decoder_embed_dim", *(f"{part}_avg" for part in DECODER_PARTS))
    )

    def values(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> Floats:
        """Return the features; see `Features.values`.

        The space must have the choices of `hat_space`; their options may differ.
        """
        matrix = space.check(matrix)
        active = space.active(matrix)
        features = []
        for name in self.names:
            if not name.endswith("_avg"):
                features.append(_options(space, matrix, space.column(name)))
                continue
            part = name.removesuffix("_avg")
            columns = [space.column(f"{part}.{layer}") for layer in range(NUM_LAYERS)]
            layers = np.stack([_options(space, matrix, column) for column in columns], axis=1)
            is_used = active[:, columns]
            features.append((layers * is_used).sum(axis=1) / is_used.sum(axis=1))
        return np.stack(features, axis=1)

    def to_data(self) -> dict[str, Any]:
        """Return plain JSON values; see `Features.to_data`."""
        return {"kind": self.kind}


def _options(space: SearchSpace, matrix: npt.NDArray[Any], column: int) -> Floats:
    """Return the chosen numbers in one column; for a choice of the cross-attention, the number of layers it sees."""
    choice = space.choices[column]
    is_attended = choice.name.startswith("decoder_arbitrary_ende_attn")
    numbers = [_NUM_ATTENDED[int(option)] if is_attended else float(option) for option in choice.options]
    return np.asarray(np.array(numbers)[matrix[:, column]], dtype=np.float64)
