"""Networks whose own code would break or change as they become elastic: left as they are, or refused in one line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conversion.zoo import randomise
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

import onepath as op
from onepath.errors import ShapeError, UserError
from onepath.space.ends import end_of

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def around(module: nn.Module) -> nn.Module:
    """A network of 16 channels with a module in it, random in all that it holds."""
    model = nn.Sequential(layer(3, 16), module, layer(16, 16), nn.Conv2d(16, 4, 1)).double().eval()
    randomise(model)
    return model


def checked(model: nn.Module, inputs: Any = X, **options: Any) -> op.Supernet:
    """Its conversion, after the largest, the smallest and four random networks have been compared."""
    with torch.no_grad():
        before = model(inputs)
    supernet = op.convert(model, inputs, **options).eval()
    drawn = supernet.space.architectures(supernet.space.sample(4, np.random.default_rng(0)))
    largest, smallest = end_of(supernet.space, max), end_of(supernet.space, min)
    with torch.no_grad():
        for architecture in (largest, smallest, *drawn):
            one, other = supernet(inputs, architecture), supernet.extract(architecture).eval()(inputs)
            assert one.shape == before.shape
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
        assert torch.allclose(
            supernet(inputs, largest), before, rtol=1e-9, atol=1e-9 * float(before.abs().max())
        )
        assert torch.equal(model(inputs), before), "the model itself is not changed"
    return supernet


def names(supernet: op.Supernet) -> list[str]:
    return [choice.name for choice in supernet.space.choices]


class Functional(nn.Module):
    """Reads the weight of a layer that it does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(16, 16, 5, padding=2, groups=16)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.depthwise.weight, self.depthwise.bias, padding=2, groups=x.shape[1])


class Merged(nn.Module):
    """Adds two depthwise kernels of different sides."""

    def __init__(self) -> None:
        super().__init__()
        self.large = nn.Conv2d(16, 16, 7, padding=3, groups=16, bias=False)
        self.small = nn.Conv2d(16, 16, 5, padding=2, groups=16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.large.weight + functional.pad(self.small.weight, [1] * 4)
        return functional.conv2d(x, kernel, padding=3, groups=x.shape[1])


class PadsItself(nn.Conv2d):
    """Pads by its own rule, which does not know that the kernel is smaller."""

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (2,) * 4, mode="reflect")
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


@pytest.mark.parametrize(
    "module",
    [
        Functional(),
        Merged(),
        PadsItself(16, 16, 5, padding=2, groups=16),
        weight_norm(nn.Conv2d(16, 16, 7, padding=3, groups=16)),
    ],
    ids=["functional", "merged", "pads itself", "weight norm"],
)
def test_kernels_that_the_code_needs_whole_stay(module: nn.Module) -> None:
    supernet = checked(around(module))
    assert not any("kernel" in name for name in names(supernet))
    assert any("width" in name for name in names(supernet))


def test_a_layer_that_does_not_run_has_no_kernel_to_choose() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.dead = around(nn.Identity()), nn.Conv2d(16, 16, 5, padding=2, groups=16).double()

        def forward(self, x: Tensor) -> Any:
            return self.net(x)

    assert not any("dead" in name for name in names(checked(Dead().eval())))


def test_a_plain_depthwise_kernel_beside_one_that_stays_is_elastic() -> None:
    both = nn.Sequential(
        PadsItself(16, 16, 5, padding=2, groups=16), nn.Conv2d(16, 16, 5, padding=2, groups=16)
    )
    assert [name for name in names(checked(around(both))) if "kernel" in name] == ["1.1.kernel"]


class Block(nn.Module):
    """A residual block that keeps something for others."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(32, 32)
        self.kept: Any = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        self.kept = y.pow(2).mean()
        return x + y


class Blocks(nn.Module):
    """Blocks, of which each is read again."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.first, self.blocks = nn.Linear(32, 32), nn.ModuleList([Block(), Block()])
        self.head, self.reads = nn.Linear(32, 4), reads

    def forward(self, x: Tensor) -> Any:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        last: Any = self.blocks[-1]
        if self.reads == "kept":
            return self.head(x) + sum(block.kept for block in self.blocks)  # type: ignore[misc]
        return self.head(x) + self.head(last.inner(x)) if self.reads == "layer" else self.head(x)


@pytest.mark.parametrize(("reads", "has_depth"), [("kept", False), ("layer", False), ("", True)])
def test_blocks_that_are_read_again_stay(reads: str, has_depth: bool) -> None:
    model = Blocks(reads).double().eval()
    randomise(model)
    x = torch.randn(3, 32, dtype=torch.float64)
    assert ("blocks.depth" in names(checked(model, x, widths=[0.5, 1]))) == has_depth


def test_an_encoder_that_looks_into_its_only_layer_keeps_it() -> None:
    encoder = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
    model = nn.Sequential(
        nn.Linear(32, 32), nn.TransformerEncoder(encoder, 1, enable_nested_tensor=False), nn.Linear(32, 4)
    )
    model = model.double().eval()
    randomise(model)
    supernet = checked(model, torch.randn(2, 6, 32, dtype=torch.float64))
    assert not any("depth" in name for name in names(supernet))


