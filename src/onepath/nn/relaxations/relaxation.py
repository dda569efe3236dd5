"""Architecture parameters: one vector of logits per choice, apart from the space and from the weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.nn.choice_block import ChoiceBlock
from onepath.nn.gates import Gate
from onepath.nn.paths import GatedPath
from onepath.nn.supernet import Supernet
from onepath.randomness import generator

_SKIPS = frozenset({"skip", "skip_connect"})  # by name, since one that halves the map has weights


@runtime_checkable
class _Structural(Protocol):
    """A module whose choice has no logits: while others are differentiable, it holds one gate."""

    def relaxed_gate(self) -> Gate:
        """The gate that it holds."""


class Relaxation(nn.Module, ABC):
    """The logits of a supernet's choice blocks, and the gates that they set.

    A choice that several blocks share has one vector. A block's `none`, where it has one, is the last entry of its
    vector. Choices between sets of edges have no logits of their own: all edges run while the operations are weighted.

    Args:
        supernet: any whose choices are choice blocks or edge sums; not changed.
        seed: of the initial logits.
        deviation: initial logits are drawn from a normal distribution of this standard deviation, mean 0.

    Attributes:
        space: the supernet's.
        names: the differentiable choices, in the order of the space.
        candidates: per differentiable choice, what its logits mean.
        num_options: per differentiable choice, the number of its options: without the block's `none`.
        skips: per differentiable choice, the options that hand their input on: identities, and skip connections
            by name; what collapse is counted by, and what skip dropout drops.
        logits: one parameter per differentiable choice, shape (candidates,), float32.

    Raises:
        ConfigurationError: a choice, such as a size, is neither.
    """

    def __init__(self, supernet: Supernet, *, seed: int = 0, deviation: float = 1e-3) -> None:
        super().__init__()
        blocks: dict[str, ChoiceBlock] = {}
        structure: dict[str, Gate] = {}
        for module in supernet.module.modules():
            choice = getattr(module, "choice", None)
            if isinstance(module, ChoiceBlock) and choice is not None:
                blocks.setdefault(choice.name, module)
            elif isinstance(module, _Structural) and choice is not None:
                structure.setdefault(choice.name, module.relaxed_gate())
        self.space = supernet.space
        self.seed, self.deviation = seed, deviation
        for name in self.space.names:
            if name not in blocks and name not in structure:
                raise ConfigurationError(
                    f"a relaxation needs choices between candidates, but {name!r} is a size or a depth; "
                    "search this space by sampling, for example with spos"
                )
        self.names = tuple(name for name in self.space.names if name in blocks)
        self.candidates = tuple(blocks[name].gate_names for name in self.names)
        self.num_options = tuple(len(blocks[name].names) for name in self.names)
        self.skips = tuple(
            frozenset(
                option
                for option, candidate in zip(blocks[name].names, blocks[name].candidates, strict=True)
                if isinstance(candidate, nn.Identity) or option in _SKIPS
            )
            for name in self.names
        )
        self._structure = structure
        self._base = self.space.architecture([0] * self.space.num_choices)
        rng = generator(seed, "architecture parameters")
        device = next((p.device for p in supernet.parameters()), torch.device("cpu"))
        self.logits = nn.ParameterList(
            nn.Parameter(torch.tensor(rng.normal(0.0, deviation, len(names)), dtype=torch.float32).to(device))
            for names in self.candidates
        )

    @abstractmethod
    def weight_path(self, rng: np.random.Generator, progress: float) -> GatedPath:
        """What an update of the weights runs; no gradient reaches the logits.

        Args:
            rng: of this update; everything drawn comes from it.
            progress: share of the search done, in [0, 1], for schedules.
        """

    @abstractmethod
    def architecture_path(self, rng: np.random.Generator, progress: float) -> GatedPath:
        """What an update of the logits runs; gradients reach them. Arguments as in `weight_path`."""

    def warmup_path(self, rng: np.random.Generator) -> GatedPath:
        """What an update of the weights runs before the logits are trained."""
        return self.weight_path(rng, 0.0)

    def after_step(self, before: Sequence[Tensor]) -> None:
        """Called after every step of the logits' optimizer, with their values before it."""

    def settings(self) -> dict[str, Any]:
        """What a checkpoint of the logits must agree on: plain values."""
        return {"kind": type(self).__name__, "seed": self.seed, "deviation": self.deviation}

    def probabilities(self) -> dict[str, Tensor]:
        """Differentiable choice -> softmax of its logits, shape (candidates,), differentiable."""
        return {name: logits.softmax(0) for name, logits in zip(self.names, self.logits, strict=True)}

    def weights_of(self) -> dict[str, list[float]]:
        """Differentiable choice -> its probabilities as numbers, for records."""
        return {name: values.detach().tolist() for name, values in self.probabilities().items()}

    def gated(self, gates: Mapping[str, Gate]) -> GatedPath:
        """A path of these gates, with all edges of nodes whose edges are a choice."""
        return GatedPath(self._base, {**self._structure, **gates})


def one_path(relaxation: Relaxation, rng: np.random.Generator, *, uniform: bool = False) -> dict[str, Gate]:
    """One candidate for every differentiable choice, drawn by its probability or uniformly."""
    gates = {}
    for name, logits in zip(relaxation.names, relaxation.logits, strict=True):
        index = int(rng.integers(len(logits))) if uniform else draw(logits.detach().softmax(0), rng)
        gates[name] = Gate.single(index)
    return gates


def draw(probabilities: Tensor, rng: np.random.Generator) -> int:
    """An index drawn by its probability, from one uniform number."""
    cumulated = np.cumsum(probabilities.detach().double().cpu().numpy())
    return int(
        min(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"), len(cumulated) - 1)
    )
