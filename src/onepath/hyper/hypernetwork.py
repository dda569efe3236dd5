"""A network that makes the weights of a supernet's path from a description of the architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from onepath.hyper.graph_network import GraphEncoder
from onepath.hyper.kernels import KernelMaker, LowRankKernels, Shape, TiledKernels
from onepath.hyper.layers import chosen_layers
from onepath.hyper.one_hot import OneHotEncoder
from onepath.nn import Supernet
from onepath.nn.weight_source import SourcedLayer, WeightSource
from onepath.space import Architecture

Kernels = Literal["low-rank", "tiled"]

_HIDDEN = 64


class HyperNetwork(WeightSource):
    """Makes the weights of every layer of a supernet that depends on a choice, for the path that runs.

    An encoder gives each layer in the path a code, a maker of kernels turns the codes into weights. What all
    architectures share (stem, transitions, classifier), normalisation and biases stay the supernet's own and are
    trained with it. `Supernet.take_weights_from` puts a hypernetwork to work; the supernet is then trained, searched
    and extracted like any other.

    Args:
        layers: the layers whose weights are made.
        encoder: (architecture, numbers of layers) -> codes (L, D).
        kernels: makes weights from codes.
        described: the settings of the two, as plain values.

    Example:
        >>> supernet = onepath.spaces.build("nasbench-macro", num_classes=10, input_size=8, in_channels=1, width=0.25)
        >>> supernet.take_weights_from(HyperNetwork.smash(supernet, seed=0))
        >>> curve = onepath.train_supernet(supernet, onepath.load_data("digits"), epochs=2)
    """

    def __init__(
        self,
        layers: tuple[SourcedLayer, ...],
        encoder: nn.Module,
        kernels: KernelMaker,
        described: dict[str, Any],
    ) -> None:
        super().__init__(layers)
        self.encoder, self.kernels, self.described = encoder, kernels, dict(described)

    @classmethod
    def smash(
        cls,
        supernet: Supernet,
        *,
        kernels: Kernels = "tiled",
        width: int = 64,
        rank: int = 16,
        tile: int = 64,
        seed: int = 0,
    ) -> HyperNetwork:
        """Return a hypernetwork that reads the one-hot vectors of the architecture and of each layer, as SMASH does.

        Args:
            supernet: the supernet; not changed.
            kernels: "tiled" for repeated tiles, "low-rank" for sums of products of factors.
            width: width of a layer's code.
            rank: number of products of low-rank kernels.
            tile: largest number of channels of a tile.
            seed: seed of its first weights and of its noise.

        Raises:
            ConfigurationError: no weight of the supernet can be made, see `chosen_layers`.
        """
        layers = chosen_layers(supernet)
        described = {"hypernetwork": "smash", "kernels": kernels, "width": width, "rank": rank, "tile": tile}

        def made() -> HyperNetwork:
            encoder = OneHotEncoder(supernet.space, [layer.path for layer in layers], width)
            return cls(layers, encoder, _kernels(kernels, layers, width, rank, tile), described)

        return _seeded(made, seed, supernet)

    @classmethod
    def ghn(
        cls,
        supernet: Supernet,
        input_shape: tuple[int, ...],
        *,
        width: int = 32,
        tile: int = 64,
        seed: int = 0,
    ) -> HyperNetwork:
        """Return a hypernetwork that reads the graph of the architecture's own network, as GHN-2 does.

        Args:
            supernet: the supernet; not changed.
            input_shape: shape of one example, without the batch.
            width: width of a node's state.
            tile: largest number of channels of a tile.
            seed: seed of its first weights.

        Raises:
            ConfigurationError: no weight of the supernet can be made, see `chosen_layers`.
        """
        layers = chosen_layers(supernet)
        described = {"hypernetwork": "ghn", "width": width, "tile": tile}

        def made() -> HyperNetwork:
            encoder = GraphEncoder(supernet, layers, input_shape, width)
            return cls(layers, encoder, _kernels("tiled", layers, width, 0, tile), described)

        return _seeded(made, seed, supernet)

    def forward(self, architecture: Architecture) -> list[Tensor]:
        """See `WeightSource.forward`."""
        numbers = self.numbers_in(architecture)
        if not numbers:
            return []
        found: list[Tensor] = self.kernels(
            self.encoder(architecture, numbers), [self.layers[number].shape for number in numbers]
        )
        return found

    def settings(self) -> dict[str, Any]:
        """See `WeightSource.settings`."""
        return dict(self.described)


def _kernels(
    kind: Kernels, layers: tuple[SourcedLayer, ...], width: int, rank: int, tile: int
) -> KernelMaker:
    shapes: list[Shape] = [layer.shape for layer in layers]
    if kind == "low-rank":
        return LowRankKernels(width, shapes, rank, _HIDDEN)
    return TiledKernels(width, shapes, tile, _HIDDEN)


def _seeded(made: Callable[[], HyperNetwork], seed: int, supernet: Supernet) -> HyperNetwork:
    """Return a hypernetwork with weights drawn from a seed, on the supernet's device."""
    device = next((parameter.device for parameter in supernet.parameters()), torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return made().to(device)
