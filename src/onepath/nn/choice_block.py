"""Alternative modules, of which an architecture takes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import BindingError, SpaceError
from onepath.nn.gates import Gate
from onepath.nn.selection import Selection
from onepath.space import Choice


class ChoiceBlock(nn.Module):
    """The gated sum of its candidates; a candidate whose gate is not active is not computed.

    Args:
        candidates: name -> module, at least one; a sequence names them "0", "1", ... All take the same inputs
            and return the same shape; where a method runs one candidate at a time, they may return shapes that what
            follows accepts each.
        choice: a `Choice` whose options are the candidates' names in their order, to share one decision
            between several blocks. By default the supernet makes one and names it by the block's module path.
        none: computes zeros of the candidates' output shape. A gate can take it, as one more candidate after the
            others; no architecture does. For spaces whose search weighs "no operation" and whose networks have none.

    Attributes:
        names: the candidates' names in their order.
        gate_names: the same, and "none" where a gate can take it.

    Shapes: those of the candidates.

    Raises:
        BindingError: no candidate, or a choice whose options are not the candidates' names.
        SpaceError: at run time, no option is active yet, or a candidate changes in place what others read, too.
    """

    def __init__(
        self,
        candidates: Mapping[str, nn.Module] | Sequence[nn.Module],
        choice: Choice | None = None,
        none: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(candidates, Mapping):
            candidates = {str(index): module for index, module in enumerate(candidates)}
        if not candidates:
            raise BindingError(
                "ChoiceBlock: at least one candidate must be given, but got none; add candidates"
            )
        if choice is not None and tuple(choice.options) != tuple(candidates):
            raise BindingError(
                f"ChoiceBlock: the options of choice {choice.name!r} must be the candidates' names in their order "
                f"{list(candidates)}, but they are {list(choice.options)}; make them equal"
            )
        if choice is not None:
            choice.take_role("operation")
        self.names = tuple(candidates)
        self.candidates = nn.ModuleList(candidates.values())
        self.none = none
        self.gate_names = self.names if none is None else (*self.names, "none")
        self.path = ""
        self.selection = Selection()
        self.choice = choice
        self.has_own_choice = choice is None

    def own_choices(self) -> tuple[Choice, ...]:
        """The choice between the candidates."""
        return () if self.choice is None else (self.choice,)

    def gate(self) -> Gate:
        """The active gate.

        Raises:
            SpaceError: nothing is active.
        """
        if self.choice is not None:
            gate = self.selection.gates.get(self.choice)
            if gate is not None:
                return gate
            option = self.selection.options.get(self.choice)
            if option is not None:
                return Gate.single(self.choice.index(option))
        raise SpaceError(
            f"{self.path or 'ChoiceBlock'}: an architecture must be active before the block runs, but none is; "
            "put the module into a Supernet and call it with an architecture"
        )

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Sum of the active candidates' outputs, each times its weight; every candidate gets all the inputs.

        Raises:
            SpaceError: a gate whose estimator recomputes the candidates, for several inputs.
        """
        gate = self.gate()
        if len(gate.active) == 1 and gate.estimator is None:
            outputs = [self.candidate(gate.active[0])(*inputs, **named)]
        else:
            outputs = [self.run(index, *inputs, **named) for index in gate.active]
        if gate.weights is not None:
            outputs = [weight * output for weight, output in zip(gate.weights, outputs, strict=True)]
        total: Tensor = outputs[0]
        for output in outputs[1:]:
            total = total + output
        if gate.estimator is None:
            return total
        if len(inputs) != 1 or named:
            raise SpaceError(
                f"{self.path or 'ChoiceBlock'}: gates that learn from all candidates (method proxyless) need blocks of "
                f"one input, but got {len(inputs) + len(named)}; use gates='two-path', or another method"
            )
        return gate.estimator(self, inputs[0], total)

    def run(self, index: int, *inputs: Any, **named: Any) -> Tensor:
        """What a candidate, by its index in a gate, makes of inputs that are needed again.

        Raises:
            SpaceError: the candidate has changed an input in place.
        """
        tensors = [x for x in (*inputs, *named.values()) if isinstance(x, Tensor)]
        if torch.compiler.is_compiling() or any(x.is_inference() for x in tensors):  # without versions
            output: Tensor = self.candidate(index)(*inputs, **named)
            return output
        before = [x._version for x in tensors]
        output = self.candidate(index)(*inputs, **named)
        if [x._version for x in tensors] != before:
            raise SpaceError(
                f"{self.path or 'ChoiceBlock'}: a candidate must leave its input as it was, since others read it, but "
                f"{self.gate_names[index]!r} changes it in place; let it begin with inplace=False"
            )
        return output

    def candidate(self, index: int) -> nn.Module:
        """The candidate that a gate means by an index."""
        if index == len(self.names) and self.none is not None:
            return self.none
        found: nn.Module = self.candidates[index]
        return found

    def extracted(self, *, inherit: bool) -> nn.Module:
        """The one active candidate itself.

        Raises:
            SpaceError: several candidates are active.
        """
        del inherit
        gate = self.gate()
        if len(gate.active) != 1:
            raise SpaceError(
                f"{self.path}: exactly one candidate must be active to extract a network, but {len(gate.active)} are; "
                "extract an architecture"
            )
        candidate: nn.Module = self.candidates[gate.active[0]]
        return candidate
