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
    """A matrix for each side but the largest, by its name: the identity of (side ** num_dims) rows."""
    return nn.ParameterDict(
        {
            f"{small}": nn.Parameter(torch.eye(small**num_dims))
            for _, small in pairwise(sorted(sides, reverse=True))
        }
    )


def transformed(weight: Tensor, side: int, sides: Sequence[int], transforms: Mapping[str, Tensor]) -> Tensor:
    """The kernel of a side, made of the largest one (O, I, *): at each step a matrix times the centre.

    Source: Once-for-All (arXiv 1908.09791), section 3.3. With identities it is the centre itself.
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
    """An `ElasticConv2d` with a matrix between each kernel and the next smaller one.

    The kernel of side k is M applied to the centre of the kernel of the next larger side, itself made so; each matrix
    (k^2, k^2) is shared by all channels and begins as the identity, so that the layer begins as the one with plain
    centres. An extracted convolution holds the product and no matrix.

    Args:
        as of `ElasticConv2d`; `kernel_size` is one choice, for both sides.

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
        """As of a convolution, with matrices that are the identity."""
        super().reset_parameters()
        for matrix in getattr(self, "transforms", {}).values():
            nn.init.eye_(matrix)

    def _active_weight(self) -> tuple[Tensor, Tensor | None, str | tuple[int, ...], int]:
        centre, bias, padding, groups = super()._active_weight()
        num_out, per_group, side = centre.shape[:3]
        weight = self.weight[:num_out, :per_group]
        matrices = dict(self.transforms.items())
        return transformed(weight, side, self.sides_of_kernel, matrices), bias, padding, groups
