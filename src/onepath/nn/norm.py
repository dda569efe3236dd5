"""Batch normalisation whose number of channels may be a choice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.nn.selection import Selection, active_size, check_channels, check_sizes
from onepath.space import Choice, Size
from onepath.space.choice import size_choices, size_max


class ElasticBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over (B, C, H, W) that uses the leading C entries of its largest vectors.

    The running statistics of all widths share one buffer, so that those of one width are only right after
    recalibration (`onepath.estimate`).

    Args:
        num_features: a whole number, a `Choice` or an expression of choices.
        eps, momentum, affine: as in `nn.BatchNorm2d`.
        standalone_affine: whether the network that is trained from scratch learns a scale and a shift;
            default: as `affine`. SPOS has none in the supernet and has them in the retrained network.

    Raises:
        BindingError: a size that is not a whole number of 1 or more.
        ShapeError: at run time, an input with another number of channels than the active one.
    """

    def __init__(
        self,
        num_features: Size,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        standalone_affine: bool | None = None,
    ) -> None:
        check_sizes("ElasticBatchNorm2d", num_features=num_features)
        super().__init__(size_max(num_features), eps=eps, momentum=momentum, affine=affine)
        self.path = ""
        self.selection = Selection()
        self.size: Size = num_features
        self.standalone_affine = affine if standalone_affine is None else standalone_affine
        self.is_elastic = bool(self.own_choices())

    def own_choices(self) -> tuple[Choice, ...]:
        """The choices of the number of channels."""
        return size_choices(self.size)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W); in training mode, update the leading C running statistics."""
        if not self.is_elastic:
            return super().forward(x)
        num = active_size(self.size, self.selection)
        check_channels("ElasticBatchNorm2d", self.path, num, x.shape[1])
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        return functional.batch_norm(
            x,
            None if self.running_mean is None else self.running_mean[:num],
            None if self.running_var is None else self.running_var[:num],
            None if self.weight is None else self.weight[:num],
            None if self.bias is None else self.bias[:num],
            self.training or self.running_mean is None,
            0.0 if momentum is None else momentum,
            self.eps,
        )

    def extracted(self, *, inherit: bool) -> nn.BatchNorm2d:
        """A plain `nn.BatchNorm2d`: inherited statistics, scale and shift; or fresh ones, affine as
        stand-alone.
        """
        num = active_size(self.size, self.selection)
        affine = self.affine if inherit else self.standalone_affine
        device = None if self.running_mean is None else self.running_mean.device
        norm = nn.BatchNorm2d(num, self.eps, self.momentum, affine, self.track_running_stats, device=device)
        if not inherit:
            return norm
        with torch.no_grad():
            for ours, theirs in ((self.weight, norm.weight), (self.bias, norm.bias)):
                if ours is not None:
                    theirs.copy_(ours[:num])
            for name in ("running_mean", "running_var"):
                if getattr(self, name) is not None:
                    getattr(norm, name).copy_(getattr(self, name)[:num])
            if self.num_batches_tracked is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(self.num_batches_tracked)
        return norm
