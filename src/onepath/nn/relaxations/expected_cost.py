"""The expected cost of an architecture drawn from a relaxation: a differentiable number."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from onepath.counting import CostTable
from onepath.counting.joint_terms import joint_terms
from onepath.errors import ConfigurationError
from onepath.nn.relaxations.relaxation import Relaxation


class ExpectedCost:
    """The expected cost E = constant + sum over the terms of a cost table of sum over joint options of p * cost.

    Here p is the probability of the joint option. Choices are independent. A choice with logits takes an option with
    its softmax probability (a block's `none` costs nothing). A choice without logits, such as a set of edges, takes
    every option with equal probability. A term counts only if all its choices are active.

    Args:
        relaxation: the logits that give the probabilities.
        table: additive cost of the architectures in the relaxation's space.

    Raises:
        ConfigurationError: the table has no term; or a term, together with the choices that decide whether it counts,
            has more than 65,536 joint options.

    Source: Cai, Zhu and Han, ProxylessNAS (arXiv 1812.00332), equation 5, whose gradient is
    dE/da_j = p_j * (cost_j - E) for a single choice. Differs from it: terms over several choices, and conditions.
    """

    def __init__(self, relaxation: Relaxation, table: CostTable) -> None:
        self.relaxation = relaxation
        self.constant = float(table.constant)
        if not table.terms:
            raise ConfigurationError(
                "an expected cost needs a table with a term, but got a constant alone; count what the choices change"
            )
        self._terms = [
            (columns, costs.astype(np.float64)) for columns, costs in joint_terms(relaxation.space, table)
        ]

    @property
    def fingerprint(self) -> str:
        """Hex digest of the constant and of the costs of all terms."""
        digest = hashlib.sha256(repr(self.constant).encode())
        for columns, costs in self._terms:
            digest.update(repr((columns, costs.shape)).encode() + np.ascontiguousarray(costs).tobytes())
        return digest.hexdigest()

    def __call__(self, probabilities: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the expected cost in the table's unit, a differentiable float32 scalar.

        Args:
            probabilities: differentiable choice -> probabilities (candidates,), in place of the relaxation's own. With
                probability 1 for one candidate per choice, the result is the cost of that architecture, averaged over
                its choices without logits.
        """
        space = self.relaxation.space
        given = self.relaxation.probabilities() if probabilities is None else probabilities
        total: Tensor | float = self.constant
        for columns, costs in self._terms:
            values = None
            for column in reversed(columns):
                choice = space.choices[column]
                p = given.get(choice.name)
                if values is None:
                    device = next(iter(given.values())).device
                    values = torch.as_tensor(costs, dtype=torch.float32, device=device)
                values = values.mean(-1) if p is None else values @ p[: choice.num_options]
            assert values is not None
            total = total + values
        assert isinstance(total, Tensor)
        return total
