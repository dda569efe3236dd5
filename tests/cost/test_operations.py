"""Every counted operation against torch's own counter, and what has no counter against its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from onepath.cost import module_cost
from onepath.cost.operations import COUNTERS, FREE


class Calls(nn.Module):
    """A function of the input and of parameters of these shapes."""

    def __init__(self, function: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.own = nn.ParameterList([nn.Parameter(torch.ones(shape)) for shape in shapes])

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.own)


class First(nn.Module):
    """The first of what a module returns; attention is given its input three times."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        inputs = (x, x, x) if isinstance(self.inner, nn.MultiheadAttention) else (x,)
        output: Tensor = self.inner(*inputs)[0]
        return output


ENCODER = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
COUNTED = {
    "attention": (First(nn.MultiheadAttention(16, 4, batch_first=True)), (6, 16)),
    "attention-bias": (First(nn.MultiheadAttention(16, 4, batch_first=True, add_bias_kv=True)), (6, 16)),
    "encoder-layer": (ENCODER, (6, 16)),
    "encoder": (nn.TransformerEncoder(ENCODER, 2), (6, 16)),
    "sdpa": (Calls(lambda x: functional.scaled_dot_product_attention(x, x, x)), (4, 6, 8)),
    "sdpa-causal": (
        Calls(lambda x: functional.scaled_dot_product_attention(x, x, x[..., :3], is_causal=True)),
        (4, 6, 8),
    ),
    "einsum": (Calls(lambda x, w: torch.einsum("btd,dk->btk", x, w), (8, 5)), (6, 8)),
    "einsum-batched": (Calls(lambda x, w: torch.einsum("btd,tdk->btk", x, w), (6, 8, 5)), (6, 8)),
    "tensordot": (Calls(lambda x, w: torch.tensordot(x, w, dims=1), (8, 5)), (6, 8)),
    "multi-dot": (Calls(lambda x, w: torch.linalg.multi_dot([x[0], w, w.T]), (8, 5)), (6, 8)),
    "operator": (Calls(lambda x, w: x @ w, (3, 8, 5)), (6, 8)),
    "matmul": (Calls(lambda x: torch.matmul(x, x.transpose(1, 2))), (6, 8)),
    "mm": (Calls(lambda x, w: torch.mm(x[0], w), (8, 5)), (6, 8)),
    "addmm": (Calls(lambda x, w, b: torch.addmm(b, x[0], w), (8, 5), (6, 5)), (6, 8)),
    "bmm": (Calls(lambda x: torch.bmm(x, x.mT)), (6, 8)),
    "baddbmm": (Calls(lambda x: torch.baddbmm(x[..., :6], x, x.mT)), (6, 8)),
    "linear": (Calls(functional.linear, (5, 8)), (6, 8)),
    "conv1d": (Calls(lambda x, w: functional.conv1d(x, w, stride=2, padding=1), (6, 4, 3)), (4, 10)),
    "conv2d-groups": (Calls(lambda x, w: functional.conv2d(x, w, groups=2), (6, 2, 3, 1)), (4, 9, 7)),
    "conv3d": (Calls(functional.conv3d, (6, 2, 3, 3, 2)), (2, 5, 6, 9)),
    "transposed-1d": (Calls(lambda x, w: functional.conv_transpose1d(x, w, stride=2), (4, 6, 3)), (4, 10)),
    "transposed-2d": (
        Calls(lambda x, w: functional.conv_transpose2d(x, w, stride=2, padding=1, groups=2), (4, 3, 3, 3)),
        (4, 9, 7),
    ),
    "transposed-3d": (Calls(functional.conv_transpose3d, (2, 6, 3, 3, 2)), (2, 5, 6, 9)),
    "transposed-layer": (nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1, groups=2), (4, 5, 5)),
    "dilated-layer": (nn.Conv2d(4, 6, (1, 3), stride=(2, 1), padding=(0, 2), dilation=2), (4, 9, 9)),
    "same-layer": (nn.Conv2d(4, 6, 3, padding="same"), (4, 5, 5)),
    "reflecting-layer": (nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 5)),
    "patches": (Calls(lambda x, w: w @ functional.unfold(x, 3), (6, 36)), (4, 6, 6)),
    "gru": (First(nn.GRU(8, 5, 2, batch_first=True)), (6, 8)),
    "gru-both-ways": (First(nn.GRU(8, 5, 2, bidirectional=True)), (6, 8)),
    "rnn": (First(nn.RNN(8, 5, bias=False)), (6, 8)),
    "projected-lstm": (First(nn.LSTM(8, 5, 2, proj_size=3, bidirectional=True, batch_first=True)), (6, 8)),
    "lstm-cell": (First(nn.LSTMCell(8, 5)), (8,)),
    "gru-cell": (nn.GRUCell(8, 5), (8,)),
    "rnn-cell": (nn.RNNCell(8, 5), (8,)),
    "inference-mode": (Calls(torch.inference_mode()(functional.linear), (5, 8)), (6, 8)),
    "values-decide": (Calls(lambda x, w: x @ w if bool((x <= 0).all()) else x, (8, 5)), (6, 8)),
    "constants-on-cpu": (Calls(lambda x, w: (x + torch.arange(8)) @ w, (8, 5)), (6, 8)),
    "embedding": (
        Calls(lambda x, w, v: functional.embedding(x.long()[0], w) @ v, (3, 5), (5, 2)),
        (4,),
    ),
}


