"""`nwot`: whether different inputs switch on different ReLUs.

Source: Mellor et al., "Neural Architecture Search without Training", ICML 2021 (arXiv 2006.04647).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.probe import Probe

_ROUNDING = 1e-6
_RECTIFIERS = frozenset({"relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "hardtanh", "hardtanh_"})


class _Codes(TorchFunctionMode):
    """Counts, for each pair of inputs of a batch, the ReLU units that are on for both inputs or off for both.

    `kernel` (B, B) holds the counts, `num_units` the number of units seen.
    """

    def __init__(self, num: int) -> None:
        super().__init__()
        self.num_units = 0
        self.kernel: Tensor | float = 0.0
        self._num = num

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        named = named or {}
        if getattr(function, "__name__", "") in _RECTIFIERS:
            x = arguments[0] if arguments else named["input"]
            if len(x) == self._num:
                # A ReLU6 is a hardtanh whose lower bound is 0.
                low = named.get(
                    "min_val", arguments[1] if "hardtanh" in function.__name__ and arguments[1:] else 0.0
                )
                is_on = (x > low).flatten(1).to(x.dtype)  # (B, units), read before x may change in place
                self.num_units += is_on.shape[1]
                both_on, on = is_on @ is_on.T, is_on.sum(dim=1)
                both_off = is_on.shape[1] - on[:, None] - on[None, :] + both_on
                self.kernel = self.kernel + (both_on + both_off).double()
        return function(*arguments, **named)


def nwot(probe: Probe) -> float:
    """`log |det K|`, `K = sum over ReLUs of x x^T + (1 - x)(1 - x)^T`; higher is better.

    x (B, units) is 1 where a unit is on. ReLU, ReLU6 and leaky ReLU count, as modules and as functions. Labels are not
    used.

    Raises:
        DegenerateNetworkError: there is no ReLU, K is singular (for example because two inputs are equal), or the
            output does not depend on the input.
    """
    codes = _Codes(len(probe.inputs))
    with torch.no_grad(), codes:
        outputs = probe.network(probe.inputs)
    if not isinstance(codes.kernel, Tensor):
        raise DegenerateNetworkError("the network has no ReLU")
    if len(outputs) > 1 and float((outputs - outputs[:1]).abs().max()) <= _ROUNDING * float(
        outputs.abs().max()
    ):
        raise DegenerateNetworkError("the output is the same for every input")
    eigenvalues = torch.linalg.eigvalsh(codes.kernel)  # K is positive semi-definite
    rounding = len(eigenvalues) * torch.finfo(torch.float64).eps * float(eigenvalues[-1])
    if float(eigenvalues[0]) <= rounding:
        raise DegenerateNetworkError("the kernel is singular: some inputs switch on the same units")
    return float(eigenvalues.log().sum())


DEFINITION = ScoreDefinition(
    "nwot",
    nwot,
    needs=("inputs", "ReLU"),
    cost="1 forward",
    direction="more different codes are taken as better",
    known_failure="grows with the number of ReLUs, also of those that lead nowhere; blind to other activations",
)
