"""A block of alternative modules; an architecture takes one of them."""

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
    """A choice between candidate modules; the output is the gated sum of the active ones, and only they are computed.

    Args:
        candidates: name -> module, at least one; a sequence names them "0", "1", ... All take the same inputs and
            return the same shape. If a method runs one candidate at a time, they may return different shapes, each of
            which the following module accepts.
        choice: a `Choice` whose options are the candidates' names in their order; several blocks share one decision if
            they get the same choice. By default the supernet makes a choice and names it by the block's module path.
        none: module that computes zeros of the candidates' output shape. A gate can take it as one more candidate after
            the others, but no architecture does. It is for spaces whose search weighs "no operation" although their
            networks do not contain it.

    Attributes:
        names: names of the candidates in their order.
        gate_names: names of the candidates that a gate can take: `names`, followed by "none" if `none` is given.
        candidates: the candidates in the same order.
        choice: the choice between the candidates; None until a supernet makes it.

    Shapes: those of the candidates.

    Raises:
        BindingError: there is no candidate, or the options of the choice are not the candidates' names.
        SpaceError: at run time, no option is active yet, or a candidate changes an input in place that others read too.
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
        """Return the choice between the candidates; empty before a supernet has made it."""
        return () if self.choice is None else (self.choice,)

    def gate(self) -> Gate:
        """Return the active gate; an active option becomes a gate with its one candidate.

        Raises:
            SpaceError: neither a gate nor an option is active.
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
        """Return the sum of the active candidates' outputs, each times its weight; every candidate gets all inputs.

        Raises:
            SpaceError: nothing is active, or the gate has an estimator and there is more than one input.
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
        """Run one candidate on inputs that other candidates read too, and return its output.

        Args:
            index: index of the candidate in a gate.
            inputs: inputs of the block.
            named: inputs of the block that are passed by name.

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
        """Return the candidate with this index in a gate; the index after the last candidate is that of `none`."""
        if index == len(self.names) and self.none is not None:
            return self.none
        found: nn.Module = self.candidates[index]
        return found

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return the one active candidate itself, not a copy.

        Raises:
            SpaceError: nothing or more than one candidate is active.
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
