"""Running a network while recording what each tensor was computed from; residual links can be left out.

Zen-score is defined for plain networks without residual links. A `TorchFunctionMode` sees every call of a torch
function, so that two rules work on any module, whatever its blocks are called:

- a sum of two feature maps of the same shape is replaced by the map with more convolutions and linear layers on its
  longest way from the input: identity links and projections (of fewer layers) disappear;
- a product of a feature map and a tensor with one value per channel that was computed from the same input, as in
  squeeze-and-excitation, is replaced by the feature map.

A tensor that is made from only the shape of another one, for example the zeros of a missing edge, counts as computed
from nothing.

The rules are exact for networks whose blocks are one chain with an identity, a pooling or a shorter projection beside
it: ResNet, MobileNet, NAS-Bench-Macro and the reductions of NAS-Bench-201. Limits: a sum of maps with equally many
layers stays; concatenations (ShuffleNet) stay; of a cell with irregular branches only the deepest chain is left, for
which the paper has no definition. Sums inside compiled or scripted code, `torch.stack(...).sum(0)` and custom autograd
functions are not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

_LAYERS = frozenset({f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)} | {"linear"})
_SUMS = frozenset({"add", "add_", "__add__", "__radd__", "__iadd__"})
_PRODUCTS = frozenset({"mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply"})
_CONSTANTS = frozenset(
    {f"{kind}_like" for kind in ("zeros", "ones", "full", "empty", "rand", "randn")}
    | {f"new_{kind}" for kind in ("zeros", "ones", "full", "empty")}
)
_POOLINGS = frozenset(
    {f"{kind}_pool{n}d" for kind in ("avg", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)}
    | {"mean", "amax"}
)


class NotBatchFirstError(Exception):
    """A tensor of the network does not hold one batch after the other, so that several batches cannot share a pass."""


class Past(NamedTuple):
    """What a tensor was computed from.

    Attributes:
        depth: number of convolutions and linear layers on the longest way from the input to the tensor.
        norms: bit set; bit i is set if the tensor depends on the i-th call of a normalisation.
    """

    depth: int
    norms: int


class Trace(TorchFunctionMode):
    """Runs a network and records what each tensor was computed from; call `run`, and `close` at the end.

    Args:
        network: network to run. Until `close`, its batch normalisations use the statistics of the batch, scale 1 and
            shift 0.
        keeps_links: False leaves residual links and gates out.
        num_batches: number of batches of equal size that the inputs of `run` hold one after the other. Each is
            normalised by its own statistics. One pass then makes the calls of layers, which take much of a small
            network's time, once for all batches. The inputs of normalisations, and the features, must have the examples
            in the first dimension.

    Attributes:
        features: (B, C, ...) input of the last global pooling of the last pass; the output of the network if it has no
            global pooling. None before the first pass.
        num_layers: depth of the features, see `Past`.
    """

    def __init__(self, network: nn.Module, *, keeps_links: bool = False, num_batches: int = 1) -> None:
        super().__init__()
        self._num_batches, self._num_examples = num_batches, 0
        self._network = network
        self._keeps_links = keeps_links
        self._layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        self._inverses: list[
            tuple[int, Tensor, int]
        ] = []  # layer, 1 / sqrt(variance + eps), values per channel
        self.features: Tensor | None = None
        self.num_layers = 0
        for number, layer in enumerate(self._layers):
            layer.__dict__["forward"] = self._normalisation(number, layer)

    def close(self) -> None:
        """Restore the normalisations of the network; until then the network and its trace keep each other alive."""
        for layer in self._layers:
            layer.__dict__.pop("forward", None)

    def run(self, inputs: Tensor) -> Tensor:
        """Run one forward pass and return the features; `features`, `num_layers` and `variances` then describe it.

        Args:
            inputs: (num_batches * B, ...) inputs of the network; not changed.

        Raises:
            NotBatchFirstError: there are several batches and the network does not keep the examples in the first
                dimension.
        """
        self._inverses, self.features, self._num_examples = [], None, len(inputs)
        inputs = inputs.clone()
        _remember(inputs, Past(0, 0))
        with torch.no_grad(), self:
            output = self._network(inputs)
        if self.features is None:
            self.features = output
        self._check(self.features)
        self.num_layers = self._past().depth
        return self.features

    def variances(self) -> list[tuple[int, Tensor, int]]:
        """Return the variances that normalisations saw in the first batch of the last pass.

        Returns:
            For each call of a normalisation on which the features depend: the position of the layer among the network's
            batch normalisations, the biased variances (C,) of its input, and the number of values per channel.
        """
        norms = self._past().norms
        return [
            (number, inverse.double() ** -2 - self._layers[number].eps, num)
            for place, (number, inverse, num) in enumerate(self._inverses)
            if norms >> place & 1
        ]

    def _past(self) -> Past:
        assert self.features is not None, "a pass was run"
        return past_of(self.features) or Past(0, 0)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        named = named or {}
        name = getattr(function, "__name__", "")
        tensors = [t for t in _tensors([*arguments, *named.values()]) if past_of(t) is not None]
        if not self._keeps_links and len(tensors) == 2:
            kept = _kept(name, *tensors)
            if kept is not None:
                return tensors[0].copy_(kept) if name in ("add_", "__iadd__", "mul_", "__imul__") else kept
        pasts = [past for past in map(past_of, tensors) if past is not None]
        output = function(*arguments, **named)
        if pasts and not _is_constant(name, arguments):
            past = Past(max(p.depth for p in pasts) + (name in _LAYERS), 0)
            for before in pasts:
                past = Past(past.depth, past.norms | before.norms)
            for tensor in _tensors([output]):
                _remember(tensor, past)
            if name in _POOLINGS and _is_global(tensors[0], output):
                self.features = tensors[0]
        return output

    def _check(self, tensor: Tensor) -> None:
        if self._num_batches > 1 and (tensor.ndim == 0 or len(tensor) != self._num_examples):
            raise NotBatchFirstError

    def _normalisation(self, number: int, layer: _BatchNorm) -> Callable[[Tensor], Tensor]:
        def normalise(x: Tensor) -> Tensor:
            # Not recorded call by call: the result is known, and recording takes longer than a small layer.
            with torch._C.DisableTorchFunction():
                self._check(x)
                num = x.numel() // x.shape[1] // self._num_batches
                output, inverse = _normalised(x, layer.eps, self._num_batches)
            past = past_of(x) or Past(0, 0)
            _remember(output, Past(past.depth, past.norms | 1 << len(self._inverses)))
            self._inverses.append((number, inverse, num))
            return output

        return normalise


def _normalised(x: Tensor, eps: float, num_batches: int) -> tuple[Tensor, Tensor]:
    """Normalise each batch in x (num_batches * B, C, ...) by its own statistics.

    Returns:
        The normalised x, and `1 / sqrt(variance + eps)` (C,) of the first batch.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    output = torch.empty_like(x)
    means, inverses = (torch.empty((num_batches, x.shape[1]), dtype=dtype, device=x.device) for _ in range(2))
    for part, out, mean, inverse in zip(
        x.chunk(num_batches), output.chunk(num_batches), means, inverses, strict=True
    ):
        torch.ops.aten.native_batch_norm.out(
            part,
            *(None, None, None, None),
            training=True,
            momentum=0.0,
            eps=eps,
            out=out,
            save_mean=mean,
            save_invstd=inverse,
        )
    return output, inverses[0]


