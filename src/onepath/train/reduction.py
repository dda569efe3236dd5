"""Reduction of the gradients that one parameter gets from several paths: their sum or their mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["sum", "mean"]


class GradientCounter:
    """A context that counts the backward passes that reach each parameter, so that a sum can become a mean.

    Args:
        parameters: the parameters to count for; those that do not require a gradient are left out.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self._num: Counter[Tensor] = Counter()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> None:
        self._num.clear()
        self._handles = [
            p.register_post_accumulate_grad_hook(self._count)  # type: ignore[no-untyped-call]
            for p in self._parameters
        ]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _count(self, parameter: Tensor) -> None:
        self._num[parameter] += 1

    def join(self, reduction: Reduction) -> None:
        """Leave the summed gradients as they are, or turn them into means in place; then count from 0 again.

        Args:
            reduction: "mean" divides each gradient by the number of passes that reached its parameter.
        """
        if reduction == "mean":
            for parameter, num in self._num.items():
                if num > 1 and parameter.grad is not None:
                    parameter.grad /= num
        self._num.clear()
