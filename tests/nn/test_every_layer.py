"""What holds for every elastic layer: it is torch's own layer at whole numbers, and a slice of itself else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.convnext import LayerNorm2d

from onepath import cost
from onepath.errors import BindingError, ShapeError
from onepath.estimate.recalibration import recalibrate_batchnorm
from onepath.export import export_onnx
from onepath.latency import Device, Prepared, Schedule, profile
from onepath.nn import (
    ElasticBatchNorm1d,
    ElasticBatchNorm2d,
    ElasticConv1d,
    ElasticConv2d,
    ElasticEmbedding,
    ElasticGroupNorm,
    ElasticLayerNorm,
    ElasticLinear,
    Supernet,
)
from onepath.nn.fresh import reset_weights
from onepath.space import Choice, Size

WIDTHS = (4, 8, 12)


class Kind(NamedTuple):
    """One layer whose number of channels is the width; `shape` is of an input of that width."""

    elastic: Callable[[Any], nn.Module]
    plain: Callable[[int], nn.Module]
    shape: Callable[[int], tuple[int, ...]]
    is_indexed: bool = False

    def inputs(self, width: int) -> Tensor:
        if self.is_indexed:
            return torch.randint(0, 5, self.shape(width))
        return torch.randn(self.shape(width)) * 2 + 1


KINDS: dict[str, Kind] = {
    "conv1d": Kind(
        lambda w: ElasticConv1d(w, w, 5, 2, 2), lambda w: nn.Conv1d(w, w, 5, 2, 2), lambda w: (3, w, 9)
    ),
    "conv1d outputs": Kind(
        lambda w: ElasticConv1d(3, w, 3, padding="same", bias=False, padding_mode="circular"),
        lambda w: nn.Conv1d(3, w, 3, padding="same", bias=False, padding_mode="circular"),
        lambda _: (3, 3, 9),
    ),
    "conv1d depthwise": Kind(
        lambda w: ElasticConv1d(w, w, 4, dilation=2, groups=w),
        lambda w: nn.Conv1d(w, w, 4, dilation=2, groups=w),
        lambda w: (3, w, 9),
    ),
    "conv2d": Kind(
        lambda w: ElasticConv2d(w, w, (3, 1)), lambda w: nn.Conv2d(w, w, (3, 1)), lambda w: (3, w, 5, 4)
    ),
    "linear": Kind(lambda w: ElasticLinear(w, w * 2), lambda w: nn.Linear(w, 2 * w), lambda w: (3, 2, w)),
    "batch norm, vectors": Kind(ElasticBatchNorm1d, nn.BatchNorm1d, lambda w: (6, w)),
    "batch norm, sequences": Kind(ElasticBatchNorm1d, nn.BatchNorm1d, lambda w: (6, w, 5)),
    "batch norm, images": Kind(ElasticBatchNorm2d, nn.BatchNorm2d, lambda w: (6, w, 5, 3)),
    "layer norm": Kind(ElasticLayerNorm, nn.LayerNorm, lambda w: (3, 5, w)),
    "layer norm, no bias": Kind(
        lambda w: ElasticLayerNorm(w, 1e-3, bias=False),
        lambda w: nn.LayerNorm(w, 1e-3, bias=False),
        lambda w: (3, w),
    ),
    "layer norm, channels first": Kind(
        lambda w: ElasticLayerNorm(w, 1e-6, num_places=2),
        lambda w: LayerNorm2d(w, 1e-6),
        lambda w: (3, w, 5, 4),
    ),
    "group norm": Kind(lambda w: ElasticGroupNorm(4, w), lambda w: nn.GroupNorm(4, w), lambda w: (3, w, 5)),
    "group norm, groups of two": Kind(
        lambda w: ElasticGroupNorm(w // 2, w), lambda w: nn.GroupNorm(w // 2, w), lambda w: (3, w, 5, 4)
    ),
    "embedding": Kind(
        lambda w: ElasticEmbedding(5, w, padding_idx=1),
        lambda w: nn.Embedding(5, w, padding_idx=1),
        lambda _: (3, 7),
        is_indexed=True,
    ),
    "embedding, rows": Kind(
        lambda w: ElasticEmbedding(w + 1, w), lambda w: nn.Embedding(w + 1, w), lambda _: (3, 7), True
    ),
}
FITTED = [name for name in KINDS if "embedding" not in name and name != "conv1d outputs"]


@torch.no_grad()
def randomise(module: nn.Module, seed: int = 0) -> None:
    """Give every parameter and statistic a value that is not its default."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, 1, generator=generator)


@torch.no_grad()
def take_slices(plain: nn.Module, layer: nn.Module) -> None:
    """Copy the leading entries of a layer's tensors into those of the plain layer, whatever their shapes."""
    theirs = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    for name, tensor in (*plain.named_parameters(), *plain.named_buffers()):
        tensor.copy_(theirs[name][tuple(slice(size) for size in tensor.shape)])


