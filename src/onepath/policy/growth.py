"""A controller that makes an architecture larger: wider and deeper actors over one encoding.

Source: Cai et al., "Efficient Architecture Search by Network Transformation", AAAI 2018 (arXiv 1707.04873),
and its released code: a bidirectional LSTM of width 50 reads the
architecture as a sequence of tokens of width 16; actors read its outputs. Differs from them: the sequence has a token
for each choice of a size or a depth in any declared space; each actor decides in one step by how many options its
choice rises, where the paper's actors act several times, one layer at a time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.policy.controller import Walked
from onepath.space.conditions import Matrix
from onepath.space.search_space import SearchSpace

EMBEDDED, HIDDEN = 16, 50
ACTORS = ("size", "depth")


class GrowthController(nn.Module):
    """Decides by how many options each size and depth of a parent rises; all other choices stay.

    Args:
        space: a space with sizes or depths, whose options rise.
        most_steps: largest number of options by which a choice rises at once.
        seed: seed of the initial weights.

    Attributes:
        columns: columns of the choices that grow.
        parent: (num_choices,) the architecture that grows; at first the smallest one.

    Raises:
        ConfigurationError: no choice of the space can grow, or `most_steps` is below 1.
    """

    def __init__(self, space: SearchSpace, *, most_steps: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.space, self.most_steps = space, most_steps
        self.columns = growing_columns(space)
        if most_steps < 1:
            raise ConfigurationError(f"`most_steps >= 1` must hold, but got {most_steps}; raise it")
        self.parent = np.zeros(space.num_choices, dtype=space.dtype)
        counts = [int(space.num_options[column]) for column in self.columns]
        self._first_tokens = torch.tensor(np.cumsum([0, *counts[:-1]]))
        self._last_options = torch.tensor(counts) - 1
        self._roles = [ACTORS.index(space.choices[column].role) for column in self.columns]
        self.embedding = nn.Embedding(sum(counts), EMBEDDED)
        self.encoder = nn.LSTM(EMBEDDED, HIDDEN, bidirectional=True, batch_first=True)
        self.actors = nn.ModuleList(nn.Linear(2 * HIDDEN, 1 + most_steps) for _ in ACTORS)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.1, 0.1, generator=generator)

    def sample(self, num: int, rng: np.random.Generator) -> Matrix:
        """Draw (num, num_choices) children of the parent; some may equal it."""
        with torch.no_grad():
            reached = self._logs().exp().cumsum(1)[None, :, :-1]
        uniform = torch.from_numpy(rng.random((num, len(self.columns), 1), dtype=np.float32))
        return self.child((uniform >= reached).sum(2).numpy())

    def child(self, steps: Matrix) -> Matrix:
        """Return the children in which each growing choice of the parent has risen by so many options.

        Args:
            steps: (rows, growing choices) numbers of options.
        """
        rows = np.repeat(self.parent[None], len(steps), axis=0)
        rows[:, self.columns] = np.minimum(
            rows[:, self.columns].astype(np.int64) + steps, self._last_options.numpy()
        )
        return self.space.canonical(rows)

    def forward(self, matrix: Matrix) -> Walked:
        """Return the log-probabilities of children of the parent, and their entropy, differentiable.

        Args:
            matrix: (rows, num_choices) children that `sample` drew.
        """
        logs = self._logs()
        rises = matrix[:, self.columns].astype(np.int64) - self.parent[self.columns].astype(np.int64)
        steps = torch.from_numpy(rises).clamp(0, self.most_steps)
        log_probabilities = logs.expand(len(steps), -1, -1).gather(2, steps[:, :, None])[:, :, 0].sum(1)
        entropy = -(logs.exp() * torch.where(logs.isinf(), 0.0, logs)).sum()
        return Walked(log_probabilities, entropy.expand(len(steps)), torch.zeros(len(steps)))

    def _logs(self) -> Tensor:
        """Return (growing choices, 1 + most_steps) log-probabilities of the rises of the parent's choices."""
        options = torch.from_numpy(self.parent[self.columns].astype(np.int64))
        encoded, _ = self.encoder(self.embedding(self._first_tokens + options)[None])
        logits = torch.stack([self.actors[role](encoded[0, place]) for place, role in enumerate(self._roles)])
        is_open = torch.arange(1 + self.most_steps)[None] <= (self._last_options - options)[:, None]
        return torch.log_softmax(torch.where(is_open, logits, -torch.inf), dim=1)


def growing_columns(space: SearchSpace) -> list[int]:
    """Return the columns of the choices of sizes and depths with several options.

    Raises:
        ConfigurationError: there are none, or the options of one do not rise.
    """
    columns = [
        column
        for column, choice in enumerate(space.choices)
        if choice.role in ACTORS and len(choice.options) > 1
    ]
    if not columns:
        raise ConfigurationError(
            "an architecture grows by its sizes and depths, but the space has no choice of these; take the space eas, "
            "or one with elastic layers"
        )
    for column in columns:
        options = space.choices[column].options
        if list(options) != sorted(options):
            raise ConfigurationError(
                f"an architecture grows from option to option, but those of {space.names[column]!r} do not rise: "
                f"{list(options)}; sort them"
            )
    return columns


def random_rises(space: SearchSpace, parents: Matrix, most_steps: int, rng: np.random.Generator) -> Matrix:
    """Return children of parents, (rows, num_choices): each growing choice rises by 0 ... `most_steps` options.

    Args:
        space: the space.
        parents: (rows, num_choices) architectures; not changed.
        most_steps: largest rise of a choice.
        rng: generator of the draws.
    """
    columns = growing_columns(space)
    rises = rng.integers(0, most_steps + 1, (len(parents), len(columns)))
    children = parents.copy()
    last = space.num_options[columns] - 1
    children[:, columns] = np.minimum(children[:, columns].astype(np.int64) + rises, last)
    return space.canonical(children)
