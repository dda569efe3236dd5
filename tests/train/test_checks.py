"""What is found before anything is trained."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.data import TextTask
from onepath.errors import BindingError, ConfigurationError, ShapeError, UserError
from onepath.nn import ChoiceBlock, ElasticBatchNorm2d, ElasticConv2d, ElasticDepth, ElasticLinear, Supernet
from onepath.nn.edge_sum import EdgeSum, edge_options
from onepath.space import Choice
from onepath.train.checks import check_fresh, check_model, check_supernet, warn_unless_fresh


class Images:
    """All that a check asks of a task of images (1, 8, 8) of three classes."""

    input_shape = (1, 8, 8)
    num_classes = 3


IMAGES: Any = Images()
TEXT = TextTask(
    "words",
    {split: np.arange(200) % 5 for split in ("train", "validation", "test")},  # type: ignore[misc]
    tuple("abcde"),
    length=7,
)


def _conv(*sizes: Any, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(*sizes, **options)


def _net(*parts: nn.Module, features: int = 4) -> nn.Sequential:
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 3))


WIDTHS = {"w4": _conv(1, 4, 1), "w2": _conv(1, 2, 1)}
STRIDES = {"s1": _conv(1, 4, 3, padding=1), "s2": _conv(1, 4, 3, 2, 1)}


@pytest.mark.parametrize("adds", [False, True])
def test_what_fits_passes(adds: bool) -> None:
    nested = ChoiceBlock({"a": _conv(4, 4, 1), "b": nn.Identity()})
    block = ChoiceBlock({"k1": _conv(1, 4, 1), "k3": nn.Sequential(_conv(1, 4, 3, padding=1), nested)})
    node = EdgeSum([nn.Identity(), _conv(4, 4, 1), nn.ReLU()], Choice("edges", edge_options(3)))

    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = node

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.node([x, x, x])
            return out

    check_supernet(Supernet(_net(block, nn.BatchNorm2d(4), Cell())), IMAGES, adds=adds)


def test_elastic_layers_of_shared_sizes_pass() -> None:
    width, kernel = Choice("w", [2, 4, 6]), Choice("k", [1, 3, 5])
    blocks = [ElasticConv2d(width, width, kernel, padding=2), ElasticBatchNorm2d(width)]
    net = nn.Sequential(
        ElasticConv2d(1, width, 1),
        ElasticDepth(blocks, Choice("depth", [0, 1, 2])),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        ElasticLinear(width, 3),
    )
    check_supernet(Supernet(net), IMAGES)


def test_a_shared_choice_is_compared_under_one_option() -> None:
    choice = Choice("width", ["w4", "w2"])
    heads = {"w4": nn.Linear(4, 3), "w2": nn.Linear(2, 3)}
    net = nn.Sequential(
        ChoiceBlock(WIDTHS, choice), nn.AdaptiveAvgPool2d(1), nn.Flatten(), ChoiceBlock(heads, choice)
    )
    check_supernet(Supernet(net), IMAGES)
    with pytest.raises(
        ShapeError, match=r"0: .*'w4' returns shape \(2, 4, 8, 8\) and candidate 'w2' shape \(2, 2"
    ):
        check_supernet(Supernet(net), IMAGES, adds=True)


def test_sizes_may_differ_where_one_path_runs_and_what_follows_accepts_each() -> None:
    supernet = Supernet(_net(ChoiceBlock(STRIDES)))
    check_supernet(supernet, IMAGES)
    with pytest.raises(
        ShapeError, match=r"0: all outputs must have one shape.*\(2, 1, 8, 8\).*'s1'.*\(2, 4, 4, 4\)"
    ):
        check_supernet(supernet, IMAGES, adds=True)


FAULTS: dict[str, tuple[nn.Module, str]] = {
    "width": (
        _net(ChoiceBlock(WIDTHS), _conv(4, 4, 1)),
        r"^1: Conv2d must accept .*\(2, 2, 8, 8\).*in 0 candidate 'w4' returns shape \(2, 4, 8, 8\), candidate 'w2'",
    ),
    "stride": (
        nn.Sequential(ChoiceBlock(STRIDES), nn.Flatten(), nn.Linear(256, 3)),
        r"^2: Linear must accept .*'s2' returns shape \(2, 4, 4, 4\)",
    ),
    "candidate": (
        _net(ChoiceBlock({"a": _conv(1, 4, 1), "b": nn.Sequential(_conv(3, 4, 1))})),
        r"^0: every candidate must accept .* 'b' does not accept .*\(2, 1, 8, 8\).* 0.candidates.1.0: Conv2d",
    ),
    "nested": (
        _net(ChoiceBlock({"a": _conv(1, 4, 1), "b": nn.Sequential(ChoiceBlock({"c": _conv(3, 4, 1)}))})),
        r"0.candidates.1.0: every candidate .* 'c'",
    ),
    "two blocks": (
        _net(ChoiceBlock(WIDTHS), ChoiceBlock({"i4": _conv(4, 4, 1), "i2": _conv(2, 4, 1)})),
        r"^1: every candidate .* 'i2' does not accept .*\(2, 4, 8, 8\)",
    ),
    "norm behind a width": (
        nn.Sequential(
            ElasticConv2d(1, Choice("w", [4, 2]), 1), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3)
        ),
        "^1: BatchNorm2d .* use ElasticBatchNorm2d",
    ),
    "depth": (
        _net(ElasticDepth([_conv(1, 4, 1), _conv(4, 2, 1)], Choice("d", [1, 2]))),
        r"^3: Linear must accept .*depth 1 returns shape \(2, 4, 8, 8\), depth 2 returns shape \(2, 2",
    ),
    "two widths added": (
        nn.Sequential(
            ElasticConv2d(1, Choice("a", [2, 4]), 1), ElasticConv2d(Choice("b", [2, 4]), 3, 8), nn.Flatten()
        ),
        "^1: the input must have . channels under the active architecture",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_named(name: str) -> None:
    net, words = FAULTS[name]
    if name == "norm behind a width":
        net(torch.zeros(2, 1, 8, 8))
    supernet = Supernet(net)
    with pytest.raises(ShapeError, match=words) as caught:
        check_supernet(supernet, IMAGES)
    assert "\n" not in str(caught.value)


def test_edges_and_depths_of_other_shapes() -> None:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = EdgeSum([nn.Identity(), _conv(1, 4, 1)], Choice("e", edge_options(2, 1)))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.node([x, x])
            return out

    with pytest.raises(
        ShapeError, match=r"0.node: .*edge 0 returns shape \(2, 1, 8, 8\) and edge 1 shape \(2, 4"
    ):
        check_supernet(Supernet(_net(Cell())), IMAGES)


class Returns(nn.Module):
    """Gives what a function makes of three numbers per example."""

    def __init__(self, change: Any, num: int = 3) -> None:
        super().__init__()
        self.block = ChoiceBlock([nn.Linear(64, num)])
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.block(x.flatten(1)))


class Wrapped:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


OUTPUTS: dict[str, tuple[Any, int]] = {
    "too few": (lambda y: y, 2),
    "too many": (lambda y: y, 5),
    "dict": (lambda y: {"logits": y}, 3),
    "tuple": (lambda y: (y, y), 3),
    "list": (lambda y: [y], 3),
    "none": (lambda _: None, 3),
    "object": (Wrapped, 3),
    "no batch": (lambda y: y[0], 3),
    "mean over the batch": (lambda y: y.mean(0, keepdim=True), 3),
    "one more dimension": (lambda y: y[:, None], 3),
    "maps": (lambda y: y[:, :, None, None], 3),
    "scalar": (lambda y: y.sum(), 3),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_are_one_row_of_numbers_each(name: str) -> None:
    change, num = OUTPUTS[name]
    task = op.load_data((np.random.default_rng(0).random((60, 8, 8)), np.arange(60) % 3))
    words = (
        "must return one tensor"
        if name in ("dict", "tuple", "list", "none", "object")
        else "must return 3 numbers"
    )
    with pytest.raises(ShapeError, match=words):
        check_supernet(Supernet(Returns(change, num)), task)
    with pytest.raises(ShapeError, match=words):
        check_model(nn.Sequential(nn.Flatten(), nn.Linear(64, num), Apply(change)), task)


class Apply(nn.Module):
    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(x)


def test_text_needs_numbers_for_each_word() -> None:
    def net(last: nn.Module) -> Supernet:
        return Supernet(nn.Sequential(nn.Embedding(5, 4), ChoiceBlock([nn.Linear(4, 5)]), last))

    check_supernet(net(nn.Identity()), TEXT)
    with pytest.raises(ShapeError, match=r"5 numbers per word.*\(2, 7, 5\)"):
        check_supernet(net(Apply(lambda y: y.mean(1))), TEXT)


def test_two_inputs_are_told_before_training() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = ChoiceBlock([nn.Identity()])

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.block(x) + y  # type: ignore[no-any-return]

    with pytest.raises(BindingError, match=r"Two.forward must take one input.*\(x, y\)"):
        check_supernet(Supernet(Two()), IMAGES)


class Draws(nn.Module):
    """Draws from every generator, keeps what it saw, and needs values."""

    def __init__(self) -> None:
        super().__init__()
        self.block = ChoiceBlock({"a": nn.Conv2d(1, 4, 1), "b": nn.Conv2d(1, 4, 3, padding=1)})
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.seen: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.sum().item() + random.random() + np.random.rand() + torch.rand(()).item())  # noqa: NPY002
        out: Tensor = self.head(self.norm(self.block(x)).mean((2, 3)))
        return out


def test_a_check_leaves_no_trace() -> None:
    net = Draws()
    net.block.eval()
    supernet = Supernet(net)
    supernet.activate(supernet.space.parse("1"))
    state = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    generators = random.getstate(), str(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    check_supernet(supernet, IMAGES)
    assert net.seen == []
    assert (random.getstate(), str(np.random.get_state())) == generators[:2]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), generators[2])
    assert all(torch.equal(state[name], tensor) for name, tensor in supernet.state_dict().items())
    assert net.training
    assert not net.block.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert "forward" not in net.block.__dict__
    check_supernet(supernet, IMAGES)
    assert torch.equal(torch.get_rng_state(), generators[2])


def test_one_example_per_part_meets_normalisation_of_1x1_maps() -> None:
    net = _net(ChoiceBlock([nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv(1, 4, 1), nn.BatchNorm2d(4))]))
    check_supernet(Supernet(net), IMAGES)
    with pytest.raises(ShapeError, match=r"0.candidates.0.2: BatchNorm2d .* fewer ghost batches"):
        check_supernet(Supernet(net), IMAGES, batch=1)


def _digits() -> op.Task:
    rng = np.random.default_rng(0)
    return op.load_data((rng.random((60, 8, 8)), np.arange(60) % 3))


def _searches(supernet: Supernet, task: op.Task) -> dict[str, Any]:
    sampler = op.UniformSampler(supernet.space)
    return {
        "train_supernet": lambda: op.train_supernet(supernet, task, sampler=sampler, epochs=1),
        "search_supernet": lambda: op.search_supernet(
            supernet, task, op.RandomSearch(supernet.space, seed=0, num=1)
        ),
        "spos": lambda: op.spos(supernet, task, epochs=1),
        "fairnas": lambda: op.fairnas(supernet, task, epochs=1),
        "one_shot": lambda: op.one_shot(supernet, task, epochs=1),
        "darts": lambda: op.darts(supernet, task, epochs=1),
        "gdas": lambda: op.gdas(supernet, task, epochs=1),
        "proxyless": lambda: op.proxyless(supernet, task, epochs=1, warmup_epochs=0),
    }


@pytest.mark.parametrize("name", _searches(Supernet(_net(ChoiceBlock(WIDTHS))), IMAGES))
def test_every_search_checks_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onepath.train.training.Training._step", None)
    with pytest.raises(ShapeError, match="w4"):
        _searches(Supernet(_net(ChoiceBlock(WIDTHS))), _digits())[name]()


def test_weights_that_are_not_finite_are_named_before_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onepath.train.training.Training._step", None)
    net = _net(ChoiceBlock([_conv(1, 4, 1), _conv(1, 4, 3, padding=1)]))
    with torch.no_grad():
        net[-1].bias[0] = float("nan")
    for called in (
        _searches(Supernet(net), _digits())["spos"],
        lambda: op.train_model(_net(_conv(1, 4, 1), net[-1], features=3), _digits()),
    ):
        with pytest.raises(ConfigurationError, match=r"must be finite, but '.*bias' holds NaN"):
            called()


@pytest.mark.parametrize("name", ["one_shot", "darts", "gdas", "proxyless"])
def test_methods_that_add_candidates_need_one_shape(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onepath.train.training.Training._step", None)
    net = nn.Sequential(ChoiceBlock({"conv": _conv(1, 8, 1), "skip": nn.Identity()}), *_net(_conv(8, 4, 1)))
    with pytest.raises(
        ShapeError, match=r"0: all outputs .*'conv' returns shape \(2, 8, 8, 8\) and candidate 'skip'"
    ):
        _searches(Supernet(net), _digits())[name]()


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


def test_modules_that_cannot_be_reset_are_found_in_every_candidate() -> None:
    def block(candidate: nn.Module) -> ChoiceBlock:
        return ChoiceBlock(
            {"a": _conv(4, 4, 1), "b": nn.Sequential(ChoiceBlock([_conv(4, 4, 1), candidate]))}
        )

    check_fresh(Supernet(_net(block(_conv(4, 4, 1)), block(nn.PReLU()))))
    supernet = Supernet(_net(_conv(1, 4, 1), block(_conv(4, 4, 1)), block(Scale())))
    with pytest.raises(BindingError, match=r"^2.candidates.1.0.candidates.1: .*Scale has none"):
        check_fresh(supernet)
    with pytest.warns(UserWarning, match="cannot be trained from scratch: .*Scale"):
        warn_unless_fresh(supernet)
    with pytest.raises(UserError, match="Scale has none"):
        op.estimate.StandaloneEstimator(supernet, _digits())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unless_fresh(Supernet(_net(block(_conv(4, 4, 1)))))


def test_a_run_finds_faults_before_it_has_a_directory(tmp_path: Any) -> None:
    (tmp_path / "space.py").write_text(
        "import torch, onepath as op\n"
        "from torch import nn\n"
        "class Scale(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.g = nn.Parameter(torch.ones(8, 1, 1))\n"
        "    def forward(self, x): return x * self.g\n"
        "def net(c, n, *parts):\n"
        "    return nn.Sequential(nn.Conv2d(c, 8, 1), op.ChoiceBlock(list(parts)), nn.AdaptiveAvgPool2d(1),\n"
        "                         nn.Flatten(), nn.Linear(8, n))\n"
        "def scale(num_classes, in_channels): return net(in_channels, num_classes, nn.Identity(), Scale())\n"
        "def width(num_classes, in_channels): return net(in_channels, num_classes, nn.Identity(), nn.Conv2d(8, 4, 1))\n"
        "def few(num_classes, in_channels): return net(in_channels, 7, nn.Identity())\n"
    )
    faults = {
        "scale": "1.candidates.1: .*Scale has none",
        "width": "4: Linear must accept",
        "few": "10 numbers per",
    }
    for name, words in faults.items():
        out = tmp_path / name
        with pytest.raises(UserError, match=words):
            op.run("digits", space=f"{tmp_path}/space.py:{name}", out=out, epochs=1, retrain_epochs=1)
        assert not out.exists()
