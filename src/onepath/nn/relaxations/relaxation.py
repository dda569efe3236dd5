"""The architecture parameters of a differentiable search: one vector of logits per choice."""

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

_SKIPS = frozenset({"skip", "skip_connect"})  # by name, since some have weights (to halve the map)


@runtime_checkable
class _Structural(Protocol):
    """A module whose choice has no logits; in a differentiable search it has one fixed gate."""

    def relaxed_gate(self) -> Gate:
        """Return the fixed gate."""


class Relaxation(nn.Module, ABC):
    """The logits of a supernet's choice blocks, and the gates that they set.

    A choice that several blocks share has one vector of logits. If a block has a `none`, it is the last entry of the
    vector. Choices between sets of edges have no logits: all their edges run, and only the operations are weighted.

    Args:
        supernet: supernet whose choices all belong to choice blocks or edge sums; not changed.
        seed: seed of the initial logits.
        deviation: standard deviation of the normal distribution, with mean 0, of the initial logits.

    Attributes:
        space: search space of the supernet.
        names: names of the differentiable choices, in the order of the space.
        candidates: per differentiable choice, the names of the candidates that its logits belong to.
        num_options: per differentiable choice, the number of its options, without the block's `none`.
        skips: per differentiable choice, the options that pass their input on: identities, and skip connections by
            name. They measure a collapse, and skip dropout drops them.
        logits: one float32 parameter (candidates,) per differentiable choice.

    Raises:
        ConfigurationError: a choice, such as a size, belongs to neither a choice block nor an edge sum.
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
        """Return the path that one update of the weights runs; no gradient reaches the logits.

        Args:
            rng: generator of all random draws of this update.
            progress: share of the search that is done, in [0, 1], for schedules.
        """

    @abstractmethod
    def architecture_path(self, rng: np.random.Generator, progress: float) -> GatedPath:
        """Return the path that one update of the logits runs, through which gradients reach the logits.

        Args:
            rng: generator of all random draws of this update.
            progress: share of the search that is done, in [0, 1], for schedules.
        """

    def warmup_path(self, rng: np.random.Generator) -> GatedPath:
        """Return the path that one update of the weights runs before the training of the logits begins.

        Args:
            rng: generator of all random draws of this update.
        """
        return self.weight_path(rng, 0.0)

    def after_step(self, before: Sequence[Tensor]) -> None:
        """Correct the logits after a step of their optimizer; called after every step, and does nothing by default.

        Args:
            before: logits of each differentiable choice before the step.
        """

    def settings(self) -> dict[str, Any]:
        """Return the settings, as plain values, that must be equal when a checkpoint of the logits is loaded."""
        return {"kind": type(self).__name__, "seed": self.seed, "deviation": self.deviation}

    def probabilities(self) -> dict[str, Tensor]:
        """Return differentiable choice -> softmax of its logits, shape (candidates,), differentiable."""
        return {name: logits.softmax(0) for name, logits in zip(self.names, self.logits, strict=True)}

    def weights_of(self) -> dict[str, list[float]]:
        """Return differentiable choice -> its probabilities as Python numbers, for records."""
        return {name: values.detach().tolist() for name, values in self.probabilities().items()}

    def gated(self, gates: Mapping[str, Gate]) -> GatedPath:
        """Return a path with these gates, on which nodes that choose between edges run all their edges.

        Args:
            gates: differentiable choice -> gate.
        """
        return GatedPath(self._base, {**self._structure, **gates})


def one_path(relaxation: Relaxation, rng: np.random.Generator, *, uniform: bool = False) -> dict[str, Gate]:
    """Draw one candidate for every differentiable choice, by its probability or uniformly.

    Args:
        relaxation: the logits that give the probabilities.
        rng: generator of all random draws.
        uniform: whether all candidates are equally likely.

    Returns:
        Differentiable choice -> gate of one candidate.
    """
    gates = {}
    for name, logits in zip(relaxation.names, relaxation.logits, strict=True):
        index = int(rng.integers(len(logits))) if uniform else draw(logits.detach().softmax(0), rng)
        gates[name] = Gate.single(index)
    return gates


def draw(probabilities: Tensor, rng: np.random.Generator) -> int:
    """Draw an index by its probability, from one uniform random number.

    Args:
        probabilities: (N,) probabilities, which need not sum to 1.
        rng: generator of the draw.
    """
    cumulated = np.cumsum(probabilities.detach().double().cpu().numpy())
    return int(
        min(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"), len(cumulated) - 1)
    )
