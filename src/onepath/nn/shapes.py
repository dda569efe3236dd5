"""Dry passes that check whether all candidates accept their inputs and return the shapes that the next modules need.

In one pass, every candidate of every choice block runs once, on the input that the block gets along the active path.
Nested blocks do the same, so the work grows with the number of candidates and not with the number of paths.

Shapes may also depend on sizes that are choices, or on a choice that several layers share. For these, a few passes over
all candidates use different options, and passes along single paths use the remaining options. In some of the latter,
one choice alone has its last option and all others have their first, so that two choices that must agree are detected.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onepath.errors import ShapeError, UserError
from onepath.nn.carried import carried_states
from onepath.nn.choice_block import ChoiceBlock
from onepath.nn.depth import ElasticDepth
from onepath.nn.edge_sum import EdgeSum
from onepath.nn.failures import described, explained, place_of
from onepath.nn.selection import has_choices
from onepath.nn.supernet import Supernet, bound_selection
from onepath.space import Choice, Option
from onepath.tree import Tree, call

_NUM_FULL = (
    4  # passes over all candidates with other sizes, so that sizes that must agree meet different options
)
_MOST_OPTIONS = 32


def dry_passes(supernet: Supernet, inputs: Tree, *, adds: bool) -> Iterator[Any]:
    """Run every candidate and the options of every choice of a supernet, and yield the outputs.

    Args:
        supernet: a copy that is not used afterwards, because its modules are changed.
        inputs: a batch, on the supernet's device.
        adds: whether the method adds the outputs of candidates, which must then have one shape. Otherwise the
            candidates of a block may return different shapes, each of which the next module accepts.

    Yields:
        The output of each pass. All passes are in training mode except the last one, which runs one path in evaluation
        mode.

    Raises:
        ShapeError: a candidate does not accept the input of its block; edges, or candidates that are added, return
            different shapes; or the next module does not accept an output. The message names the module and the shapes.
    """
    supernet.train()
    for state in carried_states(supernet):
        state.forget()
    watch = _Watch(supernet, adds)
    varying = watch.varying()
    rng = np.random.default_rng(0)
    orders = {choice: _some_options(choice, rng) for choice in watch.first}
    num = max((len(orders[choice]) for choice in varying), default=0)
    yield watch.run(inputs, {})
    for number in range(_NUM_FULL if varying else 0):
        yield watch.run(inputs, {choice: orders[choice][number % len(orders[choice])] for choice in varying})
    for choice in list(watch.differing):
        for option in choice.options[1:]:
            yield watch.run(inputs, {choice: option})
    watch.release()
    for choice in varying[:_MOST_OPTIONS]:
        yield watch.run(inputs, {choice: choice.options[-1]})
    for number in range(_NUM_FULL, num):
        yield watch.run(inputs, {choice: order[number % len(order)] for choice, order in orders.items()})
    supernet.eval()
    yield watch.run(inputs, {})


def _some_options(choice: Choice, rng: np.random.Generator) -> list[Option]:
    """Return the options in random order; of more than 32 options, 32 that are spread from the first to the last."""
    places = (
        np.linspace(0, choice.num_options - 1, min(choice.num_options, _MOST_OPTIONS)).round().astype(int)
    )
    return [choice.options[place] for place in rng.permutation(places)]


class _Watch:
    """Changes the modules of a supernet so that they run all their candidates, and compares what these return."""

    def __init__(self, supernet: Supernet, adds: bool) -> None:
        self.root, self.adds = supernet.module, adds
        self.options = bound_selection(supernet).options
        bound_selection(supernet).gates.clear()
        self.first = {choice: choice.options[0] for choice in supernet.space.choices}
        modules = [module for module in self.root.modules() if has_choices(module)]
        self.readers = Counter(choice for module in modules for choice in module.own_choices())
        self.tried: set[Choice] = set()
        self.differing: dict[Choice, str] = {}  # choice -> the shapes that its candidates return
        for module in self.root.modules():
            forward: Callable[..., Any] | None = None
            if isinstance(module, ChoiceBlock):
                forward = functools.partial(self.block, module)
                self.note(module.choice)
            elif isinstance(module, EdgeSum):
                forward = functools.partial(self.edges, module)
                self.note(module.choice)
            elif isinstance(module, ElasticDepth) and isinstance(module.depth, Choice):
                forward = functools.partial(self.depth, module)
                self.note(module.depth)
            if forward is not None:
                module.__dict__["forward"] = forward

    def release(self) -> None:
        """Restore the modules, so that they run one path again."""
        for module in self.root.modules():
            if has_choices(module):
                module.__dict__.pop("forward", None)

    def note(self, choice: Choice | None) -> None:
        """Note a choice whose module runs all of its options in every pass."""
        if choice is not None and (self.adds or self.readers[choice] == 1):
            self.tried.add(choice)

    def varying(self) -> list[Choice]:
        """Return the choices whose options need passes of their own."""
        return [choice for choice in self.first if choice not in self.tried and choice.num_options > 1]

    def run(self, inputs: Tree, options: dict[Choice, Option]) -> Any:
        """Run one pass; a choice has its option in `options`, else its first option."""
        self.options.clear()
        self.options.update({**self.first, **options})
        try:
            return call(self.root, inputs)
        except UserError:
            raise
        except Exception as error:
            raise self.explained(error) from error

    def explained(self, error: Exception) -> ShapeError:
        """Return the one-line error of the network, with the candidates that return different shapes."""
        found = explained(error, self.root)
        if not self.differing:
            return found
        return ShapeError(f"{found}. {self.differences()}")

    def differences(self) -> str:
        """Return in words the candidates found so far that return different shapes."""
        return f"Shapes differ: {'; '.join(self.differing.values())}"

    def block(self, block: ChoiceBlock, *inputs: Any, **named: Any) -> Any:
        """Run every candidate of a block, and return the output of the active one."""
        assert block.choice is not None
        active = block.choice.index(self.options[block.choice])
        names = block.gate_names if self.adds else block.names
        indices = range(len(names)) if block.choice in self.tried else (active,)
        outputs = {index: self.candidate(block, index, *inputs, **named) for index in indices}
        shapes = {f"candidate {names[index]!r}": output for index, output in outputs.items()}
        if self.adds:
            self.check_sum(block.path, shapes, inputs, "this method adds the outputs of candidates")
        self.compare(block.path, block.choice, shapes)
        return outputs[active]

    def candidate(self, block: ChoiceBlock, index: int, *inputs: Any, **named: Any) -> Any:
        try:
            if self.adds:
                return block.run(index, *inputs, **named)
            return block.candidate(index)(*inputs, **named)
        except UserError:
            raise
        except Exception as error:
            place = place_of(error, self.root)
            cause = explained(error, self.root)
            where = "" if place.path == block.path else f"; {cause}"
            raise ShapeError(
                f"{block.path or 'root'}: every candidate must accept the block's input, but candidate "
                f"{block.gate_names[index]!r} does not accept {described(inputs)}{where}"
                + (f". {self.differences()}" if self.differing else "")
            ) from error

    def edges(self, node: EdgeSum, states: Any) -> Tensor:
        """Run every edge of a node, and return the sum of the kept ones."""
        outputs = [edge(state) for edge, state in zip(node.edges, states, strict=True)]
        shapes = {f"edge {index}": output for index, output in enumerate(outputs)}
        self.check_sum(node.path, shapes, states, "a node adds its edges")
        return torch.stack([outputs[index] for index in node._kept()]).sum(0)

    def depth(self, module: ElasticDepth, x: Any) -> Any:
        """Run all blocks if no other layer reads the depth, and return the output of the active depth."""
        assert isinstance(module.depth, Choice)
        active = module.active_depth()
        last = len(module.blocks) if module.depth in self.tried else active
        outputs = [x]
        for block in list(module.blocks)[:last]:
            outputs.append(block(outputs[-1]))
        depths = [int(depth) for depth in module.depth.options if int(depth) < len(outputs)]
        self.compare(module.path, module.depth, {f"depth {depth}": outputs[depth] for depth in depths})
        return outputs[active]

    def compare(self, path: str, choice: Choice, outputs: dict[str, Any]) -> None:
        """Note the choice if its options return different shapes."""
        words = {name: described(output) for name, output in outputs.items()}
        if len(set(words.values())) > 1:
            returned = ", ".join(f"{name} returns {word}" for name, word in words.items())
            self.differing[choice] = f"in {path or 'root'} {returned}"

    def check_sum(self, path: str, outputs: dict[str, Any], inputs: Any, why: str) -> None:
        """Raise if outputs cannot be added, or if they would be broadcast."""
        (first, expected), *others = outputs.items()
        for name, output in [(first, expected), *others]:
            if not isinstance(output, Tensor):
                raise ShapeError(
                    f"{path or 'root'}: every output must be one tensor, since {why}, but {name} returns "
                    f"{described(output)}; return one tensor, or use a method that runs one candidate (spos, fairnas)"
                )
            if output.shape != expected.shape:
                raise ShapeError(
                    f"{path or 'root'}: all outputs must have one shape, since {why}, but for an input of "
                    f"{described(inputs)} {first} returns {described(expected)} and {name} {described(output)}; make "
                    "them equal"
                )
