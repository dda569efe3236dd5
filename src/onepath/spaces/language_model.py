"""A language model around a recurrent cell: embedding, cell, tied decoder, and the dropouts of AWD-LSTM."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.errors import ShapeError
from onepath.nn.carried import CarriedState

INITIAL_RANGE = 0.04


class RecurrentCell(Protocol):
    """A module that runs over the words of a chunk.

    Attributes:
        state_features: number of features of the carried state.
    """

    state_features: int

    def __call__(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (B, T, H) and the last state for inputs (B, T, H) and the first state.

        Both states have shape (B, state_features).
        """
        ...


class LockedDropout(nn.Module):
    """Dropout with one mask for a chunk: in each stream, the same features are dropped at every word.

    Args:
        probability: probability that a feature is dropped, below 1; the other features are divided by `1 -
            probability`.

    Shapes: (B, T, H) to the same shape.

    Source: Gal and Ghahramani, A Theoretically Grounded Application of Dropout in Recurrent Neural Networks, arXiv
    1512.05287.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, T, H) with features dropped in training mode, and unchanged otherwise."""
        if not self.training or self.probability == 0:
            return x
        return x * locked_mask(x[:, :1], self.probability)


def locked_mask(like: Tensor, probability: float) -> Tensor:
    """Draw a dropout mask of the shape, type and device of `like`.

    Each entry is 0 with `probability`, else 1 / (1 - probability).
    """
    return torch.empty_like(like).bernoulli_(1 - probability).div_(1 - probability)


class LanguageModel(nn.Module):
    """A language model: at each word it returns the scores (logits) of the next word.

    The embedding and the decoder share one weight. In training, whole words of the vocabulary are dropped, and features
    of the inputs and outputs are dropped with masks that stay the same over a chunk.

    Args:
        cell: a module as described by `RecurrentCell`.
        num_words: size of the vocabulary.
        hidden: features of a word, and of the cell's inputs and outputs.
        dropout_words: probability that a word is dropped at all its places in the batch.
        dropout_inputs: probability that a feature of the embedded words is dropped.
        dropout_outputs: probability that a feature of the cell's outputs is dropped.

    Attributes:
        state: the state that is carried from batch to batch; see `CarriedState` for when it advances.

    Shapes: int64 words (B, T) to scores (B, T, num_words).

    Raises:
        ShapeError: at run time, the input is not (B, T) whole numbers.

    Source: Merity et al., arXiv 1708.02182, section 4, as implemented in DARTS's released code. Differs from it: no
    slowness penalty on the outputs.
    """

    input_dtype = torch.int64

    def __init__(
        self,
        cell: nn.Module,
        num_words: int,
        hidden: int,
        *,
        dropout_words: float = 0.1,
        dropout_inputs: float = 0.2,
        dropout_outputs: float = 0.75,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.decoder = nn.Linear(hidden, num_words)
        self.dropout_words = dropout_words
        self.drop_inputs = LockedDropout(dropout_inputs)
        self.drop_outputs = LockedDropout(dropout_outputs)
        self.state = CarriedState(int(cell.state_features))  # type: ignore[arg-type]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the shared weight from U(-0.04, 0.04), and set the decoder's bias to 0."""
        nn.init.uniform_(self.decoder.weight, -INITIAL_RANGE, INITIAL_RANGE)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, words: Tensor) -> Tensor:
        """Return the scores (B, T, num_words) of the word after each word of `words` (B, T).

        The pass begins with the carried state and notes its last state in `state`.
        """
        if words.dim() != 2 or words.is_floating_point():
            raise ShapeError(
                f"a language model takes whole numbers (B, T), the indices of words, but got {words.dtype} "
                f"{tuple(words.shape)}; give it a task of text"
            )
        x = self.drop_inputs(self._embedded(words))
        outputs, last = self.cell(x, self.state.start(x))
        self.state.end(last)
        scores: Tensor = self.decoder(self.drop_outputs(outputs))
        return scores

    def _embedded(self, words: Tensor) -> Tensor:
        """Return the embedded words (B, T, hidden), in training with words dropped."""
        x = functional.embedding(words, self.decoder.weight)
        if not self.training or self.dropout_words == 0:
            return x
        kept = locked_mask(self.decoder.weight.detach()[:, :1], self.dropout_words)
        return x * functional.embedding(words, kept)
