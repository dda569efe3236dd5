"""Block-wise distillation: each block learns the outputs of the same block of a teacher, on the teacher's inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.hooks import RemovableHandle

from onepath.nn.alignment import widest_path
from onepath.tree import Tree, call, tensors

if TYPE_CHECKING:
    from onepath.data import Task
    from onepath.nn import Supernet

_ONE_CALL = 2  # records: what it was called with, and what it returned


class BlockDistillation:
    """An `Objective` in which every block of a supernet is trained by itself to repeat what the teacher's block makes.

    The teacher is a copy of the supernet's largest network at construction, in eval mode. In each update it runs first.
    The blocks then get the teacher's inputs, and everything after a block gets the teacher's outputs; so no gradient
    leaves a block, and parameters outside the blocks are not trained. The loss of a block with outputs c and the
    teacher's outputs p is MSE(c, p) / MSE(p, 0). The loss of an update is their sum; lower is better. An update
    trains one path. A block that does not run exactly once, or does not return one tensor, is not trained.

    Args:
        supernet: the supernet with the weights of the teacher.
        blocks: paths of the blocks in `supernet.module`, none inside another.

    Source: Bercovich et al., "Puzzle" (arXiv 2411.19146), section on block-wise local distillation. Differs from it:
    the variants of a block share their weights, and one of them is trained per update.
    """

    def __init__(self, supernet: Supernet, blocks: Iterable[str]) -> None:
        self._module, self._blocks = supernet.module, tuple(blocks)
        self._teacher = copy.deepcopy(supernet).eval().requires_grad_(False)
        self._teacher.activate(widest_path(self._teacher))
        self._handles: list[RemovableHandle] = []
        self._losses: list[Tensor] = []

    def begin(
        self, forward: Callable[..., Any], inputs: Tree, targets: Tree, rng: np.random.Generator
    ) -> None:
        """Run the teacher on the update's batch, and prepare the blocks for the pass after it; see `SeesBatch`."""
        del forward, targets, rng
        device = next((tensor.device for tensor in tensors(inputs)), torch.device("cpu"))
        seen: dict[str, list[Any]] = {name: [] for name in self._blocks}
        handles = []
        for name, record in seen.items():
            block = self._teacher.module.get_submodule(name)
            handles += [
                block.register_forward_pre_hook(_recording(record), with_kwargs=True),
                block.register_forward_hook(_recording(record)),
            ]
        try:
            with torch.no_grad():
                call(self._teacher.to(device), inputs)
        finally:
            for handle in handles:
                handle.remove()
        self.release()
        for name, record in seen.items():
            if len(record) == _ONE_CALL and isinstance(record[1][-1], Tensor):
                (arguments, named), (_, taught) = record
                self._lead(self._module.get_submodule(name), arguments, named, taught)

    def __call__(self, outputs: Sequence[Any], targets: Any, task: Task) -> Tensor:
        """Return the sum of the losses of the blocks that ran in the pass, a scalar; see `Objective`."""
        del targets, task
        losses = self._losses
        self.release()
        if not losses:
            return sum((part.sum() * 0 for part in tensors(outputs[-1])), torch.zeros(()))
        return torch.stack(losses).sum()

    def release(self) -> None:
        """Let the blocks run as they are again."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._losses = [], []

    def _lead(self, block: nn.Module, arguments: Any, named: Any, taught: Tensor) -> None:
        """Give a block the teacher's inputs in its next pass, note its loss, and pass on the teacher's outputs."""
        scale = taught.float().square().mean().clamp_min(1e-12)
        losses = self._losses

        def before(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
            del module, args, kwargs
            return arguments, named

        def after(module: nn.Module, args: Any, outputs: Any) -> Tensor:
            del module, args
            losses.append((outputs.float() - taught.float()).square().mean() / scale)
            return taught.clone()

        self._handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
        self._handles.append(block.register_forward_hook(after))


def _recording(record: list[Any]) -> Callable[..., None]:
    """Return a hook that keeps what a module is called with or returns, as it is now: code may change it in place."""

    def keep(module: nn.Module, *values: Any) -> None:
        del module
        record.append(tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, values))

    return keep
