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
    """The common code of the elastic batch normalisations, for any shape of the examples."""

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
        """Return the number of channels."""
        return (self.size,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (B, C, ...) over all but C; in training mode, update the leading C running statistics.

        Raises:
            ShapeError: `x` has another number of channels than the active one.
        """
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
        """Return the plain layer of the active size.

        With `inherit` it has copies of the active statistics, scale and shift. Otherwise it is a new layer, with scale
        and shift as `standalone_affine` says.
        """
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

    All widths share one buffer of running statistics, so the statistics of one width are right only after recalibration
    (`onepath.estimate`). With a whole number of features it is an ordinary `nn.BatchNorm2d`.

    Args:
        num_features: number of channels C; a whole number, a `Choice` or an expression of choices.
        eps, momentum, affine: as in `nn.BatchNorm2d`.
        standalone_affine: whether the network that is trained from scratch learns a scale and a shift; None: the same
            as `affine`. SPOS has no scale and shift in the supernet and has them in the retrained network.

    Raises:
        BindingError: the size is not a whole number of 1 or more.
        ShapeError: at run time, an input has another number of channels than the active one.
    """

    plain = nn.BatchNorm2d


class ElasticBatchNorm1d(_ElasticBatchNorm, nn.BatchNorm1d):
    """Batch normalisation over (B, C) or (B, C, T) that uses the leading C entries of its largest vectors.

    Everything else is as in `ElasticBatchNorm2d`, recalibration included. With a whole number of features it is an
    ordinary `nn.BatchNorm1d`.

    Args:
        num_features: number of channels C; a whole number, a `Choice` or an expression of choices.
        eps, momentum, affine, standalone_affine: as in `ElasticBatchNorm2d`.

    Raises:
        BindingError: the size is not a whole number of 1 or more.
        ShapeError: at run time, an input has another number of channels than the active one.
    """

    plain = nn.BatchNorm1d


class ElasticLayerNorm(ElasticLayer, nn.LayerNorm):
    """Layer normalisation over the features at each position; it uses the leading entries of its scale and shift.

    With a whole number of features and the features last, it is an ordinary `nn.LayerNorm`.

    Args:
        num_features: number of features; a whole number, a `Choice` or an expression of choices.
        eps, elementwise_affine, bias: as in `nn.LayerNorm`.
        num_places: number of dimensions after the features: 0 for features last, as in transformers; 1 for sequences
            (B, num_features, T); 2 for images (B, num_features, H, W), as in ConvNeXt. For 1 and 2, the extracted
            network moves the channels to the end and back around an `nn.LayerNorm`.

    Shapes: input and output (..., num_features), or (B, num_features, T) or (B, num_features, H, W).

    Raises:
        BindingError: the size is not a whole number of 1 or more, or `num_places` is not 0, 1 or 2.
        ShapeError: at run time, an input has another number of features than the active one.

    Source: Layer Normalization (arXiv 1607.06450); channels first as in ConvNeXt (arXiv 2201.03545).

    Example:
        The features (1, 3) have mean 2 and variance 1, so the result is (-1, 1)::

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
        """Return the number of features."""
        return (self.size,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` at every position over its active features.

        Raises:
            ShapeError: `x` has another number of features than the active one.
        """
        num, place = self._active(self.size), -1 - self.num_places
        self._check_width(num, x.shape[place])
        weight, bias = leading(self.weight, num), leading(self.bias, num)
        if self.num_places == 0:
            return functional.layer_norm(x, (num,), weight, bias, self.eps)
        return functional.layer_norm(x.movedim(place, -1), (num,), weight, bias, self.eps).movedim(-1, place)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return a plain `nn.LayerNorm` with copies of the active scale and shift, for either `inherit`.

        If the channels come first, the result is a sequence with permutations before and after it.
        """
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

    The groups divide the active channels: with 4 groups, 8 active channels of 16 make groups of 2. With whole numbers
    for both sizes it is an ordinary `nn.GroupNorm`.

    Args:
        num_groups: number of groups; a whole number, a `Choice` or an expression of choices, such as `width // 8` for
            groups of 8 channels.
        num_channels: number of channels, a multiple of `num_groups` under every architecture; a whole number, a
            `Choice` or an expression of choices.
        eps, affine: as in `nn.GroupNorm`.

    Shapes: input and output (B, num_channels, ...).

    Raises:
        BindingError: a size is not a whole number of 1 or more, or a number of groups does not divide the number of
            channels; the message names both.
        ShapeError: at run time, an input has another number of channels than the active one.

    Source: Group Normalization (arXiv 1803.08494).

    Example:
        Groups of 8 channels for any width, or 4 groups for any width::

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
        # The largest number of groups need not divide the largest number of channels; nn.GroupNorm would refuse them.
        super().__init__(1, size_max(num_channels), eps, affine)
        self.num_groups = size_max(num_groups)
        self.sizes: tuple[Size, Size] = (num_groups, num_channels)
        self._begin()

    def own_sizes(self) -> tuple[Size, ...]:
        """Return the number of groups and the number of channels."""
        return self.sizes

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (B, C, ...) over the positions and channels of each group.

        Raises:
            ShapeError: `x` has another number of channels than the active one.
        """
        if not self.is_elastic:
            return super().forward(x)
        groups, num = map(self._active, self.sizes)
        self._check_width(num, x.shape[1])
        return functional.group_norm(x, groups, leading(self.weight, num), leading(self.bias, num), self.eps)

    def extracted(self, *, inherit: bool) -> nn.GroupNorm:
        """Return a plain `nn.GroupNorm` with copies of the active scale and shift, for either `inherit`."""
        del inherit
        groups, num = map(self._active, self.sizes)
        plain = nn.GroupNorm(groups, num, self.eps, self.affine, device="meta")
        return filled(plain, self, weight=leading(self.weight, num), bias=leading(self.bias, num))
