"""Counts of how often each candidate was trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from onepath.nn import ChoiceBlock


class CandidateCounts:
    """Counts the passes with gradients through every candidate of every choice block.

    Only candidates that run are counted, whatever the sampler planned: a candidate in a block that depth cuts off, or
    inside another candidate that is not active, is not trained. Each part of a `GhostBatches` is a pass.

    Attributes:
        by_block: path of the block -> name of the candidate -> number of passes.
    """

    def __init__(self) -> None:
        self.by_block: dict[str, dict[str, int]] = {}

    @contextlib.contextmanager
    def watch(self, module: nn.Module) -> Iterator[None]:
        """Add the passes through the choice blocks of `module` inside; passes without gradients are not counted."""

        def count(block: ChoiceBlock, *_: Any) -> None:
            if torch.is_grad_enabled():
                counts = self.by_block[block.path]
                for index in block.gate().active:
                    counts[block.gate_names[index]] += 1

        blocks = [block for block in module.modules() if isinstance(block, ChoiceBlock)]
        for block in blocks:
            self.by_block.setdefault(block.path, dict.fromkeys(block.gate_names, 0))
        handles = [block.register_forward_hook(count) for block in blocks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def state_dict(self) -> dict[str, dict[str, int]]:
        """Return a copy of `by_block`."""
        return {path: dict(counts) for path, counts in self.by_block.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Replace the counts by a copy of those that `state_dict` returned."""
        self.by_block = {path: dict(counts) for path, counts in state.items()}