def torchs_count(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Half of what FlopCounterMode counts, in training mode, where no layer runs as one fused operation."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.train()(torch.zeros(1, *shape))
    flops: int = counter.get_total_flops()
    return flops // 2


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_torchs_own(name: str) -> None:
    model, shape = COUNTED[name]
    cost = module_cost(model, shape)
    assert cost.macs == torchs_count(model, shape) > 0
    assert cost.uncounted == {}
    assert module_cost(nn.Sequential(model).eval(), shape).macs == cost.macs


@pytest.mark.parametrize(
    ("model", "shape", "macs"),
    [  # torch's counter knows nothing of these; without projection its LSTM runs as one operation
        (Calls(lambda x, w: torch.mv(x[0], w), (8,)), (6, 8), 48),
        (Calls(lambda x, w, b: x[0].clone().addmm_(b, w), (8, 8), (6, 8)), (6, 8), 6 * 64),
        (Calls(lambda x, w, b: torch.addmv(b, x[0], w), (8,), (6,)), (6, 8), 48),
        (Calls(lambda x, w: torch.dot(x[0, 0], w), (8,)), (6, 8), 8),
        (Calls(lambda x, w: x @ w, (8,)), (6, 8), 48),
        (Calls(lambda x: torch.addbmm(x[0, :, :6], x, x.mT)), (6, 8), 6 * 8 * 6),
        (Calls(lambda x: torch.addr(x[0], x[0, :, 0], x[0, 0])), (6, 8), 48),
        (Calls(lambda x, w: torch.conv_tbc(x, w, torch.zeros(5), 1), (3, 8, 5)), (6, 8), 5 * 6 * 3 * 8),
        (Calls(lambda x, w: functional.bilinear(x, x[..., :3], w), (5, 8, 3)), (6, 8), 6 * 5 * 8 * 3),
        (First(nn.LSTM(8, 5, 2, bidirectional=True, batch_first=True)), (6, 8), 6 * 2 * 20 * (13 + 15)),
        (First(nn.LSTM(8, 5)), (6, 8), 6 * 20 * 13),
    ],
)
def test_closed_forms_of_what_torch_does_not_count(
    model: nn.Module, shape: tuple[int, ...], macs: int
) -> None:
    cost = module_cost(model, shape)
    assert (cost.macs, cost.uncounted) == (macs, {})


class LastState(nn.Module):
    """A product of a recurrent layer's last state and a matrix; without a batch, torch's own layer runs."""

    def __init__(self, layer: nn.RNNBase, is_batched: bool) -> None:
        super().__init__()
        self.layer, self.is_batched = layer, is_batched
        self.weight = nn.Parameter(torch.ones(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        state = self.layer(x if self.is_batched else x[0])[1]
        return (state[0] if isinstance(self.layer, nn.LSTM) else state) @ self.weight


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_states_of_recurrent_layers_have_torchs_shapes(kind: type[nn.RNNBase]) -> None:
    layer = kind(8, 5, 2, bidirectional=True, batch_first=True)
    found, torchs = (module_cost(LastState(layer, is_batched), (6, 8)) for is_batched in (True, False))
    assert list(found.macs_by_module.values())[-1] == 4 * 5 * 3
    assert found.macs == torchs.macs


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (
            Calls(lambda x: functional.interpolate(functional.pixel_shuffle(x, 2), scale_factor=2.0)),
            (4, 6, 6),
        ),
        (Calls(lambda x: functional.interpolate(x, size=9, mode="bilinear").flip(2).roll(1, 1)), (4, 6, 6)),
        (Calls(lambda x: functional.glu(x.cumsum(1).softmax(-1).topk(4).values.sort().values)), (4, 6)),
        (Calls(lambda x: functional.cosine_similarity(x, x.std(1, keepdim=True))), (4, 6)),
        (Calls(lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect").unfold(2, 2, 1)), (4, 6, 6)),
        (Calls(lambda x: torch.where(x > 0, x, x.clamp(max=2).tril().masked_fill(x < 1, 0.0))), (6, 6)),
        (Calls(lambda x: torch.kron(x, x) + torch.outer(x[0, 0], x[0, 1]).sum()), (4, 6)),
        (Calls(lambda x: x.gather(2, x.argsort(-1)).index_select(1, x.argmax(-1)[0])), (6, 6)),
        (nn.Sequential(nn.LocalResponseNorm(2), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)), (4, 6, 6)),
        (nn.Sequential(nn.LayerNorm(6), nn.RMSNorm(6), nn.Softmax(-1), nn.LogSoftmax(-1)), (4, 6)),
        (
            nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(1), nn.AdaptiveMaxPool2d(2), nn.LPPool2d(2, 2)),
            (4, 6, 6),
        ),
        (nn.Sequential(nn.ReLU(), nn.GELU(), nn.PReLU(), nn.Softplus(), nn.Mish(), nn.RReLU()), (4, 6)),
    ],
)
def test_by_convention_the_rest_counts_as_nothing(model: nn.Module, shape: tuple[int, ...]) -> None:
    cost = module_cost(model, shape)
    assert (cost.macs, cost.uncounted) == (0, {})


@torch.library.custom_op("onepath_tests::whole", mutates_args=())
def whole(x: Tensor) -> Tensor:
    """An operation of the user's own, which knows nothing of the meta device."""
    return x @ x.mT


class Squares(torch.autograd.Function):
    """A function of the user's own in operations of torch."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x @ x.mT

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.fft.rfft(x).real, "aten::_fft_r2c"),
        (lambda x: torch.fft.ifft2(x).real, "aten::_fft_c2c"),
        (lambda x: torch.cdist(x, x), "aten::_cdist_forward"),
        (torch.linalg.svdvals, "aten::_linalg_svd"),
        (lambda x: torch.linalg.inv(x @ x.mT + torch.eye(6, device=x.device)), "aten::linalg_inv_ex"),
        (lambda x: torch.linalg.matrix_exp(x @ x.mT), "aten::linalg_matrix_exp"),
        (lambda x: torch.linalg.qr(x)[0], "aten::linalg_qr"),
        (
            lambda x: functional.grid_sample(x[None], x.new_zeros(1, 3, 3, 2), align_corners=False),
            "aten::grid_sampler_2d",
        ),
        (lambda x: torchvision.ops.nms(x[0, :, :4], x[0, :, 0], 0.5), "torchvision::nms"),
        (lambda x: whole(x) + 0, "onepath_tests::whole"),
    ],
)
def test_what_has_no_counter_is_named_with_its_module(function: Callable[..., Any], name: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), Calls(function)))
    cost = module_cost(model, (6, 8))
    assert cost.uncounted == {name: "1.1"}
    assert cost.macs >= 6 * 64


def test_functions_of_ones_own_are_seen_through() -> None:
    cost = module_cost(Calls(Squares.apply), (6, 8))
    assert (cost.macs, cost.uncounted) == (6 * 6 * 8, {})


def test_no_operation_is_both_counted_and_free() -> None:
    assert not FREE & set(COUNTERS)


def test_work_belongs_to_the_innermost_module() -> None:
    inner = Calls(lambda x, w: x @ w, (8, 8))
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    model = nn.Sequential(inner, First(attention), nn.Linear(8, 3))
    cost = module_cost(model, (6, 8))
    assert cost.macs_by_module == {
        inner: 6 * 64,
        attention: 6 * 8 * 24 + 2 * 6 * 6 * 8 + 6 * 64,
        model[2]: 6 * 24,
    }


def test_the_vision_transformer_of_torchvision() -> None:
    with torch.device("meta"):
        model = torchvision.models.vit_b_16()
    cost = module_cost(model, (3, 224, 224))
    assert (cost.macs, cost.params, cost.uncounted) == (17_563_828_224, 86_567_656, {})


def test_a_count_leaves_no_trace() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Conv2d(3, 4, 3)).train()
    model[0].eval()
    fast, onednn = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    for wrapped in (model, nn.Sequential(model, Calls(lambda x: x[bool((x > 0).any()) :]))):
        module_cost(wrapped, (3, 5, 5))
    assert [module.training for module in (model, *model)] == [True, False, True]
    assert not any("forward" in module.__dict__ for module in model)
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == (fast, onednn)