def only_layer(model: Any) -> nn.Module:
    """The layer with tensors in an extracted network."""
    (found,) = (module for module in model.modules() if list(module.parameters(recurse=False)))
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_a_slice_is_the_extracted_layer_and_torchs_own(name: str, training: bool) -> None:
    kind, width = KINDS[name], Choice("w", WIDTHS)
    layer = kind.elastic(width)
    supernet = Supernet(nn.Sequential(layer)).train(training)
    for architecture in supernet.space.enumerate():
        randomise(layer)
        size = int(architecture.options["w"])
        model, twin = supernet.extract(architecture).train(training), kind.plain(size).train(training)
        take_slices(twin, layer)
        x = kind.inputs(size)
        y = supernet(x, architecture)
        torch.testing.assert_close(model(x), y, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(twin(x), y, rtol=1e-6, atol=1e-6)
        assert type(only_layer(model)) in (type(twin), nn.LayerNorm)
        assert not any(type(module).__module__.startswith("onepath") for module in model.modules())
        state = {key.rpartition(".")[2]: value for key, value in model.state_dict().items()}
        for key, value in twin.state_dict().items():  # running statistics moved alike
            torch.testing.assert_close(state[key], value)


@pytest.mark.parametrize("name", KINDS)
def test_whole_numbers_are_torchs_own_layer(name: str) -> None:
    kind = KINDS[name]
    layer, plain = kind.elastic(8), kind.plain(8)
    assert isinstance(layer, type(plain).__mro__[1] if isinstance(plain, LayerNorm2d) else type(plain))
    assert layer.own_choices() == ()  # type: ignore[operator]
    randomise(plain)
    layer.load_state_dict(plain.state_dict())
    x = kind.inputs(8)
    for training in (True, False):
        assert torch.equal(layer.train(training)(x), plain.train(training)(x))
    extracted: Any = layer.extracted(inherit=True)  # type: ignore[operator]
    torch.testing.assert_close(extracted.eval()(x), plain(x))


@pytest.mark.parametrize("name", KINDS)
def test_fresh_weights_are_those_of_torch(name: str) -> None:
    kind = KINDS[name]
    supernet = Supernet(nn.Sequential(kind.elastic(Choice("w", WIDTHS))))
    randomise(supernet)
    model = only_layer(supernet.extract(supernet.space.parse("1"), inherit=False, seed=3))
    twin = kind.plain(8)
    reset_weights(twin, 3)
    assert twin.state_dict().keys() == model.state_dict().keys()
    for key, value in twin.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_finite_differences_and_stay_in_the_slice(name: str) -> None:
    kind, width = KINDS[name], Choice("w", WIDTHS)
    layer = kind.elastic(width).double()
    supernet = Supernet(nn.Sequential(layer))
    randomise(layer)
    with torch.no_grad():
        supernet(
            kind.inputs(4).to(torch.int64 if kind.is_indexed else torch.float64), supernet.space.parse("0")
        )
    names = [name for name, _ in layer.named_parameters()]
    x = kind.inputs(4)

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    if (
        "padding_idx" not in vars(layer) or vars(layer)["padding_idx"] is None
    ):  # its row has no gradient by intent
        inputs = x if kind.is_indexed else x.double().requires_grad_()
        assert torch.autograd.gradcheck(run, (inputs, *layer.parameters()))
    layer(x if kind.is_indexed else x.double()).square().sum().backward()
    twin = kind.plain(4)
    for key, parameter in layer.named_parameters():
        outside = parameter.grad.clone()  # type: ignore[union-attr]
        outside[tuple(slice(size) for size in dict(twin.named_parameters())[key].shape)] = 0
        assert not outside.any(), key


@pytest.mark.parametrize("name", FITTED)
def test_another_number_of_channels_is_named(name: str) -> None:
    kind, width = KINDS[name], Choice("w", WIDTHS)
    layer: Any = kind.elastic(width)
    layer.selection.options = {width: 4}
    layer.path = "body.layer"
    with pytest.raises(ShapeError, match=r"body\.layer: the input must have 4 channels"):
        layer(kind.inputs(8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ElasticGroupNorm(4, Choice("w", [8, 10])), r"4 groups of 10 channels"),
        (lambda: ElasticGroupNorm(Choice("g", [2, 3]), 8), r"3 groups of 8 channels"),
        (lambda: ElasticGroupNorm(3, 8), r"num_groups must divide num_channels"),
        (lambda: ElasticGroupNorm(0, 8), r"num_groups must be a whole number of 1 or more"),
        (lambda: ElasticLayerNorm(Choice("w", ["a", "b"])), r"ElasticLayerNorm: every value of num_features"),
        (lambda: ElasticLayerNorm(8, num_places=3), r"num_places must be 0 for features last"),
        (lambda: ElasticEmbedding(Choice("n", [2, 5]), 4, padding_idx=2), r"a whole number from 0 to 1"),
        (lambda: ElasticEmbedding(5, 4, padding_idx=-1), r"a whole number from 0 to 4"),
        (lambda: ElasticEmbedding(5.0, 4), r"every value of num_embeddings"),  # type: ignore[arg-type]
        (lambda: ElasticBatchNorm1d(0), r"ElasticBatchNorm1d: every value of num_features"),
        (
            lambda: ElasticConv1d(4, 4, (3, 3)),
            r"^ElasticConv1d: kernel_size must be one value or a tuple of one",
        ),
        (
            lambda: ElasticConv1d(4, 4, Choice("k", [3, 4]), padding=2),
            r"\[3, 4\] of length and padding=\(2,\)",
        ),
        (lambda: ElasticConv1d(4, 4, Choice("k", [3, 7]), padding=1), r"pad the largest kernel by 3 to"),
        (lambda: ElasticConv1d(4, 6, 3, groups=4), r"those of an nn.Conv1d, which says"),
        (
            lambda: ElasticConv1d(4, 4, 3, stride=Choice("s", [1, 2])),
            r"stride .* a tuple of one of them, but",
        ),  # type: ignore[arg-type]
    ],
)
def test_sizes_that_do_not_fit_are_one_line(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(BindingError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_a_smaller_kernel_of_a_sequence_is_the_centre_and_keeps_the_length(kernel: int) -> None:
    kernels = Choice("k", [1, 3, 7])
    layer = ElasticConv1d(2, 4, kernels, padding=6, dilation=2)
    layer.selection.options = {kernels: kernel}
    x, margin = torch.randn(2, 2, 9), (7 - kernel) // 2
    weight = layer.weight[:, :, margin : 7 - margin]
    expected = functional.conv1d(x, weight, layer.bias, padding=kernel - 1, dilation=2)
    assert torch.equal(layer(x), expected)
    assert expected.shape[2] == 9


def test_the_vector_of_padding_is_not_trained() -> None:
    layer = ElasticEmbedding(5, Choice("w", [2, 4]), padding_idx=1)
    assert not layer.weight[1].any()
    layer(torch.tensor([0, 1, 1])).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.sum(dim=1).tolist() == [4, 0, 0, 0, 0]


def test_an_input_of_other_dimensions_is_refused_as_torch_does() -> None:
    layer = ElasticBatchNorm2d(Choice("w", WIDTHS))
    with pytest.raises(ValueError, match="expected 4D input"):
        layer(torch.randn(2, 12, 3))


class Sequences(nn.Module):
    """Convolutions over a sequence with every normalisation, and a linear layer."""

    def __init__(self, width: Size, middle: Size) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ElasticConv1d(2, width, Choice("kernel", [3, 5]), padding=2),
            ElasticGroupNorm(2, width),
            nn.ReLU(),
            ElasticConv1d(width, middle, 1, bias=False),
            ElasticBatchNorm1d(middle),
            nn.GELU(),
            ElasticConv1d(middle, middle, 3, padding=1, groups=middle),
            ElasticLayerNorm(middle, num_places=1),
        )
        self.head = ElasticLinear(middle, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(dim=2))


class Words(nn.Module):
    """An embedding whose vectors are also the last layer's rows, as language models tie them."""

    input_dtype = torch.int64

    def __init__(self, width: Size) -> None:
        super().__init__()
        self.embed = ElasticEmbedding(11, width)
        self.norm = ElasticLayerNorm(width)
        self.inner = ElasticLinear(width, width)
        self.head = ElasticLinear(width, 11)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(self.norm(self.embed(x))))


