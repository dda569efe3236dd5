"""A concatenation of chosen states and a 1x1 convolution whose weight has one slice for every state.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268), and the
released code, which selects the slices of the used states from one weight.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.nn.elastic import filled
from onepath.nn.selection import Selection
from onepath.space import Choice, Option
from onepath.spaces.darts_operations import norm
from onepath.spaces.layer_cost import fixed_cost


def active_options(choice: Choice, selection: Selection) -> tuple[Option, ...]:
    """Return the options that the active path takes: those of the choice's gate if it has one, else a single option.

    Before an architecture is active, the single option is the first one.
    """
    gate = selection.gates.get(choice)
    if gate is None:
        return (selection.options.get(choice, choice.options[0]),)
    return tuple(choice.options[index] for index in gate.active if index < choice.num_options)


class ChosenConcat(nn.Module, ABC):
    """ReLU, concatenation of the chosen states along the channels, 1x1 convolution and normalisation.

    The weight has one slice of columns for each state, and the slices of the chosen states are used. So the result is
    the normalised sum of one 1x1 convolution per chosen state, whatever other states are chosen. A slice that is not
    used has gradient 0, as the unused part of any elastic layer.

    Args:
        num_states: number of states to choose from.
        channels: channels of every state and of the output.
        choices: choices that decide which states are chosen.

    Shapes: `num_states` states (B, channels, H, W) to (B, channels, H, W). States that are not chosen are not read.
    """

    def __init__(self, num_states: int, channels: int, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.channels = channels
        self.choices = tuple(choices)
        self.conv = nn.Conv2d(num_states * channels, channels, 1, bias=False)
        self.norm = norm(channels, affine=True)
        self.path = ""
        self.selection = Selection()

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the choices that decide which states are chosen."""
        return self.choices

    @abstractmethod
    def chosen(self) -> tuple[int, ...]:
        """Return the numbers of the active path's chosen states, rising; at least one."""

    def forward(self, *states: Tensor) -> Tensor:
        """Return the normalised convolution of the chosen states."""
        chosen = self.chosen()
        output: Tensor = self.norm(functional.conv2d(_joined(states, chosen), self._weight(chosen)))
        return output

    def _weight(self, chosen: Sequence[int]) -> Tensor:
        """Return the weight of the chosen states, (channels, len(chosen) * channels, 1, 1)."""
        num = self.channels
        return torch.cat([self.conv.weight[:, num * state : num * (state + 1)] for state in chosen], dim=1)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return a `FixedConcat` of the chosen states with copies of their slices, for either `inherit`."""
        del inherit
        chosen = self.chosen()
        conv = nn.Conv2d(len(chosen) * self.channels, self.channels, 1, bias=False, device="meta")
        return FixedConcat(chosen, filled(conv, self.conv, weight=self._weight(chosen)), self.norm)

    def state_cost(self, pixels: int, kind: str) -> int:
        """Return the cost of one more chosen state.

        Args:
            pixels: positions of a map.
            kind: one of `COUNTED`.
        """
        slice_ = nn.Conv2d(self.channels, self.channels, 1, bias=False, device="meta")
        return 0 if kind == "layers" else fixed_cost(slice_, pixels, kind)

    def constant_cost(self, kind: str) -> int:
        """Return the cost that does not depend on the number of chosen states; `kind` is one of `COUNTED`."""
        return fixed_cost(self.norm, 0, kind) + (kind == "layers")


class FixedConcat(nn.Module):
    """ReLU, concatenation of fixed states, convolution and normalisation.

    Args:
        chosen: numbers of the states.
        conv: 1x1 convolution of the concatenated states.
        norm: normalisation of its output.
    """

    def __init__(self, chosen: tuple[int, ...], conv: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.chosen = chosen
        self.conv = conv
        self.norm = norm

    def forward(self, *states: Tensor) -> Tensor:
        """Return the normalised convolution of the states in `chosen`, (B, channels, H, W)."""
        output: Tensor = self.norm(self.conv(_joined(states, self.chosen)))
        return output


def _joined(states: Sequence[Tensor], chosen: Sequence[int]) -> Tensor:
    return functional.relu(torch.cat([states[state] for state in chosen], dim=1))
