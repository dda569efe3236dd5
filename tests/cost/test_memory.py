"""Peak activation memory in closed forms, on networks made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.cost import COSTS, peak_memory_bytes
from onepath.errors import ShapeError

MAP = 8 * 8 * 4  # bytes of one float32 channel


class Calls(nn.Module):
    """A function of the input and of layers."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.layers)


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


CHAINS = {
    # One operation: what it reads and what it makes; never the weights.
    "convolution": (conv(4, 16), 4 + 16),
    "convolution-to-half": (conv(4, 16, stride=2), 4 + 4),
    # The widest pair of neighbours.
    "chain": (nn.Sequential(conv(4, 16), conv(16, 8), conv(8, 2)), 16 + 8),
    "chain-that-grows": (nn.Sequential(conv(4, 5), conv(5, 6), conv(6, 30)), 6 + 30),
    # In place by rule, or by the user: nothing is added.
    "relu": (nn.Sequential(conv(4, 16), nn.ReLU()), 4 + 16),
    "relu-in-place": (nn.Sequential(conv(4, 16), nn.ReLU(inplace=True)), 4 + 16),
    "normalised": (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Hardswish()), 4),
    "normalised-after": (nn.Sequential(conv(4, 16), nn.BatchNorm2d(16), nn.ReLU6(), conv(16, 3)), 4 + 16),
    # Indices that nobody reads are not there; in evaluation, neither is dropout.
    "max-pool": (nn.Sequential(nn.Dropout(), nn.MaxPool2d(2)), 4 + 1),
    "average-pool": (nn.AvgPool2d(2), 4 + 1),
    # Views.
    "flatten": (nn.Sequential(conv(4, 2), nn.Flatten(), nn.Unflatten(1, (2, 8, 8))), 4 + 2),
    "transposed": (Calls(lambda x: x.transpose(1, 2).mT[:, 1:].chunk(2, 1)[0]), 4),
    "identity": (nn.Identity(), 4),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name: str) -> None:
    model, channels = CHAINS[name]
    assert peak_memory_bytes(model, (4, 8, 8)) == channels * MAP


BRANCHES = {
    # The input waits for the sum: x, x1, x2 are there in the second layer, and the sum takes the place of one.
    "residual": (Calls(lambda x, a, b: x + b(a(x)), conv(4, 6), conv(6, 4)), 4 + 6 + 4),
    "narrow-residual": (Calls(lambda x, a, b: x + b(a(x)), conv(4, 1), conv(1, 4)), 4 + 1 + 4),
    "residual-in-place": (Calls(lambda x, a: a(x).add_(x), conv(4, 4)), 4 + 4),
    # Two branches side by side: the first's result waits while the second runs.
    "two-branches": (Calls(lambda x, a, b: a(x) + b(x), conv(4, 7), conv(4, 7)), 4 + 7 + 7),
    # Of a concatenation, the parts and the whole.
    "concatenated": (
        Calls(lambda x, a, b: torch.cat((a(x), b(x)), 1), conv(4, 3), conv(4, 5)),
        3 + 5 + 8,
    ),
    "concatenated-with-input": (Calls(lambda x, a: torch.cat((x, a(x)), 1), conv(4, 6)), 2 * (4 + 6)),
    # Dense: all that came before is joined again.
    "dense": (
        Calls(
            lambda x, a, b: (y := torch.cat((x, a(x)), 1)) is None or torch.cat((y, b(y)), 1),
            conv(4, 2),
            conv(6, 2),
        ),
        2 * (6 + 2),
    ),
    # The value itself and its square: what is needed later is not written over.
    "kept": (Calls(lambda x: torch.cat((x, x.relu()), 1)), 2 * (4 + 4)),
    "written-over": (Calls(lambda x: x.relu().sigmoid().tanh() * 2), 4),
    # All that is returned is alive to the end.
    "two-outputs": (Calls(lambda x, a, b: (a(x), b(x)), conv(4, 3), conv(4, 9)), 4 + 3 + 9),
    # The input is there from the start, also where it is read last.
    "read-late": (
        Calls(lambda x, a: (torch.ones(1, 30, 8, 8, device=x.device).sum() + 1) * a(x), conv(4, 1)),
        4 + 30,
    ),
    # A result that nothing reads is none.
    "unread": (Calls(lambda x, a, b: (a(x), b(x))[1], conv(4, 40), conv(4, 2)), 4 + 2),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_branches(name: str) -> None:
    model, channels = BRANCHES[name]
    found = peak_memory_bytes(model, (4, 8, 8))
    extra = 4 if name == "read-late" else 0  # the sum itself, one number
    assert found == channels * MAP + extra


@pytest.mark.parametrize(
    "kind",
    [
        *(nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid),
        *(nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Tanh),
    ],
)
def test_every_activation_writes_over_its_input(kind: type[nn.Module]) -> None:
    assert peak_memory_bytes(nn.Sequential(kind(), kind()), (4, 8, 8)) == 4 * MAP


def test_the_order_of_execution_decides() -> None:
    wide, narrow = conv(4, 20), nn.Conv2d(20, 1, 1)
    one_by_one = Calls(lambda x, a, b: b(a(x)) + b(a(x)), wide, narrow)
    together = Calls(lambda x, a, b: sum(map(b, [a(x), a(x)]), 0), wide, narrow)
    assert peak_memory_bytes(one_by_one, (4, 8, 8)) == (4 + 1 + 20) * MAP
    assert peak_memory_bytes(together, (4, 8, 8)) == (4 + 20 + 20) * MAP


def test_numbers_have_the_size_of_their_type() -> None:
    class Words(nn.Module):
        input_dtype = torch.long

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, 3)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.embed(x)
            return output

    assert peak_memory_bytes(Words(), (5,)) == 5 * 8 + 5 * 3 * 4
    half = Calls(lambda x, a: a(x.half()), nn.Linear(8, 6).half())
    assert peak_memory_bytes(half, (8,)) == 8 * 4 + 8 * 2


def test_a_network_that_needs_values_is_traced_too() -> None:
    model = Calls(lambda x, a: a(x) if bool((x <= 0).all()) else x, conv(4, 16))
    assert peak_memory_bytes(model, (4, 8, 8)) == 20 * MAP


def test_recurrent_layers_and_attention_are_traced() -> None:
    heads, steps, width = 2, 6, 8
    attention = Calls(lambda x: functional.scaled_dot_product_attention(x, x, x))
    assert peak_memory_bytes(attention, (heads, steps, width)) >= 2 * heads * steps * width * 4
    lstm = Calls(lambda x, a: a(x)[0], nn.LSTM(8, 5, batch_first=True))
    assert peak_memory_bytes(lstm, (6, 8)) >= (6 * 8 + 6 * 5) * 4


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_depth_adds_nothing_to_equal_layers(depth: int) -> None:
    model = nn.Sequential(*(nn.Sequential(conv(4, 4), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(depth)))
    assert peak_memory_bytes(model, (4, 8, 8)) == 8 * MAP


def test_the_network_is_left_as_it_was() -> None:
    model = nn.Sequential(conv(4, 4), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert COSTS["memory"].count(model, (4, 8, 8)).total == peak_memory_bytes(model, (4, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_wrong_shape_is_one_line() -> None:
    with pytest.raises(ShapeError, match=r"inputs of shape \(3, 8, 8\)") as error:
        peak_memory_bytes(conv(4, 4), (3, 8, 8))
    assert "\n" not in str(error.value)
