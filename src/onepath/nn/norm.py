"""Normalisation whose number of channels or features may be a choice."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from onepath.errors import BindingError
from onepath.nn.elastic import ElasticLayer, filled, leading
from onepath.nn.selection import check_sizes, joint_sizes
from onepath.space import Size
from onepath.space.choice import size_max


class _ElasticBatchNorm(ElasticLayer, _BatchNorm):
    """The body of the elastic batch normalisations, for any shape of the examples."""

    plain: ClassVar[type[nn.BatchNorm1d | nn.BatchNorm2d]]

    def __init__(
        self,
        num_features: Size,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        standalone_affine: bool | None = None,
    ) -> None:
        check_sizes(type(self).__name__, num_features=num_features)
        super().__init__(size_max(num_features), eps=eps, momentum=momentum, affine=affine)
        self.size: Size = num_features
        self.standalone_affine = affine if standalone_affine is None else standalone_affine
        self._begin()

    def own_sizes(self) -> tuple[Size, ...]:
        """The number of channels."""
        return (self.size,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, ...) over all but C; in training mode, update the leading C running statistics."""
        if not self.is_elastic:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        num = self._active(self.size)
        self._check_width(num, x.shape[1])
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        return functional.batch_norm(
            x,
            leading(self.running_mean, num),
            leading(self.running_var, num),
            leading(self.weight, num),
            leading(self.bias, num),
            self.training or self.running_mean is None,
            0.0 if momentum is None else momentum,
            self.eps,
        )

    def extracted(self, *, inherit: bool) -> nn.Module:
        """The plain layer: inherited statistics, scale and shift; or fresh ones, affine as stand-alone."""
        num = self._active(self.size)
        affine = self.affine if inherit else self.standalone_affine
        device = None if self.running_mean is None else self.running_mean.device
        plain = self.plain(num, self.eps, self.momentum, affine, self.track_running_stats, device=device)
        if not inherit:
            return plain
        names = ("weight", "bias", "running_mean", "running_var")
        slices = {name: leading(getattr(self, name), num) for name in names}
        return filled(plain, self, **slices, num_batches_tracked=self.num_batches_tracked)


class ElasticBatchNorm2d(_ElasticBatchNorm, nn.BatchNorm2d):
    """Batch normalisation over (B, C, H, W) that uses the leading C entries of its largest vectors.

    The running statistics of all widths share one buffer, so that those of one width are only right after
    recalibration (`onepath.estimate`). With a whole number of features it is an ordinary `nn.BatchNorm2d`.

    Args:
        num_features: a whole number, a `Choice` or an expression of choices.
        eps, momentum, affine: as in `nn.BatchNorm2d`.
        standalone_affine: whether the network that is trained from scratch learns a scale and a shift;
            default: as `affine`. SPOS has none in the supernet and has them in the retrained network.

    Raises:
        BindingError: a size that is not a whole number of 1 or more.
        ShapeError: at run time, an input with another number of channels than the active one.
    """

    plain = nn.BatchNorm2d


class ElasticBatchNorm1d(_ElasticBatchNorm, nn.BatchNorm1d):
    """Batch normalisation over (B, C) or (B, C, T) that uses the leading C entries of its largest vectors.

    Everything else is as in `ElasticBatchNorm2d`, recalibration included. With a whole number of features it is an
    ordinary `nn.BatchNorm1d`.

    Args:
        num_features: C; a whole number, a `Choice` or an expression of choices.
        eps, momentum, affine, standalone_affine: as in `ElasticBatchNorm2d`.

    Raises:
        BindingError: a size that is not a whole number of 1 or more.
        ShapeError: at run time, an input with another number of channels than the active one.
    """

    plain = nn.BatchNorm1d


