"""Smaller kernels that are learned from the centre of larger ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from onepath.nn.conv import ElasticConv2d
from onepath.space import Choice


def make_transforms(sides: Sequence[int], num_dims: int = 2) -> nn.ParameterDict:
    """Return one trainable matrix for each kernel side but the largest, each an identity of side ** num_dims rows.

    Args:
        sides: sides of the kernels, in any order.
        num_dims: number of sides of a kernel.

    Returns:
        Side, as text -> matrix.
    """
    return nn.ParameterDict(
        {
            f"{small}": nn.Parameter(torch.eye(small**num_dims))
            for _, small in pairwise(sorted(sides, reverse=True))
        }
    )


def transformed(weight: Tensor, side: int, sides: Sequence[int], transforms: Mapping[str, Tensor]) -> Tensor:
    """Return the kernel of one side, made from the largest kernel: each next smaller one is a matrix times the centre.

    With identities as matrices, the result is the plain centre.

    Args:
        weight: largest kernel, (O, I, *).
        side: side of the kernel to make.
        sides: all sides, in any order.
        transforms: matrices as from `make_transforms`.

    Source: Once-for-All (arXiv 1908.09791), section 3.3.
    """
    for large, small in pairwise(sorted(sides, reverse=True)):
        if side > small:
            break
        margin = (large - small) // 2
        for dim in range(2, weight.dim()):
            weight = weight.narrow(dim, margin, small)
        weight = (weight.flatten(2) @ transforms[f"{small}"].t()).view_as(weight)
    return weight


class TransformedConv2d(ElasticConv2d):
    """An `ElasticConv2d` with a trainable matrix between each kernel and the next smaller one.

    The kernel of side k is a matrix (k^2, k^2) times the centre of the kernel of the next larger side, which is made in
    the same way. All channels share the matrix. The matrices begin as identities, so the layer begins as an
    `ElasticConv2d`. An extracted convolution holds the product and no matrix.

    Args:
        arguments, options: arguments of `ElasticConv2d`; `kernel_size` is one size for both sides.

    Source: Cai et al., "Once-for-All" (arXiv 1908.09791), section 3.3, elastic kernel size.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        side = self.sizes[2]
        self.sides_of_kernel = (
            tuple(map(int, side.options)) if isinstance(side, Choice) else (int(self.kernel_size[0]),)
        )
        self.transforms = make_transforms(self.sides_of_kernel)

    def reset_parameters(self) -> None:
        """Draw the weights as a convolution does, and set the matrices to identities; in place."""
        super().reset_parameters()
        for matrix in getattr(self, "transforms", {}).values():
            nn.init.eye_(matrix)

    def _active_weight(self) -> tuple[Tensor, Tensor | None, str | tuple[int, ...], int]:
        centre, bias, padding, groups = super()._active_weight()
        num_out, per_group, side = centre.shape[:3]
        weight = self.weight[:num_out, :per_group]
        matrices = dict(self.transforms.items())
        return transformed(weight, side, self.sides_of_kernel, matrices), bias, padding, groups
