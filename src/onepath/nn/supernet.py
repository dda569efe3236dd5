"""A module with choices in it, run one architecture at a time."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError, SpaceError, UserError
from onepath.nn.binding import bind
from onepath.nn.choice_block import ChoiceBlock
from onepath.nn.copying import whole_copy
from onepath.nn.extraction import extract_module
from onepath.nn.failures import explained
from onepath.nn.fresh import Buffers, first_buffers, reset_weights, restore_buffers
from onepath.nn.gates import Gate, Gated
from onepath.nn.paths import GatedPath, GhostBatches, Path
from onepath.nn.selection import Selection
from onepath.nn.weight_source import WeightSource
from onepath.space import Architecture


class Supernet(nn.Module):
    """Collects the choices of a module, runs its subnets on shared weights, and extracts stand-alone networks.

    The module is not copied: its parameters are the supernet's parameters. A choice block without a choice gets one
    that is named by the block's path in `module`.

    Args:
        module: any module with choice blocks or elastic layers in it; for another supernet, its module is used.
            If the module has an attribute `notation`, the search space also reads and writes architectures in the
            paper's own notation.

    Attributes:
        module: the module with the choices.
        space: the `SearchSpace`, with the choices in the order of the modules.
        conversion: the report of `onepath.convert` if it made the network elastic; else None.
        weights: what makes the weights of some layers for the path that runs, such as a `HyperNetwork`; None if all
            layers hold their weights.

    Raises:
        BindingError: the module has no choice, or choices that contradict each other; a module with choices is only
            held by a plain list or dict; or elastic layers share a parameter and differ in size. The message names the
            module's path.

    Example:
        >>> supernet = Supernet(nn.Sequential(ChoiceBlock({"relu": nn.ReLU(), "skip": nn.Identity()})))
        >>> supernet(torch.tensor([-1.0]), supernet.space.parse("0"))
        tensor([0.])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._first_buffers: Buffers
        if isinstance(module, Supernet):
            self.module: nn.Module = module.module
            self._first_buffers = module._first_buffers
        else:
            self.module = module
            self._first_buffers = first_buffers(module)
        self.space, self._selection = bind(self.module)
        self.conversion: Any = getattr(module, "conversion", None) if isinstance(module, Supernet) else None
        self.weights: WeightSource | None = module.weights if isinstance(module, Supernet) else None
        self._active: Architecture | None = None

    @property
    def shares_weights(self) -> bool:
        """Whether there are shared weights to train; False if the module has `shares_weights = False`."""
        return bool(getattr(self.module, "shares_weights", True))

    def take_weights_from(self, source: WeightSource) -> None:
        """Let a source make the weights of its layers from now on; the layers' own weights are deleted.

        A supernet that has such a source already keeps it, with what it has learned.

        Args:
            source: made for this supernet, for example by `HyperNetwork.smash`.

        Raises:
            ConfigurationError: the supernet has another source, or the source was made for another supernet.
        """
        if self.weights is not None and self.weights.settings() == source.settings():
            return
        if self.weights is not None:
            raise ConfigurationError(
                f"a supernet takes its weights from one source, but they come from {self.weights.settings()} and "
                f"{source.settings()} came; build the supernet anew"
            )
        own = dict(self.module.named_modules())
        if any(own.get(layer.path) is not layer.module for layer in source.layers):
            raise ConfigurationError(
                "a source makes the weights of the supernet that it was made for, but this is another one; make a "
                "source for it"
            )
        source.take_over()
        self.weights = source

    def hold_weights(self) -> None:
        """Let every layer hold its weight again; those that a source made are zeros, and the source is gone."""
        if self.weights is not None:
            self.weights.withdraw()
            self.weights = None

    def activate(self, path: Path) -> None:
        """Make a path the active one, along which later calls without a path run.

        Args:
            path: an architecture of this space; gates by choice name, which replace the single option at these choices
                until the next architecture is activated; or both as a `GatedPath`.

        Raises:
            SpaceError: the architecture is of another space; a gate does not fit a choice block or edge sum of its
                choice; or `path` is a `GhostBatches` of several paths.
        """
        if isinstance(path, GhostBatches):
            raise SpaceError(
                f"one path at a time can be active, but these are {len(path.paths)} for parts of a batch; "
                "call the supernet with them"
            )
        if isinstance(path, GatedPath):
            self.activate(path.architecture)
            path = path.gates
        if isinstance(path, Architecture):
            if path is self._active and not self._selection.gates:
                return
            if path.space is not self.space and path.space.fingerprint != self.space.fingerprint:
                raise SpaceError(
                    "the architecture must be of the supernet's own space, but it belongs to another one with "
                    f"{path.space.num_choices} choices; parse it with supernet.space"
                )
            self._selection.gates.clear()
            self._selection.options.update(
                (choice, choice.options[index])
                for choice, index in zip(self.space.choices, path.indices, strict=True)
            )
            self._active = path
            return
        gates = dict(path)
        gated = {
            module.choice.name: module
            for module in self.module.modules()
            if isinstance(module, Gated) and module.choice is not None
        }
        for name, gate in gates.items():
            if name not in gated or max(gate.active) >= len(gated[name].gate_names):
                raise SpaceError(
                    f"a gate must belong to a choice block and to its candidates, but {name!r} with active candidates "
                    f"{gate.active} does not; choices with blocks: {', '.join(gated)}"
                )
            choice = gated[name].choice
            assert choice is not None
            self._selection.gates[choice] = gate

    def forward(self, *inputs: Any, path: Path | None = None, **named: Any) -> Tensor:
        """Run the module along a path, and return its output; nothing outside the path is computed.

        Args:
            inputs: inputs of the module; if there are several, the last one may be the path.
            path: path to run, see `activate`; it stays active. `GhostBatches` run each part of the inputs along its own
                path, of which the last one stays active. None runs the active path.
            named: inputs of the module that are passed by name.

        Raises:
            SpaceError: there are no shared weights, or the path does not fit the space.
            ShapeError: a module does not accept its input; the message names the module's path.
        """
        if path is None and len(inputs) > 1 and _is_path(inputs[-1]):
            path, inputs = inputs[-1], inputs[:-1]
        if not self.shares_weights:
            raise self._without_weights("run")
        if isinstance(path, GhostBatches):
            num = min(len(path.paths), len(inputs[0]))
            parts = [torch.tensor_split(x, num) if isinstance(x, Tensor) else (x,) * num for x in inputs]
            return torch.cat(
                [
                    self.forward(*part, path=own, **named)
                    for *part, own in zip(*parts, path.paths[:num], strict=True)
                ]
            )
        if path is not None:
            self.activate(path)
        with contextlib.ExitStack() as placed:
            if self.weights is not None:
                placed.enter_context(self.weights.placed(self._sole_path()))
            return self._run(*inputs, **named)

    def _run(self, *inputs: Any, **named: Any) -> Tensor:
        try:
            output: Tensor = self.module(*inputs, **named)
        except UserError:
            raise
        except Exception as error:
            if type(error) not in (
                RuntimeError,
                ValueError,
                TypeError,
                IndexError,
            ):  # as of memory that is full
                raise
            raise explained(error, self.module) from error
        return output

    def _sole_path(self) -> Architecture:
        """Return the active architecture, for which weights are made.

        Raises:
            SpaceError: there is none, or gates are active.
        """
        if self._active is None or self._selection.gates:
            raise SpaceError(
                "weights are made for one architecture, but "
                f"{'none is active' if self._active is None else 'gates are active'}; call the supernet with an "
                "architecture"
            )
        return self._active

    def extract(self, architecture: Architecture, *, inherit: bool = True, seed: int | None = 0) -> nn.Module:
        """Return the stand-alone network of an architecture, made of plain torch layers.

        It shares no memory with the supernet, and the active path of the supernet stays as it is.

        Inherited statistics of batch normalisation are those of the supernet, which mix all paths: recalibrate them
        (`onepath.estimate.recalibrate_on_task`) before the network is used. The method `found.model()` of a search's
        result extracts and recalibrates.

        Args:
            architecture: architecture of this space.
            inherit: True: the network has the supernet's weights and statistics, and in evaluation mode equals the
                supernet in value. False: the network is ready to be trained from scratch: it has fresh weights, and
                scale and shift in the normalisations that only lack them in the supernet (`standalone_affine`).
            seed: seed of the fresh weights; the same seed gives the same weights. None leaves the values of the weights
                undefined, for callers who draw weights of their own.

        Returns:
            A module of the same class as the supernet's module, in the same mode and on the same device. Layers that
            share parameters in the supernet share them in it. Lists, dicts, bound methods, hooks and closures that hold
            modules of the supernet hold the network's own modules instead, see `Copier`. With fresh weights, buffers of
            modules that are not torch's own are as they were when the supernet was made.

        Raises:
            SpaceError: the architecture is of another space, or there are no weights to inherit.
            BindingError: a module cannot draw fresh weights for its own parameters, or holds other modules in a way
                that cannot be copied.
        """
        return self.extract_with_origins(architecture, inherit=inherit, seed=seed)[0]

    def extract_with_origins(
        self, architecture: Architecture, *, inherit: bool = True, seed: int | None = 0
    ) -> tuple[nn.Module, dict[nn.Module, str]]:
        """Extract a network as `extract` does; also return extracted module -> its path in the supernet."""
        if inherit and not self.shares_weights:
            raise self._without_weights("extract with inherited weights")
        previous = copy.copy(self._selection.__dict__), self._active
        self._selection.options, self._selection.gates = dict(self._selection.options), {}
        try:
            self.activate(architecture)
            origins: dict[nn.Module, str] = {}
            with contextlib.ExitStack() as placed:
                if self.weights is not None:
                    placed.enter_context(self.weights.copied(architecture, inherit=inherit))
                model = extract_module(self.module, inherit=inherit, origins=origins)
        finally:
            self._selection.__dict__.update(previous[0])
            self._active = previous[1]
        if not inherit and seed is not None:
            device = next((p.device for p in model.parameters()), torch.device("cpu"))
            if not any(p.is_meta for p in model.parameters()):
                model.to("cpu")
                restore_buffers(origins, self._first_buffers)
                reset_weights(model, seed, origins)
                model.to(device)
        return model.train(self.training), origins

    def _without_weights(self, doing: str) -> SpaceError:
        return SpaceError(
            f"a supernet needs shared weights to {doing}, but {type(self.module).__name__} is a space without any; "
            "extract stand-alone networks with inherit=False"
        )

    def on_meta(self) -> Supernet:
        """Return a copy on torch's meta device, which has shapes and sizes but no data."""
        return whole_copy(self, lambda tensor: tensor.detach().to("meta"), apart=True)

    def copied(self) -> Supernet:
        """Return a copy that shares nothing with this supernet: it has its own weights, statistics and active path."""
        return whole_copy(self, lambda tensor: tensor.detach().clone(), apart=True)

    def compile_candidates(self, backend: Any = "inductor") -> int:
        """Compile every candidate by itself with `torch.compile`, in place, so that a new path needs no compilation.

        Whole paths are not compiled, because each path would be another graph. Torch's limits on recompilation are
        raised for the whole process, in proportion to the number of candidates.

        Args:
            backend: backend of `torch.compile`.

        Returns:
            The number of compiled candidates; candidates without parameters are not compiled.

        Raises:
            ConfigurationError: a source makes weights, which are other tensors in each pass.
        """
        if self.weights is not None:
            raise ConfigurationError(
                "candidates can be compiled if they hold their weights, but a source makes them; leave compile out"
            )
        candidates = [
            candidate
            for module in self.module.modules()
            if isinstance(module, ChoiceBlock)
            for candidate in module.candidates
            if next(candidate.parameters(), None) is not None
        ]
        import torch._dynamo

        configuration = torch._dynamo.config
        needed = 8 * len(candidates)
        configuration.recompile_limit = max(configuration.recompile_limit, needed)
        configuration.accumulated_recompile_limit = max(configuration.accumulated_recompile_limit, 8 * needed)
        for candidate in candidates:
            candidate.compile(dynamic=False, backend=backend)
        return len(candidates)


def _is_path(value: object) -> bool:
    """Tell whether the last argument of a call is a path, or None in place of a path."""
    if isinstance(value, Mapping):
        return all(isinstance(gate, Gate) for gate in value.values())
    return value is None or isinstance(value, Architecture | GatedPath | GhostBatches)


def bound_selection(supernet: Supernet) -> Selection:
    """Return the selection that a supernet's modules share; for tests and search strategies."""
    return supernet._selection
