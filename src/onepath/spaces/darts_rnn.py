"""DARTS's recurrent cell: eight nodes, each with one earlier node as its input and one activation.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), sections 2.1 and 3.1.2,
and its released code: highway connections; one weight for each node, shared by all its inputs and activations; in the
search, one normalisation without scale and shift for all states. Differs from it: see `LanguageModel`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import ChoiceBlock
from onepath.nn.edge_sum import EdgeSum, edge_options
from onepath.nn.selection import Selection
from onepath.space import Choice, Option
from onepath.spaces.language_model import INITIAL_RANGE, LanguageModel, locked_mask

ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")
"""The activations in the order of the released code.

There `none` comes before them, which has a weight in a search but is in no cell that a search finds.
"""
NUM_NODES = 8
DARTS_V1 = (
    "Genotype(recurrent=[('relu', 0), ('relu', 1), ('tanh', 2), ('relu', 3), ('relu', 4), ('identity', 1), "
    "('relu', 5), ('relu', 1)], concat=range(1, 9))"
)
"""The first of the two cells in the released code."""
DARTS_V2 = (
    "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2), ('sigmoid', 5), "
    "('tanh', 3), ('relu', 5)], concat=range(1, 9))"
)
"""The second cell, whose test perplexity on the Penn Treebank at 850 features is 55.68 in the paper."""


def input_name(node: int) -> str:
    """Return the name of the choice that decides a node's input; nodes count from 1, and 0 is the first state."""
    return f"input of {node}"


def edge_name(source: int, node: int) -> str:
    """Return the name of the choice that decides the activation on an edge; it is active if the node has this input."""
    return f"{source}->{node}"


class RecurrentNotation:
    """The notation of the released code: `Genotype(recurrent=[('tanh', 0), ...], concat=range(1, 9))`.

    Args:
        num_nodes: number of nodes in the cell.
    """

    def __init__(self, num_nodes: int) -> None:
        self.num_nodes = num_nodes

    def parse(self, text: str) -> Mapping[str, Option] | None:
        """Return the options (choice name -> option) of a genotype, or None for a text of another form.

        Raises:
            SpaceError: the genotype has another number of nodes, an input that is not an earlier node, or an output
                that is not the mean of all nodes.
        """
        form = (
            r"Genotype\(recurrent=\[((?:\(['\"]\w+['\"],\d+\),?)+)\],concat=(range\(\d+,\d+\)|\[[\d,]+\])\)"
        )
        found = re.fullmatch(form, re.sub(r"\s", "", text))
        if found is None:
            return None
        nodes = re.findall(r"(\w+)['\"],(\d+)", found[1])
        numbers = [int(number) for number in re.findall(r"\d+", found[2])]
        outputs = list(range(*numbers)) if found[2].startswith("range") else numbers
        if len(nodes) != self.num_nodes or outputs != list(range(1, self.num_nodes + 1)):
            raise SpaceError(
                f"a cell of this space has {self.num_nodes} nodes and the mean of all of them as its output, but the "
                f"genotype has {len(nodes)} and concat={found[2]}; build the space with another num_nodes"
            )
        options: dict[str, Option] = {}
        for node, (activation, source) in enumerate(nodes, start=1):
            if int(source) >= node:
                raise SpaceError(
                    f"the input of node {node} must be an earlier one, 0 to {node - 1}, but the genotype has {source}; "
                    "correct it"
                )
            options[input_name(node)] = source
            options[edge_name(int(source), node)] = activation
        return options

    def format(self, options: Mapping[str, Option]) -> str:
        """Return the genotype of these options (choice name -> option)."""
        pairs = []
        for node in range(1, self.num_nodes + 1):
            source = int(options[input_name(node)])
            pairs.append(f"('{options[edge_name(source, node)]}', {source})")
        return f"Genotype(recurrent=[{', '.join(pairs)}], concat=range(1, {self.num_nodes + 1}))"