class ElasticLayerNorm(ElasticLayer, nn.LayerNorm):
    """Layer normalisation over the features of each place, with the leading entries of its largest scale and shift.

    With a whole number of features, the last dimension, it is an ordinary `nn.LayerNorm`.

    Args:
        num_features: a whole number, a `Choice` or an expression of choices.
        eps, elementwise_affine, bias: as in `nn.LayerNorm`.
        num_places: dimensions behind the features. 0: features last, as in transformers. 2: channels first, as
            ConvNeXt normalises images; its plain network moves the channels to the end and back around an
            `nn.LayerNorm`. 1: the same for sequences.

    Shapes: input and output (..., num_features), or (B, num_features, T) or (B, num_features, H, W).

    Raises:
        BindingError: a size that is not a whole number of 1 or more, or other `num_places`.
        ShapeError: at run time, an input with another number of features than the active one.

    Source: Layer Normalization (arXiv 1607.06450); channels first as in ConvNeXt (arXiv 2201.03545).

    Example:
        Of the features (1, 3) the mean is 2 and the variance 1, so that the result is (-1, 1)::

            op.ElasticLayerNorm(2)(torch.tensor([1.0, 3.0]))
    """

    def __init__(
        self,
        num_features: Size,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        num_places: int = 0,
    ) -> None:
        check_sizes("ElasticLayerNorm", num_features=num_features)
        if num_places not in (0, 1, 2):
            raise BindingError(
                "ElasticLayerNorm: num_places must be 0 for features last, 1 for (B, C, T) or 2 for (B, C, H, W), but "
                f"got {num_places!r}; change it"
            )
        super().__init__(size_max(num_features), eps, elementwise_affine, bias)
        self.size: Size = num_features
        self.num_places = num_places
        self._begin()

    def own_sizes(self) -> tuple[Size, ...]:
        """The number of features."""
        return (self.size,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every place over its active features."""
        num, place = self._active(self.size), -1 - self.num_places
        self._check_width(num, x.shape[place])
        weight, bias = leading(self.weight, num), leading(self.bias, num)
        if self.num_places == 0:
            return functional.layer_norm(x, (num,), weight, bias, self.eps)
        return functional.layer_norm(x.movedim(place, -1), (num,), weight, bias, self.eps).movedim(-1, place)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """A plain `nn.LayerNorm` with copies of the active scale and shift, between permutations where needed."""
        del inherit
        num = self._active(self.size)
        plain = nn.LayerNorm(num, self.eps, self.elementwise_affine, self.bias is not None, device="meta")
        filled(plain, self, weight=leading(self.weight, num), bias=leading(self.bias, num))
        if self.num_places == 0:
            return plain
        from torchvision.ops import Permute

        last = self.num_places + 1
        to_end, back = [0, *range(2, last + 1), 1], [0, last, *range(1, last)]
        return nn.Sequential(Permute(to_end), plain, Permute(back))


class ElasticGroupNorm(ElasticLayer, nn.GroupNorm):
    """Group normalisation of each example, over groups of the active channels.

    The groups share out the active channels: with 4 groups, 8 active channels of 16 make groups of 2. With whole
    numbers for both sizes it is an ordinary `nn.GroupNorm`.

    Args:
        num_groups: a whole number, a `Choice` or an expression of choices, such as `width // 8` for groups of 8.
        num_channels: the same; a multiple of `num_groups` under every architecture.
        eps, affine: as in `nn.GroupNorm`.

    Shapes: input and output (B, num_channels, ...).

    Raises:
        BindingError: a size that is not a whole number of 1 or more, or a number of groups that does not divide a
            width; names both.
        ShapeError: at run time, an input with another number of channels than the active one.

    Source: Group Normalization (arXiv 1803.08494).

    Example:
        Groups of 8 channels whatever the width, or 4 groups of any::

            width = op.Choice("width", [16, 32])
            op.ElasticGroupNorm(width // 8, width)
            op.ElasticGroupNorm(4, width)
    """

    def __init__(self, num_groups: Size, num_channels: Size, eps: float = 1e-5, affine: bool = True) -> None:
        check_sizes("ElasticGroupNorm", num_groups=num_groups, num_channels=num_channels)
        wrong = next((pair for pair in joint_sizes(num_groups, num_channels) if pair[1] % pair[0]), None)
        if wrong is not None:
            raise BindingError(
                "ElasticGroupNorm: num_groups must divide num_channels under every option, but there are "
                f"{wrong[0]} groups of {wrong[1]} channels; change the options, or count the groups by an expression"
            )
        # The largest of both need not go together; nn.GroupNorm would refuse them.
        super().__init__(1, size_max(num_channels), eps, affine)
        self.num_groups = size_max(num_groups)
        self.sizes: tuple[Size, Size] = (num_groups, num_channels)
        self._begin()

    def own_sizes(self) -> tuple[Size, ...]:
        """Groups and channels."""
        return self.sizes

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, ...) over the places and channels of each group."""
        if not self.is_elastic:
            return super().forward(x)
        groups, num = map(self._active, self.sizes)
        self._check_width(num, x.shape[1])
        return functional.group_norm(x, groups, leading(self.weight, num), leading(self.bias, num), self.eps)

    def extracted(self, *, inherit: bool) -> nn.GroupNorm:
        """A plain `nn.GroupNorm` with copies of the active scale and shift, inherited or not."""
        del inherit
        groups, num = map(self._active, self.sizes)
        plain = nn.GroupNorm(groups, num, self.eps, self.affine, device="meta")
        return filled(plain, self, weight=leading(self.weight, num), bias=leading(self.bias, num))