def networks() -> list[tuple[Supernet, tuple[int, ...]]]:
    width = Choice("width", [4, 8])
    return [
        (Supernet(Sequences(width, width * Choice("ratio", [1, 2]))), (2, 6)),
        (Supernet(Words(Choice("width", [4, 8]))), (7,)),
    ]


def batch(supernet: Supernet, shape: Sequence[int]) -> Tensor:
    if isinstance(supernet.module, Words):
        return torch.randint(0, 11, (5, *shape))
    return torch.randn(5, *shape)


def loss_of(outputs: Tensor) -> Tensor:
    targets = torch.arange(outputs[..., 0].numel()) % outputs.shape[-1]
    return functional.cross_entropy(outputs.flatten(0, -2), targets)


@pytest.mark.parametrize("number", [0, 1])
def test_two_updates_of_a_path_are_those_of_its_network(number: int) -> None:
    supernet, shape = networks()[number]
    randomise(supernet)
    start = {key: value.clone() for key, value in supernet.state_dict().items()}
    x = batch(supernet, shape)
    for architecture in supernet.space.enumerate():
        supernet.load_state_dict(start)
        model = supernet.extract(architecture)
        for network in (supernet, model):
            network.train()
            optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
            for _ in range(2):
                optimizer.zero_grad()
                loss_of(network(x, architecture) if network is supernet else network(x)).backward()
                optimizer.step()
        again = supernet.extract(architecture)
        assert again.state_dict().keys() == model.state_dict().keys()
        for key, value in again.state_dict().items():
            torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-5, atol=1e-6)
        moved = [bool((value != start[key]).any()) for key, value in supernet.state_dict().items()]
        assert all(moved)


