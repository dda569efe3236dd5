"""Residual blocks that can be left out: if a block is skipped, its input is passed on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from onepath.conversion.trace import Call, Trace
from onepath.conversion.units import Units


def removable_runs(trace: Trace, model: nn.Module, calls: Sequence[Call]) -> list[tuple[str, list[str]]]:
    """Return runs of consecutive residual blocks, each of which can be left out.

    A block has one input and one output, of the same shape and the same channels. It adds its input, or the input after
    operations that only change its shape or work value by value, to something that it computes with weights. It is
    called once and lies in an `nn.Sequential` or an `nn.ModuleList`. Of nested residual blocks the innermost count.

    Args:
        trace: the trace of the network after its pass in evaluation mode.
        model: the traced network.
        calls: the calls of modules in that pass.

    Returns:
        For each run the path of the module that holds its blocks, and the paths of the blocks in the order of their
        calls.
    """
    num_calls: dict[str, int] = {}
    for call in calls:
        num_calls[call.path] = num_calls.get(call.path, 0) + 1
    found = [call for call in calls if num_calls[call.path] == 1 and call.path and _is_residual(trace, call)]
    paths = {call.path for call in found}
    inner = [call for call in found if not any(path.startswith(f"{call.path}.") for path in paths)]
    modules = dict(model.named_modules())
    blocks = [
        call for call in inner if isinstance(_parent(modules, call.path), nn.Sequential | nn.ModuleList)
    ]
    runs: list[list[Call]] = []
    for call in sorted(blocks, key=lambda call: call.first):
        last = runs[-1][-1] if runs else None
        if last is not None and last.outputs == call.inputs and _holder(last.path) == _holder(call.path):
            runs[-1].append(call)
        else:
            runs.append([call])
    return [(_holder(run[0].path), [call.path for call in run]) for run in runs]


def depths_of(num: int) -> tuple[int, ...]:
    """Return how many of `num` blocks an architecture may keep, ascending: from half of them, rounded down, to all."""
    return tuple(range(num // 2, num + 1))


def _is_residual(trace: Trace, call: Call) -> bool:
    """Whether a call adds its input to something that it computes with weights, and returns the same channels."""
    if not call.is_plain:
        return False
    handed = {call.inputs[0]}
    is_added = has_weights = False
    for operation in trace.operations[call.first : call.last]:
        has_weights = has_weights or operation.macs > 0
        entering = [tensor in handed for tensor in operation.inputs]
        if operation.kind == "add" and any(entering):
            is_added = is_added or not all(entering)
            handed.update(operation.outputs)
        elif operation.kind in ("shape", "pointwise") and entering and entering[0]:
            handed.update(operation.outputs)
    return is_added and has_weights and call.outputs[0] in handed and _same_channels(trace.units, trace, call)


def _same_channels(units: Units, trace: Trace, call: Call) -> bool:
    before, after = trace.labels.get(call.inputs[0]), trace.labels.get(call.outputs[0])
    if before is None or after is None or before.shape != after.shape:
        return before is None and after is None
    return bool((units.roots(before) == units.roots(after)).all())


def _parent(modules: dict[str, nn.Module], path: str) -> nn.Module:
    return modules[_holder(path)]


def _holder(path: str) -> str:
    return path.rpartition(".")[0]
