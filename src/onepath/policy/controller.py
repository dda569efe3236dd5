"""An LSTM that makes the choices of an architecture one after the other.

Source: Zoph and Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017 (arXiv 1611.01578);
for the temperature and the bound on the logits, the released code of Pham et al., "Efficient Neural Architecture
Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268). Differs from them: every choice has outputs of
its own, so that the controller serves any declared space; the layer of the outputs begins at zero, so that the first
architectures are drawn uniformly; an inactive choice takes no step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.errors import ConfigurationError
from onepath.space.conditions import Matrix
from onepath.space.search_space import SearchSpace

_BOUND = 0.1  # of the uniform initial weights


class Walked(NamedTuple):
    """What a controller says about architectures.

    Attributes:
        log_probabilities: (rows,) logarithm of the probability that the controller makes these choices.
        entropies: (rows,) sum, over the steps taken, of the entropy of each step's distribution, in nats.
        divergences: (rows,) sum, over the steps with targets, of the Kullback-Leibler divergence of the distribution
            from its targets, in nats.
    """

    log_probabilities: Tensor
    entropies: Tensor
    divergences: Tensor


class Controller(nn.Module):
    """An LSTM with one step for each active choice, whose input is the option that was chosen before.

    Args:
        space: the space of the architectures.
        hidden: width of the LSTM and of the embedded options.
        temperature: divides the logits; above 1, choices are more random.
        tanh_bound: if given, the logits become `tanh_bound * tanh(logits)` after the division, which keeps every option
            possible: of two options, one is at most exp(2 * tanh_bound) times as probable as the other. A sequence has
            a bound for each choice.
        seed: seed of the initial weights.

    Attributes:
        bonus: (options,) constants that are added to the bounded logits, those of all choices one after another; zeros
            at first.
        targets: (options,) probabilities that the options of some choices should have; NaN for the others, and at
            first for all.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    bonus: Tensor
    targets: Tensor

    def __init__(
        self,
        space: SearchSpace,
        *,
        hidden: int = 64,
        temperature: float = 1.0,
        tanh_bound: float | Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        bounds = np.broadcast_to(math.inf if tanh_bound is None else tanh_bound, space.num_choices)
        rules = {
            "hidden >= 1": hidden >= 1,
            "temperature > 0": 0 < temperature < math.inf,
            "tanh_bound > 0": tanh_bound is None or bool(((bounds > 0) & (bounds < math.inf)).all()),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigurationError(
                    f"`{rule}` must hold, but got hidden={hidden}, temperature={temperature}, "
                    f"tanh_bound={tanh_bound}; change it"
                )
        self.space, self.temperature, self.bounds = space, temperature, bounds.tolist()
        counts = space.num_options.tolist()
        ends = np.cumsum(counts).tolist()
        self.options = [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]
        self.embedding = nn.Embedding(1 + ends[-1], hidden)  # the last token begins a walk
        self.cell = nn.LSTMCell(hidden, hidden)
        self.head = nn.Linear(hidden, ends[-1])  # each choice has its own slice
        self.register_buffer("bonus", torch.zeros(ends[-1]))
        self.register_buffer("targets", torch.full((ends[-1],), math.nan))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-_BOUND, _BOUND, generator=generator)
            for parameter in self.head.parameters():
                parameter.zero_()

    def settings(self) -> dict[str, Any]:
        """Return the settings that a checkpoint must agree on, as plain values."""
        return {
            "hidden": self.cell.hidden_size,
            "temperature": self.temperature,
            "bounds": self.bounds,
            "bonus": self.bonus.tolist(),
            "targets": [None if math.isnan(target) else target for target in self.targets.tolist()],
        }

    def sample(self, num: int, rng: np.random.Generator) -> Matrix:
        """Draw architectures from the policy.

        Args:
            num: number of rows.
            rng: generator of all random draws.

        Returns:
            (num, num_choices) canonical rows; the same architecture may come more than once.
        """

        def draw(_: int, log_probabilities: Tensor) -> Tensor:
            reached = log_probabilities.exp().cumsum(1)[:, :-1]
            uniform = torch.from_numpy(rng.random((num, 1), dtype=np.float32))
            return (uniform >= reached).sum(1)

        with torch.no_grad():
            return self._walk(num, draw)[0]

    def forward(self, matrix: Matrix) -> Walked:
        """Return the log-probabilities and entropies of architectures, differentiable.

        Args:
            matrix: (rows, num_choices) canonical option indices.
        """
        taken = torch.from_numpy(np.asarray(matrix, dtype=np.int64))
        return self._walk(len(taken), lambda column, _: taken[:, column])[1]

    def _walk(self, num: int, decide: Callable[[int, Tensor], Tensor]) -> tuple[Matrix, Walked]:
        """Make all choices in the order of the space.

        Args:
            num: number of architectures made at the same time.
            decide: function from a column and (num, options) log-probabilities to the (num,) options taken.
        """
        rows = np.zeros((num, self.space.num_choices), dtype=self.space.dtype)
        tokens = torch.full((num,), self.embedding.num_embeddings - 1)
        hidden = memory = torch.zeros(num, self.cell.hidden_size)
        log_probabilities = entropies = divergences = torch.zeros(num)
        for column, options in enumerate(self.options):
            new_hidden, new_memory = self.cell(self.embedding(tokens), (hidden, memory))
            logits = functional.linear(new_hidden, self.head.weight[options], self.head.bias[options])
            logits = logits / self.temperature
            if math.isfinite(self.bounds[column]):
                logits = self.bounds[column] * torch.tanh(logits)
            logs = torch.log_softmax(logits + self.bonus[options], dim=1)
            taken = decide(column, logs)
            # Whether a choice is active depends on earlier columns alone, which are made already.
            active = torch.from_numpy(np.ascontiguousarray(self.space.active(rows)[:, column]))
            rows[:, column] = torch.where(active, taken, 0).numpy()
            tokens = torch.where(active, options.start + taken, tokens)
            hidden = torch.where(active[:, None], new_hidden, hidden)
            memory = torch.where(active[:, None], new_memory, memory)
            step = logs.gather(1, taken[:, None])[:, 0]
            log_probabilities = log_probabilities + torch.where(active, step, 0.0)
            entropies = entropies + torch.where(active, -(logs.exp() * logs).sum(1), 0.0)
            targets = self.targets[options]
            if not targets.isnan().any():
                divergence = (logs.exp() * (logs - targets.log())).sum(1)
                divergences = divergences + torch.where(active, divergence, 0.0)
        return rows, Walked(log_probabilities, entropies, divergences)