class Highway(nn.Module):
    """A highway connection: `s + c * (f(h) - s)` for a state s, a gate c and a candidate h.

    Args:
        activation: name of f, one of `ACTIVATIONS`.

    Shapes: (B, 3 H), which is s, c and h concatenated, to (B, H).
    """

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return the next state (B, H)."""
        state, gate, candidate = x.chunk(3, dim=-1)
        if self.activation != "identity":
            candidate = getattr(torch, self.activation)(candidate)
        return state + gate * (candidate - state)


class NoState(nn.Module):
    """The edge without operation: it returns zeros of the state's shape."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros (B, H) for an input (B, 3 H)."""
        return torch.zeros_like(x[..., : x.shape[-1] // 3])


class _Gates(Sequence[Tensor]):
    """The input of an edge from each earlier state: (B, 3 H) of state, gate and candidate, computed on access."""

    def __init__(self, linear: nn.Module, states: Sequence[Tensor], kept: Sequence[Tensor]) -> None:
        self._linear, self._states, self._kept = linear, states, kept

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        gate, candidate = self._linear(self._kept[index]).chunk(2, dim=-1)
        return torch.cat((self._states[index], gate.sigmoid(), candidate), dim=-1)


class Node(nn.Module):
    """One node: the edges from all earlier states, and a weight that they share.

    Args:
        number: number of the node, from 1.
        hidden: features H of a state.

    Shapes: `number` states (B, H) to (B, H).
    """

    def __init__(self, number: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2 * hidden, bias=False)
        edges = [
            ChoiceBlock(
                {name: Highway(name) for name in ACTIVATIONS},
                Choice(edge_name(source, number), ACTIVATIONS),
                none=NoState(),
            )
            for source in range(number)
        ]
        self.edges = EdgeSum(edges, Choice(input_name(number), edge_options(number, 1)))

    def forward(self, states: Sequence[Tensor], kept: Sequence[Tensor]) -> Tensor:
        """Return the node's state (B, H).

        Args:
            states: the earlier states, each (B, H).
            kept: the same states after dropout, from which the weight computes gates and candidates.
        """
        state: Tensor = self.edges(_Gates(self.linear, states, kept))
        return state


class SearchNorm(nn.Module):
    """A normalisation without scale and shift in the supernet; a stand-alone cell has no normalisation.

    Args:
        hidden: features H of a state.

    Shapes: (B, H) to the same shape.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(hidden, affine=False)
        self.path = ""
        self.selection = Selection()

    def own_choices(self) -> tuple[Choice, ...]:
        """Return no choices."""
        return ()

    def forward(self, x: Tensor) -> Tensor:
        """Return the state (B, H), normalised over the batch."""
        normalised: Tensor = self.norm(x)
        return normalised

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return the normalisation if weights are inherited, else an identity."""
        return self.norm if inherit else nn.Identity()


class DartsCell(nn.Module):
    """The recurrent cell with all its choices.

    Args:
        hidden: features H of inputs, states and outputs.
        num_nodes: number of nodes.
        dropout_inputs: probability that a feature of the inputs is dropped; one mask serves a whole chunk.
        dropout_states: probability that a feature of the states is dropped; one mask serves a whole chunk.

    Shapes: inputs (B, T, H) and a state (B, H) to outputs (B, T, H) and the last output (B, H).
    """

    def __init__(
        self, hidden: int, num_nodes: int, *, dropout_inputs: float = 0.75, dropout_states: float = 0.25
    ) -> None:
        super().__init__()
        self.state_features = hidden
        self.dropout_inputs = dropout_inputs
        self.dropout_states = dropout_states
        self.from_input = nn.Linear(hidden, 2 * hidden, bias=False)
        self.from_state = nn.Linear(hidden, 2 * hidden, bias=False)
        self.nodes = nn.ModuleList(Node(number, hidden) for number in range(1, num_nodes + 1))
        self.norm = SearchNorm(hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights from U(-0.04, 0.04)."""
        for weight in self.parameters():
            nn.init.uniform_(weight, -INITIAL_RANGE, INITIAL_RANGE)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run over the words of a chunk; return the outputs (B, T, H) and the last output (B, H)."""
        mask = None
        if self.training and self.dropout_states > 0:
            mask = locked_mask(state, self.dropout_states)
        if self.training and self.dropout_inputs > 0:
            x = x * locked_mask(x[:, :1], self.dropout_inputs)
        outputs = []
        for word in self.from_input(x).unbind(dim=1):
            state = self._step(word, state, mask)
            outputs.append(state)
        return torch.stack(outputs, dim=1), state

    def _step(self, word: Tensor, before: Tensor, mask: Tensor | None) -> Tensor:
        """Run the cell for one word and return the mean of its nodes, (B, H).

        The first state comes from the input and the output before, then the nodes follow.

        Args:
            word: (B, 2 H), product of the input and its weight.
            before: (B, H), output for the word before.
            mask: (B, H), dropout mask of the states, applied before each weight; None: nothing is dropped.
        """
        gate, candidate = (word + self.from_state(_masked(before, mask))).chunk(2, dim=-1)
        states = [self.norm(before + gate.sigmoid() * (candidate.tanh() - before))]
        kept: list[Tensor] = []
        for node in self.nodes:
            kept.append(_masked(states[-1], mask))
            states.append(self.norm(node(states, kept)))
        return torch.stack(states[1:]).mean(dim=0)


def _masked(state: Tensor, mask: Tensor | None) -> Tensor:
    return state if mask is None else state * mask


def darts_rnn(
    num_classes: int = 10_000,
    hidden: int = 850,
    width: float = 1.0,
    num_nodes: int = NUM_NODES,
    *,
    dropout_words: float = 0.1,
    dropout_inputs: float = 0.2,
    dropout_cell_inputs: float = 0.75,
    dropout_states: float = 0.25,
    dropout_outputs: float = 0.75,
) -> nn.Module:
    """Build the supernet module of DARTS's recurrent space: a language model around the cell.

    All inputs and activations of a node share its weight. All states share one normalisation, which exists in the
    supernet only. The space reads and writes the published genotypes.

    The defaults of all dropouts are those of the paper's evaluation. Each is the probability that a feature, or a word,
    is dropped in training.

    Args:
        num_classes: size of the vocabulary.
        hidden: features of words and states: 850 in the paper, 300 in its search.
        width: factor on `hidden`.
        num_nodes: number of nodes in the cell.
        dropout_words: dropout of whole words, see `LanguageModel`.
        dropout_inputs: dropout of the embedded words, see `LanguageModel`.
        dropout_cell_inputs: second dropout of the embedded words, before the cell's first weight.
        dropout_states: dropout of the states, before every other weight of the cell.
        dropout_outputs: dropout of the cell's outputs, see `LanguageModel`.

    Raises:
        ConfigurationError: a size below 1, or a probability that is not in [0, 1).
    """
    features = round(hidden * width)
    if features < 1 or num_nodes < 1:
        raise ConfigurationError(
            f"`hidden * width >= 1` and `num_nodes >= 1` must hold, but got {features} and {num_nodes}; raise them"
        )
    rates = (dropout_words, dropout_inputs, dropout_cell_inputs, dropout_states, dropout_outputs)
    if not all(0 <= rate < 1 for rate in rates):
        raise ConfigurationError(
            f"`0 <= dropout < 1` must hold, but got {', '.join(f'{rate:g}' for rate in rates)}; lower them"
        )
    cell = DartsCell(features, num_nodes, dropout_inputs=dropout_cell_inputs, dropout_states=dropout_states)
    model = LanguageModel(
        cell,
        num_classes,
        features,
        dropout_words=dropout_words,
        dropout_inputs=dropout_inputs,
        dropout_outputs=dropout_outputs,
    )
    model.notation = RecurrentNotation(num_nodes)  # type: ignore[assignment]
    return model