def _is_constant(name: str, arguments: Sequence[Any]) -> bool:
    """Whether the result of a function depends only on the shape of its tensors: `zeros_like(x)`, `x * 0`."""
    return name in _CONSTANTS or (
        name in _PRODUCTS and any(isinstance(value, int | float) and value == 0 for value in arguments)
    )


def past_of(tensor: Tensor) -> Past | None:
    """Return what a traced tensor was computed from; None for weights and constants."""
    return tensor.__dict__.get("_onepath_past")


def _remember(tensor: Tensor, past: Past) -> None:
    tensor.__dict__["_onepath_past"] = past


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    """Yield the tensors among values, and those in lists and tuples among the values."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (part for part in value if isinstance(part, Tensor))


def _kept(name: str, first: Tensor, second: Tensor) -> Tensor | None:
    """Return the operand that replaces a sum with a residual link or a product with a gate, else None."""
    if name not in _SUMS and name not in _PRODUCTS:
        return None
    one, other = past_of(first), past_of(second)
    assert one is not None
    assert other is not None
    if name in _SUMS:
        if first.shape != second.shape or one.depth == other.depth:
            return None
        return first if one.depth > other.depth else second
    if first.shape[:2] != second.shape[:2] or first.ndim != second.ndim or first.ndim < 3:
        return None
    gates = [t for t in (first, second) if t.numel() == t.shape[0] * t.shape[1]]
    if len(gates) == 1:
        return second if gates[0] is first else first
    if len(gates) == 2 and one.depth != other.depth:
        return first if one.depth < other.depth else second
    return None


def _is_global(x: Tensor, output: Any) -> bool:
    """Whether a pooling of x (B, C, ...) gave one value per channel."""
    is_map = x.ndim >= 3 and isinstance(output, Tensor)
    return is_map and output.shape[:2] == x.shape[:2] and output.numel() == x.shape[0] * x.shape[1]
