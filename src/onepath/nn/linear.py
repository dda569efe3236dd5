"""A linear layer and an embedding whose widths may be choices."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from onepath.errors import BindingError, shown
from onepath.nn.elastic import ElasticLayer, filled, leading
from onepath.nn.selection import check_sizes, possible_sizes
from onepath.space import Size
from onepath.space.choice import size_max


class ElasticLinear(ElasticLayer, nn.Linear):
    """A linear layer that holds its largest weight and uses the leading rows and columns of the active sizes.

    With whole numbers for both sizes it is an ordinary `nn.Linear`.

    Args:
        in_features, out_features: each a whole number, a `Choice` or an expression of choices.
        bias: as in `nn.Linear`.

    Shapes: input (..., in_features), output (..., out_features).

    Raises:
        BindingError: a size is not a whole number of 1 or more.
        ShapeError: at run time, an input has another number of features than the active one.

    Example:
        The hidden layer of a perceptron, with 1 to 4 times the width::

            op.ElasticLinear(width, width * op.Choice("ratio", [1, 2, 4]))
    """

    def __init__(self, in_features: Size, out_features: Size, bias: bool = True) -> None:
        check_sizes("ElasticLinear", in_features=in_features, out_features=out_features)
        super().__init__(size_max(in_features), size_max(out_features), bias=bias)
        self.sizes: tuple[Size, Size] = (in_features, out_features)
        self._begin()

    def own_sizes(self) -> tuple[Size, ...]:
        """Return the sizes of inputs and outputs."""
        return self.sizes

    def _active_weight(self) -> tuple[Tensor, Tensor | None]:
        """Return the active weight (O, I) and bias (O,) as views."""
        num_in, num_out = map(self._active, self.sizes)
        return self.weight[:num_out, :num_in], leading(self.bias, num_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the active slice of the weight to `x` (..., in_features).

        Raises:
            ShapeError: `x` has another number of features than the active one.
        """
        if not self.is_elastic:
            return super().forward(x)
        weight, bias = self._active_weight()
        self._check_width(weight.shape[1], x.shape[-1])
        return functional.linear(x, weight, bias)

    def extracted(self, *, inherit: bool) -> nn.Linear:
        """Return a plain `nn.Linear` of the active sizes with a copy of the active weights, for either `inherit`."""
        del inherit
        weight, bias = self._active_weight()
        plain = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        return filled(plain, self, weight=weight, bias=bias)


class ElasticEmbedding(ElasticLayer, nn.Embedding):
    """An embedding that holds its largest table and uses the leading rows and columns of the active sizes.

    With whole numbers for both sizes it is an ordinary `nn.Embedding`. It may share its weight with an
    `ElasticLinear(embedding_dim, num_embeddings, bias=...)`, as language models do, also if the sizes are choices.

    Args:
        num_embeddings: number of vectors; indices are below it. A whole number, a `Choice` or an expression of choices.
        embedding_dim: entries of a vector. A whole number, a `Choice` or an expression of choices.
        padding_idx: index whose vector begins as zeros and is not trained, as in `nn.Embedding`, but not negative.

    Shapes: input (...) of whole numbers, output (..., embedding_dim).

    Raises:
        BindingError: a size is not a whole number of 1 or more, or `padding_idx` is not an index under every option.

    Example:
        A vocabulary of 1,000 words as vectors, whose width the following layers share::

            width = op.Choice("width", [32, 64])
            nn.Sequential(op.ElasticEmbedding(1000, width), op.ElasticLayerNorm(width))
    """

    def __init__(self, num_embeddings: Size, embedding_dim: Size, padding_idx: int | None = None) -> None:
        check_sizes("ElasticEmbedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        least = min(possible_sizes(num_embeddings))
        if padding_idx is not None and (type(padding_idx) is not int or not 0 <= padding_idx < least):
            raise BindingError(
                f"ElasticEmbedding: padding_idx must be a whole number from 0 to {least - 1}, an index under every "
                f"option, but got {shown(padding_idx)}; change it"
            )
        super().__init__(size_max(num_embeddings), size_max(embedding_dim), padding_idx)
        self.sizes: tuple[Size, Size] = (num_embeddings, embedding_dim)
        self._begin()

    def own_sizes(self) -> tuple[Size, ...]:
        """Return (embedding_dim, num_embeddings), in the order of a linear layer that may share the weight."""
        return self.sizes[::-1]

    def _active_weight(self) -> Tensor:
        """Return the active weight (num_embeddings, embedding_dim) as a view."""
        num, width = map(self._active, self.sizes)
        return self.weight[:num, :width]

    def forward(self, x: Tensor) -> Tensor:
        """Return the active entries of the vectors of the indices `x` (...)."""
        if not self.is_elastic:
            return super().forward(x)
        return functional.embedding(x, self._active_weight(), self.padding_idx)

    def extracted(self, *, inherit: bool) -> nn.Embedding:
        """Return a plain `nn.Embedding` of the active sizes with a copy of the active vectors, for either `inherit`."""
        del inherit
        weight = self._active_weight()
        num, width = weight.shape
        plain = nn.Embedding(num, width, self.padding_idx, device="meta")
        return filled(plain, self, weight=weight)
