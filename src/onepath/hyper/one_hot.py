"""The codes of SMASH: a layer is known by the options of the whole architecture and by its own place.

Source: Brock et al., "SMASH: One-Shot Model Architecture Search through HyperNetworks", ICLR 2018 (arXiv 1708.05344),
and the released code: the input of the hypernetwork is fixed noise beside the encoding of the architecture. Differs
from them: the encoding is the one-hot vector of any declared space beside that of the layer, in place of a picture of
memory banks, and a small perceptron reads it; at first a code depends on the place of a layer in its block much more
than on the candidate and the architecture, so that the candidates of a block begin with weights that agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.space import Architecture, SearchSpace

_SLOPE, _NUM_NOISE = 0.02, 16
_FIRST_SHARE = 0.1  # of the candidate and of the architecture, beside the place


class OneHotEncoder(nn.Module):
    """Codes of layers, made by a perceptron from one-hot vectors of the architecture and of each layer.

    Args:
        space: the search space.
        paths: paths of the layers with codes, in the supernet's module. Layers whose paths differ by the candidate
            alone have one place.
        width: D, width of a code.
    """

    noise: Tensor

    def __init__(self, space: SearchSpace, paths: Sequence[str], width: int) -> None:
        super().__init__()
        self.space = space
        places = [re.sub(r"\bcandidates\.\d+", "candidates", path) for path in paths]
        numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
        self.place_of = tuple(numbers[place] for place in places)
        self.register_buffer("noise", torch.randn(_NUM_NOISE))
        self.options = nn.Linear(int(space.num_options.sum()) + _NUM_NOISE, width)
        # Each is a linear layer on a one-hot vector.
        self.places, self.layers = nn.Embedding(len(numbers), width), nn.Embedding(len(paths), width)
        self.second = nn.Linear(width, width)
        with torch.no_grad():
            self.layers.weight.mul_(_FIRST_SHARE)
            self.options.weight.mul_(_FIRST_SHARE)

    def forward(self, architecture: Architecture, numbers: Sequence[int]) -> Tensor:
        """Return the codes (L, D) of the layers with these numbers, each normalised."""
        rows = self.space.one_hot(self.space.matrix([architecture]))
        encoded = torch.from_numpy(rows[0]).to(self.noise)
        whole = self.options(torch.cat([encoded, self.noise]))
        own = (
            self.places.weight[[self.place_of[number] for number in numbers]]
            + self.layers.weight[list(numbers)]
        )
        hidden = functional.leaky_relu(whole + own, _SLOPE)
        codes: Tensor = self.second(hidden)
        return functional.layer_norm(codes, codes.shape[-1:])
