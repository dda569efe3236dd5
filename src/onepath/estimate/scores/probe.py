"""A network under examination: copies to work on, and the passes that several scores share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from onepath.errors import ConfigurationError
from onepath.estimate.scores.backward import Gradients, one_backward
from onepath.randomness import generator

Loss = Callable[[Tensor, Tensor], Tensor]
WeightedLayer = _ConvNd | nn.Linear

GIBIBYTE = 1 << 30


class Probe:
    """One network and one batch; the network itself is never run and never changed, unless it is disposable.

    Scores work on copies in eval mode, but for batch normalisation, which uses the statistics of the batch: dropout and
    stochastic depth are off. Every parameter of a copy takes gradients, and activations are not computed in place.

    Args:
        model: of plain torch layers, with the weights that are judged.
        inputs: (B, ...), what the model takes.
        targets: (B, ...), what the loss takes; None where no score needs labels.
        seed: of everything drawn.
        loss: (outputs, targets) -> mean loss of the batch; cross-entropy by default.
        max_memory_bytes: of gradients of single examples held at once, about.
        needs_activations: whether the shared backward pass also gathers what `fisher` reads.
        is_disposable: nobody needs the model afterwards; then it takes the place of the first copy.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        targets: Tensor | None = None,
        *,
        seed: int = 0,
        loss: Loss | None = None,
        max_memory_bytes: int = GIBIBYTE,
        needs_activations: bool = True,
        is_disposable: bool = False,
    ) -> None:
        first = next(model.parameters(), None)
        self.device = inputs.device if first is None else first.device
        self.model = model
        self.inputs = inputs.to(self.device)
        self._targets = None if targets is None else targets.to(self.device)
        self.seed = seed
        self.loss: Loss = functional.cross_entropy if loss is None else loss
        self.max_memory_bytes = max_memory_bytes
        self._needs_activations = needs_activations
        self._is_disposable = is_disposable

    @property
    def targets(self) -> Tensor:
        """The labels.

        Raises:
            ConfigurationError: there are none.
        """
        if self._targets is None:
            raise ConfigurationError(
                "this score needs labels, but got targets=None; give the batch's targets"
            )
        return self._targets

    def copy(self) -> nn.Module:
        """A fresh copy to change at will."""
        model = self.model.eval() if self._is_disposable else copy.deepcopy(self.model).eval()
        self._is_disposable = False
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.training = True
            if getattr(module, "inplace", None) is True:
                module.__dict__["inplace"] = False
        return model

    @cached_property
    def network(self) -> nn.Module:
        """One copy that scores may run and differentiate, and must not change otherwise."""
        return self.copy()

    @cached_property
    def gradients(self) -> Gradients:
        """Weights and their gradients of one backward pass, shared by all scores that read them."""
        return one_backward(
            self.network,
            weighted_layers(self.network),
            lambda outputs: self.loss(outputs, self.targets),
            self.inputs,
            needs_activations=self._needs_activations,
        )

    def normal(self, purpose: str, shape: Sequence[int], step: int = 0) -> Tensor:
        """Standard normal numbers in the place of inputs, of their type, determined by seed, purpose and step."""
        draws = torch.Generator().manual_seed(int(generator(self.seed, purpose, step).integers(2**63 - 1)))
        dtype = self.inputs.dtype if self.inputs.is_floating_point() else torch.float32
        return torch.randn(*shape, generator=draws).to(self.device, dtype)


def weighted_layers(model: nn.Module) -> list[WeightedLayer]:
    """The convolutions and linear layers, one for each weight tensor; what the sums over weights run over.

    A weight that is no parameter of its layer, as under a parametrisation, is left out.
    """
    found: dict[int, WeightedLayer] = {}
    for module in model.modules():
        if isinstance(module, _ConvNd | nn.Linear) and isinstance(
            module._parameters.get("weight"), nn.Parameter
        ):
            found.setdefault(id(module.weight), module)
    return list(found.values())
