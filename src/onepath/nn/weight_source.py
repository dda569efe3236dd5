"""Weights that a supernet's layers do not hold themselves, because a source makes them for the path that runs."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from onepath.nn.binding import Condition
from onepath.space import Architecture, Option


@dataclass(frozen=True)
class SourcedLayer:
    """A layer whose weight comes from a source.

    Attributes:
        path: path of the layer in the supernet's module.
        module: the layer; its bias, if it has one, is its own.
        shape: shape of its weight; of an elastic layer, the largest one.
        conditions: the layer is in a network if one of them holds.
    """

    path: str
    module: nn.Module
    shape: tuple[int, ...]
    conditions: tuple[Condition, ...]

    def is_in(self, options: Mapping[str, Option]) -> bool:
        """Tell whether the layer is in the network of these active options: name of a choice -> its option."""
        return any(
            all(options.get(choice.name) in allowed for choice, allowed in condition)
            for condition in self.conditions
        )


class WeightSource(nn.Module, ABC):
    """Makes the weights of some layers of a supernet, for one path at a time.

    Its own parameters are trained and stored with the supernet's. Between two passes the layers have no weights, so
    that a supernet needs memory for the weights of one path.

    Args:
        layers: the layers whose weights it makes.
    """

    def __init__(self, layers: Sequence[SourcedLayer]) -> None:
        super().__init__()
        self.layers = tuple(layers)

    @abstractmethod
    def forward(self, architecture: Architecture) -> list[Tensor]:
        """Return the weights of the layers in an architecture's network, in the order of `numbers_in`.

        Each has the shape of its layer and a graph that leads to the source's parameters.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the settings that two sources must agree on to make the same weights from the same parameters."""

    def numbers_in(self, architecture: Architecture) -> list[int]:
        """Return the indices in `layers` of those that are in an architecture's network."""
        options = architecture.options
        return [number for number, layer in enumerate(self.layers) if layer.is_in(options)]

    @contextlib.contextmanager
    def placed(self, architecture: Architecture) -> Iterator[None]:
        """Inside this context, the layers of an architecture have the weights that are made for it.

        The weights are made in float32, also under autocast.
        """
        with torch.autocast(self._first.device.type, enabled=False):
            weights = self(architecture)
        with self._held(architecture, weights):
            yield

    @contextlib.contextmanager
    def copied(self, architecture: Architecture, *, inherit: bool) -> Iterator[None]:
        """Inside this context, the layers of an architecture hold parameters that can be extracted.

        Args:
            architecture: the architecture that is extracted.
            inherit: True: the parameters are the weights that are made for the architecture. False: they have no
                values yet.
        """
        with torch.no_grad():
            made = (
                self(architecture)
                if inherit
                else [
                    torch.empty(self.layers[number].shape, device=self._first.device, dtype=self._first.dtype)
                    for number in self.numbers_in(architecture)
                ]
            )
        with self._held(architecture, [nn.Parameter(weight) for weight in made]):
            yield

    def withdraw(self) -> None:
        """Give every layer a parameter of zeros of its own again."""
        for layer in self.layers:
            zeros = torch.zeros(layer.shape, device=self._first.device, dtype=self._first.dtype)
            layer.module._parameters["weight"] = nn.Parameter(zeros)

    def take_over(self) -> None:
        """Delete the weights of the layers."""
        for layer in self.layers:
            layer.module._parameters["weight"] = None

    @property
    def _first(self) -> Tensor:
        return next(self.parameters())

    @contextlib.contextmanager
    def _held(self, architecture: Architecture, weights: Sequence[Tensor]) -> Iterator[None]:
        held: list[dict[str, Any]] = [
            self.layers[number].module._parameters for number in self.numbers_in(architecture)
        ]
        try:
            for parameters, weight in zip(held, weights, strict=True):
                parameters["weight"] = weight
            yield
        finally:
            for parameters in held:
                parameters["weight"] = None