class Teacher(nn.Module):
    """Moves parameters and a buffer as it runs in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.teacher = layer(3, 16), layer(3, 16)
        self.head = nn.Sequential(layer(16, 16), nn.Conv2d(16, 4, 1))
        self.register_buffer("centre", torch.randn(1, 16, 1, 1))

    def forward(self, x: Tensor) -> Any:
        y = self.net(x)
        if self.training:
            with torch.no_grad():
                for own, other in zip(self.teacher.parameters(), self.net.parameters(), strict=True):
                    own.mul_(0.9).add_(0.1 * other)
                self.centre = 0.9 * self.centre + 0.1 * y.mean((0, 2, 3), keepdim=True)
        return self.head(y + self.teacher(x) - self.centre)


def test_the_pass_in_training_mode_leaves_no_trace() -> None:
    model = Teacher().double().eval()
    randomise(model)
    assert any("width" in name for name in names(checked(model)))


def test_sizes_of_what_is_returned_stay() -> None:
    class Pools(nn.Module):
        """As many places as channels, by coincidence."""

        def __init__(self) -> None:
            super().__init__()
            self.net, self.feature_size, self.head = layer(3, 16), 16, layer(16, 16)

        def forward(self, x: Tensor) -> Any:
            y = functional.adaptive_avg_pool2d(self.net(x), self.feature_size)
            return self.head(y).mean(1)

    model = Pools().double().eval()
    randomise(model)
    checked(model)


def test_code_that_asks_for_exact_types_is_refused() -> None:
    class Typed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 4, 3, padding=1)])

        def forward(self, x: Tensor) -> Any:
            for module in self.layers:
                x = module(x).relu() if type(module) is nn.Conv2d else module(x)
            return x

    model = Typed().double().eval()
    randomise(model)
    with pytest.raises(ShapeError, match="making layers elastic must not change what a model computes"):
        op.convert(model, X)


def test_a_network_that_draws_or_writes_into_its_input_converts() -> None:
    class Draws(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.head = layer(3, 16), nn.Conv2d(16, 4, 1)

        def forward(self, x: Tensor) -> Any:
            x.mul_(0.5)
            y = self.net(x)
            return self.head(y + 0.1 * torch.randn_like(y))

    model = Draws().double().eval()
    randomise(model)
    example = X.clone()
    assert any("width" in name for name in names(op.convert(model, example)))
    assert torch.equal(example, X), "the example stays as it is"


class Outputs(nn.Module):
    """Returns what a function makes of the logits."""

    def __init__(self, returns: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.returns = nn.Sequential(layer(3, 16), nn.Flatten(), nn.Linear(4096, 4)), returns

    def forward(self, x: Tensor) -> Any:
        return self.returns(self.net(x))


def fails(error: Exception) -> nn.Module:
    def forward(x: Tensor) -> Any:
        raise error

    return Outputs(forward)


def frozen() -> nn.Module:
    return Outputs(lambda y: y).requires_grad_(False)


X32, Y = X.float(), torch.tensor([0, 3])
WRONG: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "KeyError": (lambda: fails(KeyError("a")), {}),
    "ZeroDivisionError": (lambda: fails(ZeroDivisionError("a")), {}),
    "images of other channels": (
        frozen,
        {"example_inputs": torch.randn(2, 4, 16, 16), "resolutions": [8, 16]},
    ),
    "resolutions": (frozen, {"resolutions": 16}),
    "widths": (frozen, {"widths": 0.5}),
    "no widths": (frozen, {"widths": None}),
    "no pin": (frozen, {"pin": None}),
    "pin by number": (frozen, {"pin": [0]}),
    "depth": (frozen, {"depth": 2}),
    "data of other channels": (frozen, {"data": [(torch.randn(2, 4, 16, 16), Y)]}),
    "targets out of range": (frozen, {"data": [(X32, Y + 9)]}),
    "no targets": (frozen, {"data": [X32]}),
    "a number": (frozen, {"data": 5}),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_told_in_one_line(name: str) -> None:
    make, options = WRONG[name]
    options = dict(options)
    example = options.pop("example_inputs", X32)
    with pytest.raises(UserError) as raised:
        op.convert(make(), example, **options)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    "model",
    [frozen(), Outputs(lambda y: {"logits": y}), Outputs(lambda y: (y, None))],
    ids=["frozen parameters", "a mapping", "a tuple"],
)
def test_importance_is_measured_on_data(model: nn.Module) -> None:
    before = [parameter.requires_grad for parameter in model.parameters()]
    supernet = op.convert(model, X32, data=[(X32, Y)])
    assert [parameter.requires_grad for parameter in supernet.module.parameters()] == before


def test_a_module_that_holds_a_lock_or_an_activation_converts() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.lock, self.last = Outputs(lambda y: y), threading.Lock(), None

        def forward(self, x: Tensor) -> Any:
            with self.lock:
                self.last = self.net(x)
                return self.last

    model = Keeps()
    model(X32).sum().backward()
    assert names(op.convert(model, X32))
