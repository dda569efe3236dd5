"""Running a network before and after it becomes elastic, to check that it still computes the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from onepath.conversion.adaptations import Adaptations
from onepath.conversion.running import run, same_shapes, same_values
from onepath.conversion.tracing import does_not_run
from onepath.conversion.trial import adapted, smallest
from onepath.errors import ConfigurationError, ShapeError
from onepath.nn.extraction import extract_module
from onepath.space import Choice, Option


class Whole:
    """What a network computes before it becomes elastic.

    Args:
        model: the network, in evaluation mode.
        inputs: positional arguments.

    Raises:
        ConfigurationError: the network does not run with these inputs.

    Attributes:
        outputs: the tensors that it returns.
        is_steady: whether a second run returns the same; a network that draws random numbers does not.
    """

    def __init__(self, model: nn.Module, inputs: Sequence[Any]) -> None:
        self.inputs = inputs
        try:
            self.outputs = run(model, inputs)
        except ConfigurationError:
            raise
        except Exception as error:
            raise does_not_run(model, error) from error
        self.is_steady = same_values(self.outputs, run(model, inputs, seed=1))

    def check(self, model: nn.Module, doing: str) -> None:
        """Raise unless a network computes the same.

        Args:
            model: the network, changed.
            doing: what was done to it, for the message.

        Raises:
            ShapeError: it computes something else.
        """
        after = run(model, self.inputs)
        agree = same_values if self.is_steady else same_shapes
        if not agree(self.outputs, after):
            raise ShapeError(
                f"{doing} must not change what a model computes, but it did; pin the part that mixes channels, or asks "
                "for exact types, in a way of its own"
            )

    def drop_failing(self, model: nn.Module, adaptations: Adaptations) -> None:
        """Leave depths and kernels as they are if the network fails without the blocks, or with the small kernels."""
        choices = {choice: None for choice, _ in adaptations.presences.values()}
        choices |= dict.fromkeys(adaptations.kernels.values())
        if self._fits(model, adaptations, list(choices)):
            return
        kept: list[Choice] = []
        for choice in choices:
            if self._fits(model, adaptations, [*kept, choice]):
                kept.append(choice)
            else:
                adaptations.leave(choice)

    def _fits(self, model: nn.Module, adaptations: Adaptations, smallest_of: Sequence[Choice]) -> bool:
        """Whether networks with the smallest options of these choices run, and compute what the elastic one does.

        The sizes of channels are tried both whole and at their smallest.
        """
        options: Mapping[Choice, Option] = {choice: min(choice.options) for choice in smallest_of}
        return all(
            self._runs(model, adaptations, {**options, **sizes}) for sizes in ({}, smallest(adaptations))
        )

    def _runs(self, model: nn.Module, adaptations: Adaptations, options: Mapping[Choice, Option]) -> bool:
        with adapted(model, adaptations) as selection:
            selection.options.update(options)
            try:
                elastic = run(model, self.inputs)
                plain = run(extract_module(model, inherit=True).eval(), self.inputs)
            except Exception:  # noqa: BLE001 - whatever the network's own code raises, this cannot be left out
                return False
        agree = same_values if self.is_steady else same_shapes
        return same_shapes(self.outputs, plain) and agree(elastic, plain)