def test_shared_rows_stay_one_parameter() -> None:
    supernet, _ = networks()[1]
    model: Any = supernet.extract(supernet.space.parse("0"))
    assert model.head.weight is model.embed.weight
    assert model.head.weight.shape == (11, 4)
    wrong = Words(Choice("width", [4, 8]))
    wrong.head = ElasticLinear(Choice("other", [4, 8]), 11)
    wrong.head.weight = wrong.embed.weight
    with pytest.raises(BindingError, match="share a parameter must have the same sizes"):
        Supernet(wrong)


@pytest.mark.parametrize("number", [0, 1])
def test_counting_by_table_and_one_by_one_agree_with_the_closed_form(number: int) -> None:
    supernet, shape = networks()[number]
    tables = {kind: cost.table(supernet, shape, kind) for kind in ("macs", "params")}
    for architecture in supernet.space.enumerate():
        options = architecture.options
        width = int(options["width"])
        if number == 0:
            middle, kernel = width * int(options["ratio"]), int(options["kernel"])
            macs = 6 * (2 * width * kernel + width * middle + 3 * middle) + 3 * middle
            params = (2 * kernel + 1 + 2) * width + (width + 2 + 4 + 2) * middle + 3 * (middle + 1)
        else:
            macs = 7 * (width * width + 11 * width)
            params = 11 * width + 2 * width + (width + 1) * width + 11
        assert cost.macs(supernet, architecture, shape) == tables["macs"].cost(architecture) == macs
        assert cost.params(supernet, architecture) == tables["params"].cost(architecture) == params
        real = supernet.extract(architecture, inherit=False)
        assert sum(parameter.numel() for parameter in real.parameters()) == params


def test_recalibration_takes_part_in_sequences() -> None:
    supernet, shape = networks()[0]
    randomise(supernet)
    model: Any = supernet.extract(supernet.space.parse("1,0,1"))
    batches = [torch.randn(size, *shape) for size in (4, 6, 3)]
    recalibrate_batchnorm(model, batches)
    before = model.body[:4](torch.cat(batches)).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(model.body[4].running_mean, before.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.body[4].running_var, before.var(0), rtol=1e-4, atol=1e-5)


class ByParameters(Device):
    """A network takes 0.1 ms and a microsecond for each parameter, on a machine as quiet as none is."""

    name = "by-parameters"
    schedule = Schedule(num_blocks=4, num_runs=1, num_warm_up=0)

    def prepare(self, model: Any, input_shape: Sequence[int]) -> Prepared:
        del input_shape
        return Took(0.1 + 1e-3 * sum(parameter.numel() for parameter in model.parameters()))


class Took:
    def __init__(self, ms: float) -> None:
        self.ms = ms

    def run(self) -> float:
        return self.ms

    def close(self) -> None:
        pass


@pytest.mark.parametrize("number", [0, 1])
def test_a_latency_table_has_an_entry_for_every_layer(number: int, tmp_path: Path) -> None:
    supernet, shape = networks()[number]
    few: Any = {"num_validation": 19, "num_calibration": 3, "max_seconds": 0}
    table = profile(supernet, ByParameters(), shape, path=tmp_path / "table.json", **few)
    kinds = {key.partition("-")[0] for key in table.entries}
    assert kinds == (
        {"Conv1d", "GroupNorm", "BatchNorm1d", "Sequential", "Linear"}
        if number == 0
        else {"Embedding", "LayerNorm", "Linear"}
    )


class Images(nn.Module):
    """Layer normalisation as in ConvNeXt, between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        width = Choice("width", [4, 8])
        self.body = nn.Sequential(
            ElasticConv2d(1, width, 2, stride=2), ElasticLayerNorm(width, num_places=2), nn.Flatten()
        )
        self.head = ElasticLinear(width * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_layer_runs_in_onnxruntime(number: int, tmp_path: Path) -> None:
    import onnxruntime

    supernet, shape = [*networks(), (Supernet(Images()), (1, 4, 4))][number]
    randomise(supernet)
    model = supernet.extract(next(iter(supernet.space.enumerate()))).eval()
    path = export_onnx(model, shape, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(path))
    x = batch(supernet, shape)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)
