"""The probe that scores are computed from: a network and a batch, copies to work on, and passes that scores share."""

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
    """One network and one batch to score it on; the network is never run or changed, unless it is disposable.

    Scores work on copies. A copy is in eval mode, so that dropout and stochastic depth are off, except that batch
    normalisation uses the statistics of the batch. Every floating-point parameter of a copy requires gradients, and
    activations are not computed in place.

    Args:
        model: network of plain torch layers, with the weights that are scored.
        inputs: (B, ...) inputs of the model.
        targets: (B, ...) targets of the loss; None if no score needs labels.
        seed: seed of every random draw.
        loss: (outputs, targets) -> mean loss of the batch; cross-entropy by default.
        max_memory_bytes: approximate limit on the memory that gradients of single examples take at a time.
        needs_activations: whether the shared backward pass also computes what `fisher` reads.
        is_disposable: True if nobody needs the model afterwards; the model then replaces the first copy.
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
        """The labels of the batch.

        Raises:
            ConfigurationError: the probe has no labels.
        """
        if self._targets is None:
            raise ConfigurationError(
                "this score needs labels, but got targets=None; give the batch's targets"
            )
        return self._targets

    def copy(self) -> nn.Module:
        """Return a fresh copy of the network, which the caller may change.

        The first call returns the network itself if it is disposable.
        """
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
        """A shared copy of the network, which scores may run and differentiate but must not change."""
        return self.copy()

    @cached_property
    def gradients(self) -> Gradients:
        """The weights and gradients of one backward pass, computed once for all scores that read them.

        Raises:
            ConfigurationError: the probe has no labels.
            DegenerateNetworkError: the network has no convolution and no linear layer, all gradients of weights are 0,
                or the loss does not depend on the inputs.
        """
        return one_backward(
            self.network,
            weighted_layers(self.network),
            lambda outputs: self.loss(outputs, self.targets),
            self.inputs,
            needs_activations=self._needs_activations,
        )

    def normal(self, purpose: str, shape: Sequence[int], step: int = 0) -> Tensor:
        """Draw standard normal numbers of a shape, determined by the probe's seed, `purpose` and `step`.

        The tensor is on the probe's device, with the dtype of the inputs if that is floating point, else float32.
        """
        draws = torch.Generator().manual_seed(int(generator(self.seed, purpose, step).integers(2**63 - 1)))
        dtype = self.inputs.dtype if self.inputs.is_floating_point() else torch.float32
        return torch.randn(*shape, generator=draws).to(self.device, dtype)


def weighted_layers(model: nn.Module) -> list[WeightedLayer]:
    """List the convolutions and linear layers of a model, over which scores sum; one layer for each weight tensor.

    A layer is left out if its weight is not one of its parameters, for example under a parametrisation.
    """
    found: dict[int, WeightedLayer] = {}
    for module in model.modules():
        if isinstance(module, _ConvNd | nn.Linear) and isinstance(
            module._parameters.get("weight"), nn.Parameter
        ):
            found.setdefault(id(module.weight), module)
    return list(found.values())
