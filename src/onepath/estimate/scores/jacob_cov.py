"""`jacob_cov`: whether the outputs react to different inputs in different directions.

Source: Mellor et al., "Neural Architecture Search without Training", first version (arXiv 2006.04647v1);
constants of the released code.
"""

from __future__ import annotations

import torch

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.probe import Probe

_SMALL = 1e-5


def jacob_cov(probe: Probe) -> float:
    """`-sum over eigenvalues v of (log(v + k) + 1 / (v + k))`, k = 1e-5; higher is better.

    The eigenvalues are those of the correlation matrix (B, B) of the rows of J. J (B, values per input) is the
    derivative of the sum of all outputs of the batch with respect to each input. Labels are not used.

    Raises:
        DegenerateNetworkError: the inputs are not floating point, or the derivative with respect to an input is
            constant, so that a correlation is undefined.
    """
    if not probe.inputs.is_floating_point():
        raise DegenerateNetworkError("inputs that are not floating point have no derivative")
    inputs = probe.inputs.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        outputs = probe.network(inputs)
        if not outputs.requires_grad:
            raise DegenerateNetworkError("the output does not depend on the input")
        (jacobian,) = torch.autograd.grad(outputs.sum(), inputs, allow_unused=True)
    if jacobian is None:
        raise DegenerateNetworkError("the output does not depend on the input")
    rows = jacobian.flatten(1).double()
    rows = rows - rows.mean(dim=1, keepdim=True)
    lengths = rows.norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()):
        raise DegenerateNetworkError("the derivative of the output with respect to an input has no variance")
    rows = rows / lengths
    eigenvalues = torch.linalg.eigvalsh(rows @ rows.T).clamp(min=0.0)
    return -float((torch.log(eigenvalues + _SMALL) + 1.0 / (eigenvalues + _SMALL)).sum())


DEFINITION = ScoreDefinition(
    "jacob_cov",
    jacob_cov,
    needs=("inputs",),
    cost="1 forward, 1 backward without gradients of weights",
    direction="less correlation between inputs is taken as better",
    known_failure="depends on the batch's size and on how alike its images are; sees little of width",
)
